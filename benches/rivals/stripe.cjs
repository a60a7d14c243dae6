// stripe-sync-engine reads customers from a stand-in for Stripe's list API that answers at once: a first import, and a
// second one that finds nothing new. CommonJS, for its migrations are not found from an ES module. Prints rows a second.
const http = require("node:http");
const { StripeSync, runMigrations } = require("@supabase/stripe-sync-engine");

const customers = Number(process.env.USERS);
const databaseUrl = process.env.DATABASE_URL;
const PAGE = 100;

function customer(n) {
  return {
    id: `cus_${String(n).padStart(10, "0")}`, object: "customer", address: null, balance: 0, created: 1767225600 + n,
    currency: null, default_source: null, delinquent: false, description: "a customer of the stand-in",
    discount: null, email: `customer${n}@example.com`, invoice_prefix: `P${n}`,
    invoice_settings: { custom_fields: null, default_payment_method: null, footer: null, rendering_options: null },
    livemode: false, metadata: {}, name: `Customer ${n}`, next_invoice_sequence: 1, phone: null,
    preferred_locales: [], shipping: null, tax_exempt: "none", test_clock: null,
  };
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const after = url.searchParams.get("starting_after");
  const first = after ? Number(after.slice(4)) + 1 : 0;
  const limit = Math.min(Number(url.searchParams.get("limit") ?? PAGE), PAGE);
  const end = Math.min(first + limit, customers);
  const data = [];
  for (let n = first; n < end; n++) data.push(customer(n));
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ object: "list", url: "/v1/customers", has_more: end < customers, data }));
});

server.listen(0, "127.0.0.1", async () => {
  await runMigrations({ databaseUrl, schema: "stripe", logger: { info() {}, error: console.error } });
  const sync = new StripeSync({
    databaseUrl, stripeSecretKey: "sk_test_stand_in", stripeWebhookSecret: "whsec_stand_in",
    backfillRelatedEntities: false, poolConfig: { connectionString: databaseUrl, max: 10 },
  });
  sync.stripe._setApiField("host", "127.0.0.1");
  sync.stripe._setApiField("port", server.address().port);
  sync.stripe._setApiField("protocol", "http");
  const rates = [];
  for (const _ of ["first", "again"]) {
    const began = process.hrtime.bigint();
    const synced = await sync.syncBackfill({ object: "customer" });
    const seconds = Number(process.hrtime.bigint() - began) / 1e9;
    if (synced.customers?.synced !== customers) throw new Error(`synced ${JSON.stringify(synced)}`);
    rates.push(customers / seconds);
  }
  console.log(JSON.stringify({ first: rates[0], again: rates[1] }));
  process.exit(0);
});
