// The users table as headcount makes it. `headcount schema drizzle --settings` prints the configuration beside it.
//
// Add columns, indexes and relations of your own: headcount never writes a column that it does not own. What is here
// already is headcount's to make and to change; write `username`, `displayName` and `avatarUrl` as you like.
import { sql } from "drizzle-orm";
import { customType, sqliteTable, text } from "drizzle-orm/sqlite-core";

// Declared `boolean` in the database, 0 or 1 in the row.
const truth = customType<{ data: boolean; driverData: number }>({
  dataType: () => "boolean",
  fromDriver: (value) => value === 1,
  toDriver: (value) => (value ? 1 : 0),
});
const now = sql`(strftime('%Y-%m-%dT%H:%M:%fZ','now'))`;

export const users = sqliteTable("users", {
  id: text("id").primaryKey().notNull(),
  accountState: text("account_state", {
    enum: ["active", "incomplete", "provisional", "suspended", "deleted"],
  }).notNull().default("incomplete"),
  missing: text("missing", { mode: "json" }).$type<string[]>().notNull().default(sql`'[]'`),
  email: text("email"),
  emailVerified: truth("email_verified").notNull().default(sql`0`),
  phone: text("phone"),
  username: text("username"),
  firstName: text("first_name"),
  lastName: text("last_name"),
  displayName: text("display_name"),
  avatarUrl: text("avatar_url"),
  createdAt: text("created_at"),
  updatedAt: text("updated_at").notNull().default(now),
  deletedAt: text("deleted_at"),
  // headcount's own: read accountState instead.
  suspendedBySource: truth("suspended_by_source").notNull().default(sql`0`),
  provisional: truth("provisional").notNull().default(sql`0`),
  stateSince: text("state_since").notNull().default(now),
  suspendedByApp: truth("suspended_by_app").notNull().default(sql`0`),
  kept: text("kept").notNull().default(""),
});
