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
DO $view$ BEGIN
CREATE OR REPLACE VIEW headcount.people AS
    SELECT u."id" AS id, u.account_state AS account_state, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."username" END AS username, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."display_name" END AS display_name, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."avatar_url" END AS avatar_url
    FROM "public"."users" u;
EXCEPTION WHEN invalid_table_definition THEN
    DROP VIEW headcount.people;
CREATE VIEW headcount.people AS
    SELECT u."id" AS id, u.account_state AS account_state, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."username" END AS username, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."display_name" END AS display_name, CASE WHEN coalesce(u.account_state, '') <> 'deleted' THEN u."avatar_url" END AS avatar_url
    FROM "public"."users" u;
END $view$;
CREATE OR REPLACE FUNCTION headcount.ensure(source text, provider_id text, hints jsonb DEFAULT '{}', set jsonb DEFAULT '{}')
RETURNS TABLE (id uuid) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $headcount$
#variable_conflict use_column
DECLARE
    the_source text := $1;
    the_account text := $2;
    -- our names, and those of the users table
    hints_in_users jsonb := '{"avatar_url":"avatar_url","display_name":"display_name","email":"email","email_verified":"email_verified","first_name":"first_name","last_name":"last_name","phone":"phone","username":"username"}';
    hints_elsewhere jsonb := '{}';
    set_in_users jsonb := '{"avatar_url":"avatar_url","display_name":"display_name","username":"username"}';
    set_elsewhere jsonb := '{}';
    ours jsonb := '{"account_state":null,"avatar_url":null,"created_at":null,"deleted_at":null,"display_name":null,"email":null,"email_verified":null,"first_name":null,"id":null,"kept":null,"last_name":null,"missing":null,"phone":null,"provisional":null,"state_since":null,"suspended_by_app":null,"suspended_by_source":null,"updated_at":null,"username":null}';
    -- what a row has without any hint, here and as it is recorded
    bare jsonb := '{"email_verified":false}';
    bare_record jsonb := '{"email_verified": "false"}';
    hinted jsonb;
    recorded jsonb;
    wanted jsonb := '{}';
    elsewhere jsonb := '{}';
    keeps text := '';
    k text;
    v jsonb;
    known headcount.identities%ROWTYPE;
    rule text;
    found_by text;
    shared uuid;
    rows text[];
    these text[];
    those text[];
    secret bytea;
    inner_pad bytea;
    outer_pad bytea;
    new_id uuid;
    is_there boolean := false;
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

    IF CAST(NULL AS text) IS NOT NULL THEN
        bare := bare || jsonb_build_object(CAST(NULL AS text), the_account);
        bare_record := bare_record || jsonb_build_object('id', the_account);
    END IF;
    hinted := bare;
    recorded := bare_record;

    -- What the session knows, and what the application sets, by the columns where they lie.
    FOR k, v IN SELECT e.key, e.value FROM jsonb_each(coalesce($3, '{}')) e LOOP
        IF k = 'name' THEN k := 'display_name'; END IF;
        IF jsonb_typeof(v) = 'null' THEN CONTINUE; END IF;
        IF hints_in_users ? k THEN
            hinted := hinted || jsonb_build_object(hints_in_users ->> k, v);
        ELSIF hints_elsewhere ? k THEN
            elsewhere := elsewhere || jsonb_build_object(hints_elsewhere ->> k, v);
        ELSIF NOT ours ? k THEN
            RAISE EXCEPTION 'headcount.ensure: hints name no column %', quote_literal(k) USING ERRCODE = '42703';
        ELSE
            CONTINUE;
        END IF;
        recorded := recorded || jsonb_build_object(k, v #>> '{}');
    END LOOP;
    FOR k, v IN SELECT e.key, e.value FROM jsonb_each(coalesce($4, '{}')) e LOOP
        IF set_in_users ? k THEN
            wanted := wanted || jsonb_build_object(set_in_users ->> k, v);
            keeps := concat_ws(',', NULLIF(keeps, ''), '"' || k || '"');
        ELSIF set_elsewhere ? k THEN
            elsewhere := elsewhere || jsonb_build_object(set_elsewhere ->> k, v);
            keeps := concat_ws(',', NULLIF(keeps, ''), '"' || k || '"');
        ELSIF ours ? k THEN
            RAISE EXCEPTION 'headcount.ensure: column % is not the application''s to set', quote_literal(k)
                USING ERRCODE = '42501';
        ELSE
            wanted := wanted || jsonb_build_object(k, v);
        END IF;
    END LOOP;

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

    IF known.user_id IS NOT NULL THEN
        new_id := CAST(known.user_id AS uuid);
        is_there := EXISTS (SELECT 1 FROM "public"."users" u WHERE u."id" = new_id);
    ELSE
        -- A row that was there before, by the column that an adoption has named.
        SELECT substr(s.link_by, 8) INTO rule FROM headcount.sources s
        WHERE s.name = the_source AND s.link_by LIKE 'column:%';
        IF rule IS NOT NULL THEN
            EXECUTE format('SELECT array_agg(CAST(u."id" AS text)) FROM "public"."users" u WHERE CAST(u.%I AS text) = $1
                AND NOT EXISTS (SELECT 1 FROM headcount.identities i WHERE i.user_id = CAST(u."id" AS text))', rule)
            INTO rows USING the_account;
            found_by := 'column:' || rule;
        END IF;
        -- One with the account's own id, or the user of an account elsewhere that has it, where the source shares ids.
        IF coalesce(cardinality(rows), 0) = 0
           AND EXISTS (SELECT 1 FROM headcount.sources s WHERE s.name = the_source AND s.shares_ids) THEN
            shared := CASE WHEN the_account ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN CAST(the_account AS uuid) END;
            SELECT array_agg(f.id) INTO rows FROM (
                SELECT CAST(u."id" AS text) AS id FROM "public"."users" u WHERE u."id" = shared
                UNION
                SELECT i.user_id FROM headcount.identities i
                WHERE i.provider_id = the_account AND i.source <> the_source AND i.user_id IS NOT NULL
            ) f
            WHERE NOT EXISTS (SELECT 1 FROM headcount.identities i WHERE i.user_id = f.id
                              AND (i.source = the_source OR i.deleted_by = 'erase'));
            found_by := 'shared-id';
            IF EXISTS (SELECT 1 FROM "public"."users" u WHERE u."id" = shared) THEN
                shared := NULL;
            END IF;
        END IF;
        IF cardinality(rows) = 1 THEN
            new_id := CAST(rows[1] AS uuid);
            is_there := true;
            NULL;
        END IF;
    END IF;

    IF NOT is_there THEN
        IF new_id IS NULL THEN
            new_id := coalesce(shared, CAST(encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex') AS uuid));
        END IF;
        FOR attempt IN 1..2 LOOP
            SELECT names || coalesce(array_agg(quote_ident(j) ORDER BY j), '{}'),
                   cells || coalesce(array_agg('r.' || quote_ident(j) ORDER BY j), '{}')
            INTO these, those
            FROM jsonb_object_keys(hinted || wanted) j, (SELECT CAST(ARRAY['provisional', 'kept'] AS text[]), CAST(ARRAY['true', '$3'] AS text[])) AS m(names, cells)
            GROUP BY names, cells;
            IF new_id IS NOT NULL THEN
                these := these || CAST('"id"' AS text);
                those := those || CAST('$1' AS text);
            END IF;
            BEGIN
                EXECUTE format('INSERT INTO "public"."users" (%s) SELECT %s
                    FROM jsonb_populate_record(CAST(NULL AS "public"."users"), $2) r RETURNING "id"',
                    array_to_string(these, ', '), array_to_string(those, ', '))
                INTO new_id USING new_id, hinted || wanted, keeps;
                EXIT;
            EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
                -- Hints must not keep anybody out: once more without them, and then it is the application's to know.
                IF attempt = 2 OR hinted = bare THEN
                    RAISE;
                END IF;
                hinted := bare;
                recorded := bare_record;
            END;
        END LOOP;
        NULL;
    ELSIF known.state <> 'deleted' THEN
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

    IF known.user_id IS NULL THEN
        UPDATE headcount.identities i SET user_id = CAST(new_id AS text), hints = CAST(recorded AS text),
            linked_by = CASE WHEN is_there THEN found_by ELSE i.linked_by END,
            linked_at = CASE WHEN is_there THEN clock_timestamp() ELSE i.linked_at END
        WHERE i.source = the_source AND i.provider_id = the_account;
    END IF;
    RETURN QUERY SELECT new_id;
END
$headcount$
;
REVOKE ALL ON FUNCTION headcount.ensure(text, text, jsonb, jsonb) FROM PUBLIC;
INSERT INTO headcount.settings (key, value) VALUES ('offered', '0eb3f1aadb47750b58870c22106378aed65f514d1232a83c07908d09d50db721')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- required fields: email
INSERT INTO headcount.settings (key, value) VALUES ('required_fields', 'email')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value;
