//! The SQL that installs the webhook: a trigger on `auth.users` that tells of what may be kept, and of nothing else.
//!
//! Source: Supabase's page on database webhooks (a trigger, pg_net, the payload's form). Its own generated trigger sends
//! the whole row, the password's hash included; this one sends the same form without.

use super::row::KEPT;

/// The name of the schema, the function and the trigger.
const NAME: &str = "headcount_webhook";

pub(super) fn sql(url: &str, secret: &str) -> String {
    let kept: Vec<String> = KEPT.iter().map(|column| literal(column)).collect();
    let headers = serde_json::json!({
        "Content-Type": "application/json",
        "Authorization": format!("Bearer {secret}"),
    });
    format!(
        "-- Tells headcount of every change of auth.users. Run it in the project's SQL editor; it may be run again.
-- To remove it: DROP SCHEMA {NAME} CASCADE;
CREATE EXTENSION IF NOT EXISTS pg_net;
CREATE SCHEMA IF NOT EXISTS {NAME};
REVOKE ALL ON SCHEMA {NAME} FROM PUBLIC;

CREATE OR REPLACE FUNCTION {NAME}.tell() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $headcount$
DECLARE
    changed jsonb;
    told jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN
        changed := to_jsonb(OLD);
    ELSE
        changed := to_jsonb(NEW);
    END IF;
    -- Neither the hash of the password nor a token leaves this database.
    SELECT jsonb_object_agg(cell.key, cell.value) INTO told FROM jsonb_each(changed) AS cell
    WHERE cell.key = ANY (ARRAY[{}]);
    PERFORM net.http_post(
        url := {},
        headers := {}::jsonb,
        body := jsonb_build_object(
            'type', TG_OP, 'table', TG_TABLE_NAME, 'schema', TG_TABLE_SCHEMA,
            'record', CASE WHEN TG_OP <> 'DELETE' THEN told END,
            'old_record', CASE WHEN TG_OP = 'DELETE' THEN told END),
        timeout_milliseconds := 10000);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- A sign-up does not fail for it: the next resync finds what was not told.
    RAISE WARNING 'headcount was not told: %', SQLERRM;
    RETURN NULL;
END
$headcount$;

DROP TRIGGER IF EXISTS {NAME} ON auth.users;
CREATE TRIGGER {NAME} AFTER INSERT OR UPDATE OR DELETE ON auth.users
    FOR EACH ROW EXECUTE FUNCTION {NAME}.tell();
",
        kept.join(", "),
        literal(url),
        literal(&headers.to_string())
    )
}

/// Backslashes mean nothing in a standard literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
