CREATE OR REPLACE FUNCTION headcount.ensure(source text, provider_id text, hints jsonb DEFAULT '{}', set jsonb DEFAULT '{}')
RETURNS TABLE (id {id_type}) LANGUAGE plpgsql SECURITY INVOKER AS {quote}
#variable_conflict use_column
-- The row is written with the caller's own rights, search path and row-level security, as by an INSERT of its own.
DECLARE
    -- our names, and those of the users table
    hints_in_users jsonb := {hints_in_users};
    set_in_users jsonb := {set_in_users};
    -- what lies elsewhere; ensure_finish writes it
    others jsonb := {set_elsewhere};
    -- the provider's, and needed by the row: as a hint, until the provider has a word of its own
    supplied jsonb := {supplied};
    ours jsonb := {ours};
    -- what a row has without any hint, and the last that is tried
    bare jsonb := {verified};
    least jsonb := bare;
    hinted jsonb;
    wanted jsonb := '{}';
    keeps text := '';
    k text;
    v jsonb;
    start record;
    these text[];
    those text[];
    new_id {id_type};
BEGIN
    IF {id_column} IS NOT NULL THEN
        bare := bare || jsonb_build_object({id_column}, $2);
        IF {needs_id_column} THEN
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
        SELECT s.* INTO start FROM headcount.ensure_start($1, $2, CAST({offered_id} AS text), $3 ->> 'email') s;
    END IF;
    new_id := CAST(start.its_user AS {id_type});

    IF NOT start.is_there THEN
        LOOP
            SELECT names || coalesce(array_agg(quote_ident(j) ORDER BY j), '{}'),
                   cells || coalesce(array_agg('r.' || quote_ident(j) ORDER BY j), '{}')
            INTO these, those
            FROM jsonb_object_keys(hinted || wanted) j, (SELECT {more_columns}, {more_values}) AS m(names, cells)
            GROUP BY names, cells;
            BEGIN
                EXECUTE format('INSERT INTO {table_in_format} (%s){over} SELECT %s
                    FROM jsonb_populate_record(CAST(NULL AS {table_in_format}), $2) r',
                    array_to_string(these || CAST({id_literal} AS text), ', '),
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
                EXECUTE format('UPDATE {table_in_format} t SET (%s) = ROW(%s)
                    FROM jsonb_populate_record(CAST(NULL AS {table_in_format}), $2) r WHERE t.{id_in_format} = $1 AND (%s)', names, cells, differs)
                USING new_id, wanted;
            END;
        END IF;
        {keep};
    END IF;
    PERFORM headcount.ensure_finish($1, $2, $3, $4);
    RETURN QUERY SELECT new_id;
END
{quote}
