-- the users table
CREATE TABLE "users" (
    id text NOT NULL PRIMARY KEY,
    account_state text NOT NULL DEFAULT 'incomplete',
    missing text NOT NULL DEFAULT '[]',
    email text,
    email_verified boolean NOT NULL DEFAULT 0,
    phone text,
    username text,
    first_name text,
    last_name text,
    display_name text,
    avatar_url text,
    created_at text,
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    deleted_at text,
    suspended_by_source boolean NOT NULL DEFAULT 0,
    provisional boolean NOT NULL DEFAULT 0,
    state_since text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    suspended_by_app boolean NOT NULL DEFAULT 0,
    kept text NOT NULL DEFAULT ''
);
INSERT INTO headcount_settings (key, value) VALUES ('users_table_made', 'yes')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- the account state trigger (required: email)
DROP TRIGGER IF EXISTS headcount_state_insert;
DROP TRIGGER IF EXISTS headcount_state_update;
CREATE TRIGGER headcount_state_insert AFTER INSERT ON "users" WHEN NEW.account_state IS NOT CASE WHEN NEW."deleted_at" IS NOT NULL THEN 'deleted' WHEN NEW."suspended_by_source" OR NEW."suspended_by_app" THEN 'suspended' WHEN NEW."provisional" THEN 'provisional' WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'incomplete' ELSE 'active' END OR NEW.missing IS NOT CASE WHEN NEW."deleted_at" IS NULL THEN '[' || ltrim(CASE WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN ',"email"' ELSE '' END, ',') || ']' ELSE '[]' END
BEGIN
    UPDATE "users" SET account_state = CASE WHEN NEW."deleted_at" IS NOT NULL THEN 'deleted' WHEN NEW."suspended_by_source" OR NEW."suspended_by_app" THEN 'suspended' WHEN NEW."provisional" THEN 'provisional' WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'incomplete' ELSE 'active' END, missing = CASE WHEN NEW."deleted_at" IS NULL THEN '[' || ltrim(CASE WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN ',"email"' ELSE '' END, ',') || ']' ELSE '[]' END, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ','now')
    WHERE id = NEW.id;
END;
CREATE TRIGGER headcount_state_update AFTER UPDATE ON "users" WHEN NEW.account_state IS NOT CASE WHEN NEW."deleted_at" IS NOT NULL THEN 'deleted' WHEN NEW."suspended_by_source" OR NEW."suspended_by_app" THEN 'suspended' WHEN NEW."provisional" THEN 'provisional' WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'incomplete' ELSE 'active' END OR NEW.missing IS NOT CASE WHEN NEW."deleted_at" IS NULL THEN '[' || ltrim(CASE WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN ',"email"' ELSE '' END, ',') || ']' ELSE '[]' END OR (NEW.updated_at IS OLD.updated_at AND NEW.updated_at < strftime('%Y-%m-%dT%H:%M:%fZ','now'))
BEGIN
    UPDATE "users" SET account_state = CASE WHEN NEW."deleted_at" IS NOT NULL THEN 'deleted' WHEN NEW."suspended_by_source" OR NEW."suspended_by_app" THEN 'suspended' WHEN NEW."provisional" THEN 'provisional' WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'incomplete' ELSE 'active' END, missing = CASE WHEN NEW."deleted_at" IS NULL THEN '[' || ltrim(CASE WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN ',"email"' ELSE '' END, ',') || ']' ELSE '[]' END, state_since = CASE WHEN OLD.account_state IS CASE WHEN NEW."deleted_at" IS NOT NULL THEN 'deleted' WHEN NEW."suspended_by_source" OR NEW."suspended_by_app" THEN 'suspended' WHEN NEW."provisional" THEN 'provisional' WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'incomplete' ELSE 'active' END THEN OLD.state_since ELSE strftime('%Y-%m-%dT%H:%M:%fZ','now') END, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ','now')
    WHERE id = NEW.id;
END;
INSERT INTO headcount_settings (key, value) VALUES ('correcting_states', '')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- what applications are offered: the view of people, and on PostgreSQL headcount.ensure
DROP VIEW IF EXISTS headcount_people;
CREATE VIEW headcount_people AS
    SELECT u."id" AS id, u.account_state AS account_state, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."username" END AS username, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."display_name" END AS display_name, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."avatar_url" END AS avatar_url
    FROM "users" u;
INSERT INTO headcount_settings (key, value) VALUES ('offered', 'd550eebae73d9b80f99b02582cd730e99485155086df11dc836aacb9967b357d')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- required fields: email
INSERT INTO headcount_settings (key, value) VALUES ('required_fields', 'email')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
