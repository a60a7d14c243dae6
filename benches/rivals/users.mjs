// What the handlers of the guides do with a verified event: one upsert into the application's table, newer versions only.
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

export async function prepare() {
  await pool.query(`CREATE TABLE IF NOT EXISTS users (
    provider_id text PRIMARY KEY, email text, username text, first_name text, last_name text, image_url text,
    updated_at bigint NOT NULL)`);
}

export async function upsert({ type, data }) {
  if (type !== "user.created" && type !== "user.updated") return;
  const primary = data.email_addresses.find((address) => address.id === data.primary_email_address_id);
  await pool.query({
    name: "upsert",
    text: `INSERT INTO users (provider_id, email, username, first_name, last_name, image_url, updated_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7)
      ON CONFLICT (provider_id) DO UPDATE SET email = excluded.email, username = excluded.username,
        first_name = excluded.first_name, last_name = excluded.last_name, image_url = excluded.image_url,
        updated_at = excluded.updated_at
      WHERE users.updated_at < excluded.updated_at`,
    values: [data.id, primary?.email_address, data.username, data.first_name, data.last_name, data.image_url, data.updated_at],
  });
}
