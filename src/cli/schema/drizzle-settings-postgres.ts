// drizzle.config.ts: what keeps `drizzle-kit push` and `drizzle-kit generate` away from headcount's tables.
import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: "./schema.ts",
  dbCredentials: { url: process.env.DATABASE_URL! },
  // headcount's tables are in a schema of their own, and drizzle-kit drops what it finds and does not know in the
  // schemas that it is told to look at: never name `headcount` here.
  schemaFilter: ["public"],
});
