// Official clients against the simulator: what it signs they verify, what it answers they can read.
// Arguments: folder with node_modules, provider, URL, key, webhook secret. Prints one JSON object.
const { createRequire } = require("node:module");
const http = require("node:http");
const assert = require("node:assert/strict");
const [folder, provider, url, key, secret] = process.argv.slice(2);
const load = createRequire(`${folder}/`);

// A receiver of deliveries, and the simulator told of it by a change.
const received = () =>
  new Promise((resolve) => {
    const server = http.createServer((request, response) => {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => {
        response.end();
        server.close();
        resolve({ headers: request.headers, body: Buffer.concat(parts).toString() });
      });
    });
    server.listen(0, "127.0.0.1", async () => {
      const to = `http://127.0.0.1:${server.address().port}/`;
      await fetch(`${url}/simulate/deliver`, { method: "PUT", body: JSON.stringify({ to }) });
      await fetch(`${url}/simulate/changes`, { method: "POST", body: JSON.stringify({ count: 1 }) });
    });
  });

const checks = {
  async workos() {
    const { WorkOS } = load("@workos-inc/node");
    const { hostname, port } = new URL(url);
    const workos = new WorkOS(key, { apiHostname: hostname, port: Number(port), https: false });
    const first = await workos.userManagement.listUsers({ limit: 100, order: "asc" });
    assert.equal(first.data.length, 100);
    // Asked for without a limit, it goes on by itself.
    const all = await (await workos.userManagement.listUsers({ order: "asc" })).autoPagination();
    assert.equal(all.length, 150);
    assert.ok(new Set(all.map((user) => user.id)).size === 150);
    const one = await workos.userManagement.getUser(all[3].id);
    assert.equal(one.email, all[3].email);
    await assert.rejects(workos.userManagement.getUser("user_nobody"), (error) => error.status === 404);
    const made = await workos.userManagement.createUser({ email: "made@example.com", firstName: "Made", externalId: "ext_1" });
    assert.equal(made.externalId, "ext_1");
    await workos.userManagement.updateUser({ userId: made.id, lastName: "Up" });
    await workos.userManagement.deleteUser(made.id);
    const events = await workos.events.listEvents({ events: ["user.created", "user.updated", "user.deleted"] });
    assert.deepEqual(events.data.map((event) => event.event), ["user.created", "user.updated", "user.deleted"]);
    assert.equal(events.data[2].data.email, "made@example.com");
    const delivery = await received();
    const event = await workos.webhooks.constructEvent({
      payload: delivery.body,
      sigHeader: delivery.headers["workos-signature"],
      secret,
    });
    assert.match(event.event, /^user\./);
  },

  async supabase() {
    const { GoTrueAdminApi } = load("@supabase/auth-js");
    const admin = new GoTrueAdminApi({
      url: `${url}/auth/v1`,
      headers: { Authorization: `Bearer ${key}`, apikey: key },
    });
    const { data, error } = await admin.listUsers({ page: 2, perPage: 100 });
    assert.equal(error, null);
    assert.equal(data.users.length, 50);
    assert.equal(data.total, 150);
    const one = await admin.getUserById(data.users[3].id);
    assert.equal(one.data.user.id, data.users[3].id);
    const nobody = await admin.getUserById("00000000-0000-4000-8000-00000000ffff");
    assert.equal(nobody.error.code, "user_not_found");
    const made = await admin.createUser({ email: "made@example.com", user_metadata: { full_name: "Made" } });
    assert.equal(made.data.user.email, "made@example.com");
    const id = made.data.user.id;
    await admin.updateUserById(id, { ban_duration: "24h" });
    assert.ok((await admin.getUserById(id)).data.user.banned_until);
    await admin.deleteUser(id, true);
    assert.ok((await admin.getUserById(id)).data.user.deleted_at, "a soft delete leaves the row");
    await admin.deleteUser(id);
    assert.equal((await admin.getUserById(id)).error.code, "user_not_found");
    const delivery = await received();
    assert.equal(delivery.headers.authorization, `Bearer ${secret}`);
    assert.equal(JSON.parse(delivery.body).table, "users");
  },
};

checks[provider]()
  .then(() => console.log(JSON.stringify({ ok: true })))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
