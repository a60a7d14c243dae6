CREATE OR REPLACE FUNCTION headcount.ensure(source text, provider_id text, hints jsonb DEFAULT '{}', set jsonb DEFAULT '{}')
RETURNS TABLE (id {id_type}) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $headcount$
#variable_conflict use_column
DECLARE
    the_source text := $1;
    the_account text := $2;
    -- our names, and those of the users table
    hints_in_users jsonb := {hints_in_users};
    hints_elsewhere jsonb := {hints_elsewhere};
    set_in_users jsonb := {set_in_users};
    set_elsewhere jsonb := {set_elsewhere};
    -- the provider's, and needed by the row: as a hint, until the provider has a word of its own
    supplied jsonb := {supplied};
    ours jsonb := {ours};
    -- what a row has without any hint, here and as it is recorded
    bare jsonb := {verified};
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
    shared {id_type};
    rows text[];
    these text[];
    those text[];
    secret bytea;
    inner_pad bytea;
    outer_pad bytea;
    new_id {id_type};
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

    IF {id_column} IS NOT NULL THEN
        bare := bare || jsonb_build_object({id_column}, the_account);
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
        ELSIF supplied ? k THEN
            hinted := hinted || jsonb_build_object(supplied ->> k, v);
            recorded := recorded || jsonb_build_object(k, v #>> '{}');
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
        new_id := CAST(known.user_id AS {id_type});
        is_there := EXISTS (SELECT 1 FROM {table} u WHERE u.{id} = new_id);
    ELSE
        -- A row that was there before, by the column that an adoption has named.
        SELECT substr(s.link_by, 8) INTO rule FROM headcount.sources s
        WHERE s.name = the_source AND s.link_by LIKE 'column:%';
        IF rule IS NOT NULL THEN
            EXECUTE format('SELECT array_agg(CAST(u.{id} AS text)) FROM {table} u WHERE CAST(u.%I AS text) = $1
                AND NOT EXISTS (SELECT 1 FROM headcount.identities i WHERE i.user_id = CAST(u.{id} AS text))', rule)
            INTO rows USING the_account;
            found_by := 'column:' || rule;
        END IF;
        -- One with the account's own id, or the user of an account elsewhere that has it, where the source shares ids.
        IF coalesce(cardinality(rows), 0) = 0
           AND EXISTS (SELECT 1 FROM headcount.sources s WHERE s.name = the_source AND s.shares_ids) THEN
            shared := {shared_id};
            SELECT array_agg(f.id) INTO rows FROM (
                SELECT CAST(u.{id} AS text) AS id FROM {table} u WHERE u.{id} = shared
                UNION
                SELECT i.user_id FROM headcount.identities i
                WHERE i.provider_id = the_account AND i.source <> the_source AND i.user_id IS NOT NULL
            ) f
            WHERE NOT EXISTS (SELECT 1 FROM headcount.identities i WHERE i.user_id = f.id
                              AND (i.source = the_source OR i.deleted_by = 'erase'));
            found_by := 'shared-id';
            IF EXISTS (SELECT 1 FROM {table} u WHERE u.{id} = shared) THEN
                shared := NULL;
            END IF;
        END IF;
        IF cardinality(rows) = 1 THEN
            new_id := CAST(rows[1] AS {id_type});
            is_there := true;
            {account};
        END IF;
    END IF;

    IF NOT is_there THEN
        IF new_id IS NULL THEN
            new_id := coalesce(shared, CAST(known.reserved_id AS {id_type}), {fresh_id});
        END IF;
        FOR attempt IN 1..2 LOOP
            SELECT names || coalesce(array_agg(quote_ident(j) ORDER BY j), '{}'),
                   cells || coalesce(array_agg('r.' || quote_ident(j) ORDER BY j), '{}')
            INTO these, those
            FROM jsonb_object_keys(hinted || wanted) j, (SELECT {more_columns}, {more_values}) AS m(names, cells)
            GROUP BY names, cells;
            IF new_id IS NOT NULL THEN
                these := these || CAST('{id}' AS text);
                those := those || CAST('$1' AS text);
            END IF;
            BEGIN
                EXECUTE format('INSERT INTO {table} (%s){over} SELECT %s
                    FROM jsonb_populate_record(CAST(NULL AS {table}), $2) r RETURNING {id}',
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
        {account};
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
                EXECUTE format('UPDATE {table} t SET (%s) = ROW(%s)
                    FROM jsonb_populate_record(CAST(NULL AS {table}), $2) r WHERE t.{id} = $1 AND (%s)', names, cells, differs)
                USING new_id, wanted;
            END;
        END IF;
        {keep};
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
