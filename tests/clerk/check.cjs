// Clerk's own client against the simulator: what it sends is understood, what it gets it can read.
// Arguments: folder with node_modules, URL, secret key. Prints one JSON object.
const { createRequire } = require("node:module");
const assert = require("node:assert/strict");
const [folder, apiUrl, secretKey] = process.argv.slice(2);
const { createClerkClient } = createRequire(`${folder}/`)("@clerk/backend");

const failure = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return { status: error.status, code: error.errors?.[0]?.code, retryAfter: error.retryAfter };
  }
  throw new Error("it should have failed");
};

(async () => {
  const clerk = createClerkClient({ secretKey, apiUrl });
  const { data, totalCount } = await clerk.users.getUserList({ limit: 3, orderBy: "+created_at" });
  assert.equal(data.length, 3);
  assert.equal(totalCount, 50);
  assert.ok(data[0].createdAt <= data[1].createdAt);
  assert.match(data[0].id, /^user_/);

  const both = await clerk.users.getUserList({ userId: [data[0].id, data[2].id], limit: 10 });
  assert.deepEqual(both.data.map((user) => user.id).sort(), [data[0].id, data[2].id].sort());
  const address = data.find((user) => user.primaryEmailAddress)?.primaryEmailAddress.emailAddress;
  const found = await clerk.users.getUserList({ emailAddress: [address] });
  assert.equal(found.data[0].primaryEmailAddress.emailAddress, address);
  assert.equal(await clerk.users.getCount({ emailAddress: [address] }), 1);

  const made = await clerk.users.createUser({
    emailAddress: ["made@example.com"],
    firstName: "Made \"here\"",
    externalId: "ext_1",
    publicMetadata: { role: "admin" },
  });
  assert.equal(made.firstName, "Made \"here\"");
  assert.equal(made.publicMetadata.role, "admin");
  assert.equal(made.primaryEmailAddress.verification.status, "verified");
  assert.equal((await clerk.users.getUserList({ externalId: ["ext_1"] })).data[0].id, made.id);

  const changed = await clerk.users.updateUser(made.id, { lastName: "Changed", username: "made" });
  assert.equal(changed.lastName, "Changed");
  assert.ok(changed.updatedAt > made.updatedAt);
  const merged = await clerk.users.updateUserMetadata(made.id, { publicMetadata: { role: null, plan: "pro" } });
  assert.deepEqual(merged.publicMetadata, { plan: "pro" });
  assert.equal((await clerk.users.banUser(made.id)).banned, true);
  assert.equal((await clerk.users.getUserList({ banned: true })).data[0].id, made.id);
  assert.equal((await clerk.users.unbanUser(made.id)).banned, false);
  assert.equal((await clerk.users.lockUser(made.id)).locked, true);
  assert.equal((await clerk.users.getUser(made.id)).lastName, "Changed");

  const taken = await failure(clerk.users.createUser({ emailAddress: ["made@example.com"] }));
  assert.deepEqual([taken.status, taken.code], [422, "form_identifier_exists"]);
  const order = await failure(clerk.users.getUserList({ orderBy: "+shoe_size" }));
  assert.equal(order.status, 422);
  assert.equal((await clerk.users.deleteUser(made.id)).deleted, true);
  const gone = await failure(clerk.users.getUser(made.id));
  assert.deepEqual([gone.status, gone.code], [404, "resource_not_found"]);
  assert.equal(await clerk.users.getCount(), 50);

  const stranger = createClerkClient({ secretKey: "sk_test_stranger", apiUrl });
  const refused = await failure(stranger.users.getCount());
  assert.deepEqual([refused.status, refused.code], [401, "clerk_key_invalid"]);

  let crowded;
  for (let n = 0; n < 200 && !crowded; n++) {
    crowded = await clerk.users.getCount().then(() => undefined, (error) => error);
  }
  assert.deepEqual([crowded.status, crowded.errors[0].code], [429, "too_many_requests"]);
  assert.ok(crowded.retryAfter >= 1 && crowded.retryAfter <= 11);
  console.log(JSON.stringify({ ok: true }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
