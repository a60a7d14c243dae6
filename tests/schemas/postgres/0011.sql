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
    state_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    suspended_by_app boolean NOT NULL DEFAULT false,
    kept text NOT NULL DEFAULT ''
) WITH (fillfactor = 90);
INSERT INTO headcount.settings (key, value) VALUES ('users_table_made', 'yes')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- the account state trigger (required: email)
CREATE OR REPLACE FUNCTION headcount.users_state() RETURNS trigger LANGUAGE plpgsql AS $headcount$
BEGIN
    NEW.missing := CASE WHEN NEW."deleted_at" IS NULL THEN array_remove(ARRAY[CASE WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'email' END], NULL) ELSE CAST('{}' AS text[]) END;
    NEW.account_state := CASE WHEN NEW."deleted_at" IS NOT NULL THEN 'deleted' WHEN NEW."suspended_by_source" OR NEW."suspended_by_app" THEN 'suspended' WHEN NEW."provisional" THEN 'provisional' WHEN (NEW."email" IS NULL OR CAST(NEW."email" AS text) = '') THEN 'incomplete' ELSE 'active' END;
    IF TG_OP = 'INSERT' OR NEW.account_state IS DISTINCT FROM OLD.account_state THEN
        NEW.state_since := clock_timestamp();
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$headcount$;
REVOKE ALL ON FUNCTION headcount.users_state() FROM PUBLIC;
DROP TRIGGER IF EXISTS zz_headcount_state ON "public"."users";
CREATE TRIGGER zz_headcount_state BEFORE INSERT OR UPDATE ON "public"."users"
    FOR EACH ROW EXECUTE FUNCTION headcount.users_state();
INSERT INTO headcount.settings (key, value) VALUES ('correcting_states', '')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- what applications are offered: the view of people, and on PostgreSQL headcount.ensure
DO $headcount_$
DECLARE
    readers text[] := ARRAY(SELECT DISTINCT
            CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = to_regclass('headcount.people') AND a.privilege_type = 'SELECT');
    reader text;
BEGIN
BEGIN
CREATE OR REPLACE FUNCTION headcount.people_now() RETURNS TABLE (id uuid, account_state text, username text, display_name text, avatar_url text)
LANGUAGE sql STABLE ROWS 10000 AS $headcount$
    SELECT u."id" AS id, u.account_state AS account_state, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN CAST(u."username" AS text) END AS username, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN CAST(u."display_name" AS text) END AS display_name, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN CAST(u."avatar_url" AS text) END AS avatar_url
    FROM "public"."users" u
$headcount$;
CREATE OR REPLACE VIEW headcount.people AS
    SELECT * FROM headcount.people_now();
EXCEPTION WHEN invalid_table_definition OR invalid_function_definition THEN
DROP VIEW IF EXISTS headcount.people;
DROP FUNCTION IF EXISTS headcount.people_now();
CREATE OR REPLACE FUNCTION headcount.people_now() RETURNS TABLE (id uuid, account_state text, username text, display_name text, avatar_url text)
LANGUAGE sql STABLE ROWS 10000 AS $headcount$
    SELECT u."id" AS id, u.account_state AS account_state, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN CAST(u."username" AS text) END AS username, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN CAST(u."display_name" AS text) END AS display_name, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN CAST(u."avatar_url" AS text) END AS avatar_url
    FROM "public"."users" u
$headcount$;
CREATE VIEW headcount.people AS
    SELECT * FROM headcount.people_now();
END;
GRANT EXECUTE ON FUNCTION headcount.people_now() TO PUBLIC;
FOREACH reader IN ARRAY readers LOOP
    EXECUTE 'GRANT SELECT ON headcount.people TO ' || reader;
