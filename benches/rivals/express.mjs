// Express, the official svix library, and an upsert: no inbox, no history.
import express from "express";
import { Webhook } from "svix";
import { prepare, upsert } from "./users.mjs";

const webhook = new Webhook(process.env.SECRET);
const app = express();
app.get("/readyz", (_request, response) => response.send("ready"));
app.post("/webhooks/clerk", express.raw({ type: "application/json" }), async (request, response) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch {
    return response.status(400).send();
  }
  await upsert(event);
  response.json({ status: "ok" });
});
await prepare();
app.listen(Number(process.env.PORT), "127.0.0.1");
