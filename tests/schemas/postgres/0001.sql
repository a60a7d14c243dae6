-- the users table
CREATE TABLE "public"."users" (
    id uuid PRIMARY KEY,
    account_state text NOT NULL DEFAULT 'incomplete',
    missing text[] NOT NULL DEFAULT '{}',
    email text,
    email_verified boolean NOT NULL DEFAULT false,
    phone text,
    username text,
    first_name text,
    last_name text,
    display_name text,
    avatar_url text,
    created_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,
    suspended_by_source boolean NOT NULL DEFAULT false,
    provisional boolean NOT NULL DEFAULT false,
    state_since timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO headcount.settings (key, value) VALUES ('users_table_made', 'yes')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- the account state trigger (required: email)
CREATE OR REPLACE FUNCTION headcount.users_state() RETURNS trigger LANGUAGE plpgsql AS $headcount$
BEGIN
    NEW.missing := CASE WHEN NEW.deleted_at IS NULL THEN array_remove(ARRAY[CASE WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'email' END], NULL) ELSE CAST('{}' AS text[]) END;
    NEW.account_state := CASE WHEN NEW.deleted_at IS NOT NULL THEN 'deleted' WHEN NEW.suspended_by_source THEN 'suspended' WHEN NEW.provisional THEN 'provisional' WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'incomplete' ELSE 'active' END;
    IF TG_OP = 'INSERT' OR NEW.account_state IS DISTINCT FROM OLD.account_state THEN
        NEW.state_since := clock_timestamp();
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$headcount$;
DROP TRIGGER IF EXISTS zz_headcount_state ON "public"."users";
CREATE TRIGGER zz_headcount_state BEFORE INSERT OR UPDATE ON "public"."users"
    FOR EACH ROW EXECUTE FUNCTION headcount.users_state();

-- required fields: email
INSERT INTO headcount.settings (key, value) VALUES ('required_fields', 'email')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