END LOOP;
END
$headcount_$;
DROP FUNCTION IF EXISTS headcount.ensure_start(text, text, text);
CREATE OR REPLACE FUNCTION headcount.ensure_start(source text, provider_id text, offered_id text, hinted_address text,
    OUT its_user text, OUT is_there boolean, OUT is_deleted boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $headcount$
#variable_conflict use_column
-- Holds the account, and says whose it is: of a row that is there, or of one that may be made under this id. Null where
-- the caller has to offer an id. It writes nothing but headcount's own tables, and gives away no row that was there.
DECLARE
    the_source text := $1;
    the_account text := $2;
    known headcount.identities%ROWTYPE;
    rule text;
    found_by text;
    rows text[];
    secret bytea;
    inner_pad bytea;
    outer_pad bytea;
    new_id uuid;
    attempt integer := 0;
BEGIN
    IF coalesce(the_account, '') = '' OR octet_length(the_account) > 255 THEN
        RAISE EXCEPTION 'headcount.ensure: a provider''s id has 1 to 255 bytes' USING ERRCODE = '22023';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM headcount.sources s WHERE s.name = the_source)
       AND (the_source IS NULL OR EXISTS (SELECT 1 FROM headcount.sources s)) THEN
        RAISE EXCEPTION 'headcount.ensure: there is no source %', quote_nullable(the_source) USING ERRCODE = '22023',
            HINT = (SELECT 'There is: ' || string_agg(s.name, ', ' ORDER BY s.name) FROM headcount.sources s);
    END IF;

    LOOP
        SELECT i.* INTO known FROM headcount.identities i
        WHERE i.source = the_source AND i.provider_id = the_account;
        EXIT WHEN known.user_id IS NOT NULL;
        -- Nobody who was erased is made anew: HMAC-SHA256, as headcount itself computes it.
        SELECT convert_to(s.value, 'UTF8') INTO secret FROM headcount.settings s WHERE s.key = 'erasure_key';
        inner_pad := secret;
        outer_pad := secret;
        FOR n IN 0..63 LOOP
            inner_pad := set_byte(inner_pad, n, get_byte(secret, n) # 54);
            outer_pad := set_byte(outer_pad, n, get_byte(secret, n) # 92);
        END LOOP;
        IF known.state = 'deleted' OR EXISTS (
            SELECT 1 FROM headcount.identities i WHERE i.source = the_source AND i.provider_id = 'erased:' || encode(
                sha256(outer_pad || sha256(inner_pad || convert_to(the_source || E'\n' || the_account, 'UTF8'))), 'hex')
        ) THEN
            RAISE EXCEPTION 'headcount.ensure: the account has ended' USING ERRCODE = 'P0002',
                DETAIL = 'It was deleted at its source or erased here, and nothing is made for it.';
        END IF;
        IF EXISTS (SELECT 1 FROM headcount.sources s WHERE s.name = the_source AND s.retired_at IS NOT NULL) THEN
            RAISE EXCEPTION 'headcount.ensure: source % is retired', quote_nullable(the_source) USING ERRCODE = '22023';
        END IF;
        -- Waits for whoever makes it at this moment: another sign-up, or a worker.
        INSERT INTO headcount.identities AS i (source, provider_id, state, first_seen_at)
        VALUES (the_source, the_account, 'present', clock_timestamp()) ON CONFLICT DO NOTHING;
        SELECT i.* INTO known FROM headcount.identities i
        WHERE i.source = the_source AND i.provider_id = the_account FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        attempt := attempt + 1;
        IF attempt > 10 THEN
            RAISE EXCEPTION 'headcount.ensure: the account is being changed; try again' USING ERRCODE = '40001';
        END IF;
    END LOOP;
    is_deleted := known.state = 'deleted';

    IF known.user_id IS NOT NULL THEN
        its_user := known.user_id;
        is_there := EXISTS (SELECT 1 FROM "public"."users" u WHERE u."id" = CAST(known.user_id AS uuid));
        RETURN;
    END IF;
    -- A row that was there before, by the column that an adoption has named.
    SELECT substr(s.link_by, 8) INTO rule FROM headcount.sources s
    WHERE s.name = the_source AND s.link_by LIKE 'column:%';
    IF rule IS NOT NULL THEN
        EXECUTE format('SELECT array_agg(CAST(u."id" AS text)) FROM "public"."users" u WHERE CAST(u.%I AS text) = $1', rule)
        INTO rows USING the_account;
        found_by := 'column:' || rule;
    END IF;
    -- One with the account's own id, or the user of an account elsewhere that has it, where the source shares ids.
    IF coalesce(cardinality(rows), 0) = 0
       AND EXISTS (SELECT 1 FROM headcount.sources s WHERE s.name = the_source AND s.shares_ids) THEN
        new_id := CASE WHEN the_account ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN CAST(the_account AS uuid) END;
        SELECT array_agg(f.id) INTO rows FROM (
            SELECT CAST(u."id" AS text) AS id FROM "public"."users" u WHERE u."id" = new_id
            UNION
            SELECT i.user_id FROM headcount.identities i
            WHERE i.provider_id = the_account AND i.source <> the_source AND i.user_id IS NOT NULL
        ) f;
        found_by := 'shared-id';
    END IF;
    -- Two rows are nobody's; nor is one that has an account of this source already, or had one that was erased.
    IF cardinality(rows) = 1 AND NOT EXISTS (
        SELECT 1 FROM headcount.identities i
        WHERE i.user_id = rows[1] AND (i.source = the_source OR i.deleted_by = 'erase')
    ) THEN
        its_user := rows[1];
        is_there := true;
        UPDATE headcount.identities i SET user_id = its_user, linked_by = found_by, linked_at = clock_timestamp()
        WHERE i.source = the_source AND i.provider_id = the_account;
        RETURN;
    END IF;

    -- No user is made under another one's address that nobody has proven to be this account's as well.
    IF known.awaited_address IS NOT NULL OR (
        known.profile IS NULL
        AND EXISTS (SELECT 1 FROM headcount.sources s WHERE s.name = the_source AND s.links_by_address)
        AND EXISTS (SELECT 1 FROM "public"."users" u WHERE lower(CAST(u."email" AS text)) = lower(hinted_address)
                 AND translate(CAST(u."email" AS text), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz') = translate(hinted_address, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz') AND CAST(CAST(u."email_verified" AS text) AS text) IS DISTINCT FROM 'false')
    ) THEN
        RAISE EXCEPTION 'headcount.ensure: the address is another user''s, and its source has not verified it for this account'
            USING ERRCODE = 'HC409', HINT = 'Whoever signs in has to confirm the address.';
    END IF;
    is_there := false;
    IF EXISTS (SELECT 1 FROM "public"."users" u WHERE u."id" = new_id) THEN
        new_id := NULL;
    END IF;
    IF new_id IS NULL THEN
        new_id := CAST(known.reserved_id AS uuid);
        IF EXISTS (SELECT 1 FROM "public"."users" u WHERE u."id" = new_id) THEN
            new_id := NULL;
        END IF;
    END IF;
    new_id := coalesce(new_id, CAST(encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex') AS uuid), CAST($3 AS uuid));
    IF EXISTS (SELECT 1 FROM "public"."users" u WHERE u."id" = new_id) THEN
        RAISE EXCEPTION 'headcount.ensure: there is a row with that id' USING ERRCODE = '23505';
    END IF;
    its_user := CAST(new_id AS text);
    UPDATE headcount.identities i SET reserved_id = its_user
    WHERE i.source = the_source AND i.provider_id = the_account AND i.reserved_id IS DISTINCT FROM its_user;
END
$headcount$
;
CREATE OR REPLACE FUNCTION headcount.ensure_finish(source text, provider_id text, hints jsonb, set jsonb)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $headcount$
#variable_conflict use_column
-- Ties the account to the row that ensure_start has named, and to no other; what the row holds is what was known of it.
DECLARE
    hints_in_users jsonb := '{"avatar_url":"avatar_url","display_name":"display_name","email":"email","email_verified":"email_verified","first_name":"first_name","last_name":"last_name","phone":"phone","username":"username"}';
    hints_elsewhere jsonb := '{}';
    set_elsewhere jsonb := '{}';
    settable jsonb := '{"avatar_url":null,"display_name":null,"username":null}';
    recorded jsonb := '{"email_verified": "false"}';
    elsewhere jsonb := '{}';
    keeps text := '';
    k text;
    v jsonb;
    known headcount.identities%ROWTYPE;
    row_as_it_is jsonb;
    new_id uuid;
BEGIN
    SELECT i.* INTO known FROM headcount.identities i WHERE i.source = $1 AND i.provider_id = $2 FOR NO KEY UPDATE;
    new_id := CAST(coalesce(known.user_id, known.reserved_id) AS uuid);
    SELECT to_jsonb(u) INTO row_as_it_is FROM "public"."users" u WHERE u."id" = new_id;
    IF row_as_it_is IS NULL THEN
        RAISE EXCEPTION 'headcount.ensure: the row was not made' USING ERRCODE = '23503',
            DETAIL = 'A rule or a trigger of the table has kept it out, or given it another id.';
    END IF;
    IF row_as_it_is ->> CAST(NULL AS text) IS NOT NULL THEN
        recorded := recorded || jsonb_build_object('id', row_as_it_is ->> CAST(NULL AS text));
    END IF;
    FOR k, v IN SELECT e.key, e.value FROM jsonb_each(coalesce($3, '{}')) e LOOP
        IF k = 'name' THEN k := 'display_name'; END IF;
        IF hints_in_users ? k AND row_as_it_is ->> (hints_in_users ->> k) IS NOT NULL THEN
            recorded := recorded || jsonb_build_object(k, row_as_it_is ->> (hints_in_users ->> k));
        ELSIF hints_elsewhere ? k AND jsonb_typeof(v) <> 'null' THEN
            elsewhere := elsewhere || jsonb_build_object(hints_elsewhere ->> k, v);
            recorded := recorded || jsonb_build_object(k, v #>> '{}');
        END IF;
    END LOOP;
    FOR k, v IN SELECT e.key, e.value FROM jsonb_each(coalesce($4, '{}')) e LOOP
        IF set_elsewhere ? k THEN
            elsewhere := elsewhere || jsonb_build_object(set_elsewhere ->> k, v);
        END IF;
        IF settable ? k THEN
            keeps := concat_ws(',', NULLIF(keeps, ''), '"' || k || '"');
        END IF;
    END LOOP;
    NULL;
    IF known.state <> 'deleted' THEN
        NULL;
    END IF;
    UPDATE headcount.identities i SET user_id = CAST(new_id AS text), reserved_id = NULL,
        hints = CASE WHEN i.profile IS NULL THEN coalesce(i.hints, CAST(recorded AS text)) END
    WHERE i.source = $1 AND i.provider_id = $2
      AND (i.user_id IS NULL OR i.reserved_id IS NOT NULL OR (i.profile IS NULL AND i.hints IS NULL));
END
$headcount$
;
CREATE OR REPLACE FUNCTION headcount.ensure(source text, provider_id text, hints jsonb DEFAULT '{}', set jsonb DEFAULT '{}')
RETURNS TABLE (id uuid) LANGUAGE plpgsql SECURITY INVOKER AS $headcount$
#variable_conflict use_column
-- The row is written with the caller's own rights, search path and row-level security, as by an INSERT of its own.
DECLARE
    -- our names, and those of the users table
    hints_in_users jsonb := '{"avatar_url":"avatar_url","display_name":"display_name","email":"email","email_verified":"email_verified","first_name":"first_name","last_name":"last_name","phone":"phone","username":"username"}';
    set_in_users jsonb := '{"avatar_url":"avatar_url","display_name":"display_name","username":"username"}';
    -- what lies elsewhere; ensure_finish writes it
    others jsonb := '{}';
    -- the provider's, and needed by the row: as a hint, until the provider has a word of its own
    supplied jsonb := '{}';
    ours jsonb := '{"account_state":null,"avatar_url":null,"created_at":null,"deleted_at":null,"display_name":null,"email":null,"email_verified":null,"first_name":null,"id":null,"kept":null,"last_name":null,"missing":null,"phone":null,"provisional":null,"state_since":null,"suspended_by_app":null,"suspended_by_source":null,"updated_at":null,"username":null}';
    -- what a row has without any hint, and the last that is tried
    bare jsonb := '{"email_verified":false}';
    least jsonb := bare;
    hinted jsonb;
    wanted jsonb := '{}';
    keeps text := '';
    k text;
    v jsonb;
    start record;
    these text[];
    those text[];
    new_id uuid;
BEGIN
    IF CAST(NULL AS text) IS NOT NULL THEN
        bare := bare || jsonb_build_object(CAST(NULL AS text), $2);
        IF false THEN
            least := bare;
        END IF;
    END IF;
    hinted := bare;
    FOR k, v IN SELECT e.key, e.value FROM jsonb_each(coalesce($3, '{}')) e LOOP
        IF k = 'name' THEN k := 'display_name'; END IF;
        IF jsonb_typeof(v) = 'null' THEN CONTINUE; END IF;
        IF hints_in_users ? k THEN
            hinted := hinted || jsonb_build_object(hints_in_users ->> k, v);
        ELSIF NOT ours ? k THEN
            RAISE EXCEPTION 'headcount.ensure: hints name no column %', quote_literal(k) USING ERRCODE = '42703';
        END IF;
    END LOOP;
    FOR k, v IN SELECT e.key, e.value FROM jsonb_each(coalesce($4, '{}')) e LOOP
        IF set_in_users ? k THEN
            wanted := wanted || jsonb_build_object(set_in_users ->> k, v);
            keeps := concat_ws(',', NULLIF(keeps, ''), '"' || k || '"');
        ELSIF supplied ? k THEN
            hinted := hinted || jsonb_build_object(supplied ->> k, v);
        ELSIF others ? k THEN
            CONTINUE;
        ELSIF ours ? k THEN
            RAISE EXCEPTION 'headcount.ensure: column % is not the application''s to set', quote_literal(k)
                USING ERRCODE = '42501';
        ELSE
            wanted := wanted || jsonb_build_object(k, v);
        END IF;
    END LOOP;

    IF NOT has_function_privilege('headcount.ensure_start(text, text, text, text)', 'EXECUTE') THEN
        RAISE EXCEPTION 'headcount.ensure: role % may call one of its parts alone', current_user USING ERRCODE = '42501',
            HINT = format('`headcount migrate --app-grants %s` gives it the others.', current_user);
    END IF;
    SELECT s.* INTO start FROM headcount.ensure_start($1, $2, NULL, $3 ->> 'email') s;
    IF start.its_user IS NULL THEN
        SELECT s.* INTO start FROM headcount.ensure_start($1, $2, CAST(NULL AS text), $3 ->> 'email') s;
    END IF;
    new_id := CAST(start.its_user AS uuid);

    IF NOT start.is_there THEN
        LOOP
            SELECT names || coalesce(array_agg(quote_ident(j) ORDER BY j), '{}'),
                   cells || coalesce(array_agg('r.' || quote_ident(j) ORDER BY j), '{}')
            INTO these, those
            FROM jsonb_object_keys(hinted || wanted) j, (SELECT CAST(ARRAY['provisional', 'kept'] AS text[]), CAST(ARRAY['true', '$3'] AS text[])) AS m(names, cells)
            GROUP BY names, cells;
            BEGIN
                EXECUTE format('INSERT INTO "public"."users" (%s) SELECT %s
                    FROM jsonb_populate_record(CAST(NULL AS "public"."users"), $2) r',
                    array_to_string(these || CAST('"id"' AS text), ', '),
                    array_to_string(those || CAST('$1' AS text), ', '))
                USING new_id, hinted || wanted, keeps;
                EXIT;
            EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
                -- Hints must not keep anybody out, nor must the provider's id; then it is the application's to know.
                IF hinted = least THEN
                    RAISE;
                END IF;
                hinted := CASE WHEN hinted = bare THEN least ELSE bare END;
            END;
        END LOOP;
    ELSIF NOT start.is_deleted THEN
        IF wanted <> '{}' THEN
            DECLARE
                names text;
                cells text;
                differs text;
            BEGIN
                SELECT string_agg(quote_ident(j), ', ' ORDER BY j), string_agg('r.' || quote_ident(j), ', ' ORDER BY j),
                       string_agg(format('CAST(t.%1$I AS text) IS DISTINCT FROM CAST(r.%1$I AS text)', j), ' OR ')
                INTO names, cells, differs FROM jsonb_object_keys(wanted) j;
                EXECUTE format('UPDATE "public"."users" t SET (%s) = ROW(%s)
                    FROM jsonb_populate_record(CAST(NULL AS "public"."users"), $2) r WHERE t."id" = $1 AND (%s)', names, cells, differs)
                USING new_id, wanted;
            END;
        END IF;
        UPDATE "public"."users" SET kept = (SELECT string_agg(DISTINCT k, ',')
                 FROM unnest(string_to_array(NULLIF(kept, ''), ',') || string_to_array(NULLIF(keeps, ''), ',')) AS k)
             WHERE "id" = new_id AND keeps <> '' AND kept IS DISTINCT FROM keeps;
    END IF;
    PERFORM headcount.ensure_finish($1, $2, $3, $4);
    RETURN QUERY SELECT new_id;
END
$headcount$
;
REVOKE ALL ON FUNCTION headcount.ensure_start(text, text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION headcount.ensure_finish(text, text, jsonb, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION headcount.ensure(text, text, jsonb, jsonb) FROM PUBLIC;
DO $callers$ DECLARE
    caller text;
BEGIN
    FOR caller IN SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
        WHERE p.oid = CAST('headcount.ensure(text, text, jsonb, jsonb)' AS regprocedure) AND a.privilege_type = 'EXECUTE'
    LOOP
        EXECUTE 'GRANT EXECUTE ON FUNCTION headcount.ensure_start(text, text, text, text),
            headcount.ensure_finish(text, text, jsonb, jsonb) TO ' || caller;
    END LOOP;
END $callers$;
INSERT INTO headcount.settings (key, value) VALUES ('offered', '7b5ee9373d6b7b58cba1f6ea9cb4ea21fbb1b6ee8dc7664ea1a3897dc93edffa')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- required fields: email
INSERT INTO headcount.settings (key, value) VALUES ('required_fields', 'email')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
