// Fastify, the official svix library, and an upsert: no inbox, no history.
import Fastify from "fastify";
import { Webhook } from "svix";
import { prepare, upsert } from "./users.mjs";

const webhook = new Webhook(process.env.SECRET);
const app = Fastify();
app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
app.get("/readyz", async () => "ready");
app.post("/webhooks/clerk", async (request, reply) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch {
    return reply.code(400).send();
  }
  await upsert(event);
  return { status: "ok" };
});
await prepare();
await app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
