CREATE OR REPLACE FUNCTION headcount.ensure_finish(source text, provider_id text, hints jsonb, set jsonb)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
#variable_conflict use_column
-- Ties the account to the row that ensure_start has named, and to no other; what the row holds is what was known of it.
DECLARE
    hints_in_users jsonb := {hints_in_users};
    hints_elsewhere jsonb := {hints_elsewhere};
    set_elsewhere jsonb := {set_elsewhere};
    settable jsonb := {settable};
    recorded jsonb := '{"email_verified": "false"}';
    elsewhere jsonb := '{}';
    keeps text := '';
    k text;
    v jsonb;
    known headcount.identities%ROWTYPE;
    row_as_it_is jsonb;
    new_id {id_type};
BEGIN
    SELECT i.* INTO known FROM headcount.identities i WHERE i.source = $1 AND i.provider_id = $2 FOR NO KEY UPDATE;
    new_id := CAST(coalesce(known.user_id, known.reserved_id) AS {id_type});
    SELECT to_jsonb(u) INTO row_as_it_is FROM {table} u WHERE u.{id} = new_id;
    IF row_as_it_is IS NULL THEN
        RAISE EXCEPTION 'headcount.ensure: the row was not made' USING ERRCODE = '23503',
            DETAIL = 'A rule or a trigger of the table has kept it out, or given it another id.';
    END IF;
    IF row_as_it_is ->> {id_column} IS NOT NULL THEN
        recorded := recorded || jsonb_build_object('id', row_as_it_is ->> {id_column});
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
    {account};
    IF known.state <> 'deleted' THEN
        {keep_elsewhere};
    END IF;
    UPDATE headcount.identities i SET user_id = CAST(new_id AS text), reserved_id = NULL,
        hints = CASE WHEN i.profile IS NULL THEN coalesce(i.hints, CAST(recorded AS text)) END
    WHERE i.source = $1 AND i.provider_id = $2
      AND (i.user_id IS NULL OR i.reserved_id IS NOT NULL OR (i.profile IS NULL AND i.hints IS NULL));
END
{quote}
