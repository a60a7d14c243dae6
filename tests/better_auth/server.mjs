// A real Better Auth, for tests: node server.mjs MODULES DATABASE EMITTER HEADCOUNT SECRET
//
// MODULES is a folder with node_modules; DATABASE a postgres:// URL or a SQLite file; EMITTER the emitter's source. Prints a
// line of JSON once it listens: its address, the token of an administrator, and that of somebody who may only list and get.
// POST /test/adapter {action, where, data} does what imports and guides do past every hook.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, database, emitterPath, headcount, secret] = process.argv.slice(2);
const require = createRequire(join(modules, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)));

const { betterAuth } = await load("better-auth");
const { admin, anonymous, bearer, phoneNumber, username } = await load("better-auth/plugins");
const { createAccessControl } = await load("better-auth/plugins/access");
const { defaultStatements, adminAc, userAc } = await load("better-auth/plugins/admin/access");
const { getMigrations } = await load("better-auth/db/migration");
const { toNodeHandler } = await load("better-auth/node");
const ts = (await load("typescript")).default;

const source = readFileSync(emitterPath, "utf8");
const strict = { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"], types: [] };
const problems = ts.getPreEmitDiagnostics(ts.createProgram([emitterPath], strict));
if (problems.length > 0) throw new Error(problems.map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, "\n")).join("\n"));
const module = { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } };
const compiled = join(mkdtempSync(join(tmpdir(), "emitter-")), "emitter.mjs");
writeFileSync(compiled, ts.transpileModule(source, module).outputText);
const { emitter } = await import(pathToFileURL(compiled));

const access = createAccessControl({ ...defaultStatements });
const keeper = access.newRole({ user: ["list", "get"] });
let pool;
if (database.startsWith("postgres")) {
  const { default: pg } = await load("pg");
  pool = new pg.Pool({ connectionString: database, max: 4 });
} else {
  const { default: Sqlite } = await load("better-sqlite3");
  pool = new Sqlite(database);
  pool.pragma("journal_mode = WAL");
}
const codes = new Map();
const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}`;
const auth = betterAuth({
  ...emitter({ url: headcount, secret }),
  baseURL: url,
  secret: "a-secret-of-the-tests-that-is-long-enough",
  database: pool,
  rateLimit: { enabled: false },
  emailAndPassword: { enabled: true },
  user: {
    deleteUser: { enabled: true },
    changeEmail: { enabled: true },
    additionalFields: { legacyDigest: { type: "string", required: false, returned: false, input: true } },
  },
  plugins: [
    admin({ ac: access, roles: { admin: adminAc, user: userAc, keeper } }),
    username(),
    anonymous(),
    phoneNumber({
      sendOTP: ({ phoneNumber, code }) => void codes.set(phoneNumber, code),
      signUpOnVerification: { getTempEmail: (phone) => `${phone}@phone.example.com` },
    }),
    bearer(),
  ],
});
await (await getMigrations(auth.options)).runMigrations();
const { adapter } = await auth.$context;

async function staff(name, role) {
  const { token, user } = await auth.api.signUpEmail({ body: { name, email: `${name}@staff.example.com`, password: "a-long-password" } });
  await adapter.update({ model: "user", where: [{ field: "id", value: user.id }], update: { role } });
  return token;
}
const tokens = { admin: await staff("admin", "admin"), keeper: await staff("keeper", "keeper") };

const handler = toNodeHandler(auth);
server.on("request", async (request, response) => {
  if (!request.url.startsWith("/test/")) return handler(request, response);
  let body = "";
  for await (const piece of request) body += piece;
  try {
    const { action, where, data, phone } = JSON.parse(body);
    const found = where && Object.entries(where).map(([field, value]) => ({ field, value }));
    const answers = {
      create: () => adapter.create({ model: "user", data, forceAllowId: true }),
      update: () => adapter.update({ model: "user", where: found, update: data }),
      delete: () => adapter.delete({ model: "user", where: found }),
      code: () => codes.get(phone),
    };
    response.end(JSON.stringify((await answers[action]()) ?? null));
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
});
console.log(JSON.stringify({ url, ...tokens }));
