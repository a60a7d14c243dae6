// The users table as headcount makes it. `headcount schema drizzle --settings` prints the configuration beside it.
//
// Add columns, indexes and relations of your own: headcount never writes a column that it does not own. What is here
// already is headcount's to make and to change; write `username`, `displayName` and `avatarUrl` as you like.
import { sql } from "drizzle-orm";
import { boolean, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";

const time = (name: string) => timestamp(name, { withTimezone: true });

export const users = pgTable("users", {
  id: uuid("id").primaryKey(),
  accountState: text("account_state", {
    enum: ["active", "incomplete", "provisional", "suspended", "deleted"],
  }).notNull().default("incomplete"),
  // drizzle-kit does not read back the default of an array, and sets the same one at every push.
  missing: text("missing").array().notNull().default(sql`'{}'::text[]`),
  email: text("email"),
  emailVerified: boolean("email_verified").notNull().default(false),
  phone: text("phone"),
  username: text("username"),
  firstName: text("first_name"),
  lastName: text("last_name"),
  displayName: text("display_name"),
  avatarUrl: text("avatar_url"),
  createdAt: time("created_at"),
  updatedAt: time("updated_at").notNull().default(sql`clock_timestamp()`),
  deletedAt: time("deleted_at"),
  // headcount's own: read accountState instead.
  suspendedBySource: boolean("suspended_by_source").notNull().default(false),
  provisional: boolean("provisional").notNull().default(false),
  stateSince: time("state_since").notNull().default(sql`clock_timestamp()`),
  suspendedByApp: boolean("suspended_by_app").notNull().default(false),
  kept: text("kept").notNull().default(""),
});
