CREATE OR REPLACE FUNCTION headcount.ensure_start(source text, provider_id text, offered_id text, hinted_address text,
    OUT its_user text, OUT is_there boolean, OUT is_deleted boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
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
    new_id {id_type};
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
        is_there := EXISTS (SELECT 1 FROM {table} u WHERE u.{id} = CAST(known.user_id AS {id_type}));
        RETURN;
    END IF;
    -- A row that was there before, by the column that an adoption has named.
    SELECT substr(s.link_by, 8) INTO rule FROM headcount.sources s
    WHERE s.name = the_source AND s.link_by LIKE 'column:%';
    IF rule IS NOT NULL THEN
        EXECUTE format('SELECT array_agg(CAST(u.{id_in_format} AS text)) FROM {table_in_format} u WHERE CAST(u.%I AS text) = $1', rule)
        INTO rows USING the_account;
        found_by := 'column:' || rule;
    END IF;
    -- One with the account's own id, or the user of an account elsewhere that has it, where the source shares ids.
    IF coalesce(cardinality(rows), 0) = 0
       AND EXISTS (SELECT 1 FROM headcount.sources s WHERE s.name = the_source AND s.shares_ids) THEN
        new_id := {shared_id};
        SELECT array_agg(f.id) INTO rows FROM (
            SELECT CAST(u.{id} AS text) AS id FROM {table} u WHERE u.{id} = new_id
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
        AND {is_users_address}
    ) THEN
        RAISE EXCEPTION 'headcount.ensure: the address is another user''s, and its source has not verified it for this account'
            USING ERRCODE = 'HC409', HINT = 'Whoever signs in has to confirm the address.';
    END IF;
    is_there := false;
    IF EXISTS (SELECT 1 FROM {table} u WHERE u.{id} = new_id) THEN
        new_id := NULL;
    END IF;
    IF new_id IS NULL THEN
        new_id := CAST(known.reserved_id AS {id_type});
        IF EXISTS (SELECT 1 FROM {table} u WHERE u.{id} = new_id) THEN
            new_id := NULL;
        END IF;
    END IF;
    new_id := coalesce(new_id, {fresh_id}, CAST($3 AS {id_type}));
    IF EXISTS (SELECT 1 FROM {table} u WHERE u.{id} = new_id) THEN
        RAISE EXCEPTION 'headcount.ensure: there is a row with that id' USING ERRCODE = '23505';
    END IF;
    its_user := CAST(new_id AS text);
    UPDATE headcount.identities i SET reserved_id = its_user
    WHERE i.source = the_source AND i.provider_id = the_account AND i.reserved_id IS DISTINCT FROM its_user;
END
{quote}
