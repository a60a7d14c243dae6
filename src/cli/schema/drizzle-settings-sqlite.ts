// drizzle.config.ts: what keeps `drizzle-kit push` and `drizzle-kit generate` away from headcount's tables.
import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  schema: "./schema.ts",
  dbCredentials: { url: process.env.DATABASE_URL! },
  // drizzle-kit drops tables that it finds and does not know: headcount's have this prefix.
  tablesFilter: ["!headcount_*"],
});
