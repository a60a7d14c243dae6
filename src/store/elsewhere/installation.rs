//! The SQL that makes an outbox beside a users table, and takes it away.
//!
//! It never makes the application's own write fail or wait, where the database lets a trigger promise that. PostgreSQL's
//! swallows whatever goes wrong and counts it. SQLite's cannot swallow: its statement is one insert into a table that
//! nothing else writes to, in the transaction that writes already.

use super::catalog::FoundTable;
use crate::store::engine::dialect::{Dialect, quoted};

/// The table of notes.
pub(super) fn outbox(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "headcount_outbox.headcount_outbox",
        Dialect::Sqlite => "headcount_outbox",
    }
}

/// The table with the one row that says which life of the outbox this is.
pub(super) fn state(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "headcount_outbox.headcount_outbox_state",
        Dialect::Sqlite => "headcount_outbox_state",
    }
}

pub(super) fn install(table: &FoundTable) -> String {
    let (name, key) = (&table.name, quoted(&table.key.column));
    match table.dialect {
        Dialect::Postgres => install_postgres(name, &key),
        Dialect::Sqlite => install_sqlite(name, &key),
    }
}

pub(super) fn uninstall(table: &FoundTable) -> String {
    let mut statements: Vec<String> = TRIGGERS
        .iter()
        .map(|trigger| match table.dialect {
            Dialect::Postgres => format!("DROP TRIGGER IF EXISTS {trigger} ON {};", table.name),
            Dialect::Sqlite => format!("DROP TRIGGER IF EXISTS {trigger};"),
        })
        .collect();
    match table.dialect {
        Dialect::Postgres => statements.push("DROP SCHEMA IF EXISTS headcount_outbox CASCADE;".to_owned()),
        Dialect::Sqlite => statements.extend(
            [outbox(table.dialect), state(table.dialect)].map(|name| format!("DROP TABLE IF EXISTS {name};")),
        ),
    }
    statements.join("\n") + "\n"
}

/// One for each kind of change.
const TRIGGERS: [&str; 3] = ["headcount_outbox_insert", "headcount_outbox_update", "headcount_outbox_delete"];

/// One row a statement and not one a row: an import of 100,000 people is one insert more.
fn install_postgres(table: &str, key: &str) -> String {
    let epoch = Dialect::Postgres.fresh_epoch();
    let triggers: String = [
        (TRIGGERS[0], "INSERT", "NEW TABLE AS headcount_after"),
        (TRIGGERS[1], "UPDATE", "OLD TABLE AS headcount_before NEW TABLE AS headcount_after"),
        (TRIGGERS[2], "DELETE", "OLD TABLE AS headcount_before"),
    ]
    .iter()
    .map(|(trigger, event, rows)| {
        format!(
            "DROP TRIGGER IF EXISTS {trigger} ON {table};
CREATE TRIGGER {trigger} AFTER {event} ON {table} REFERENCING {rows}
    FOR EACH STATEMENT EXECUTE FUNCTION headcount_outbox.note();
"
        )
    })
    .collect();
    format!(
        "-- headcount's outbox: whose row has changed, and never what is in it.
-- It waits two seconds for a lock on the users table, and then gives up: run it again.
SET LOCAL lock_timeout = '2s';
CREATE SCHEMA IF NOT EXISTS headcount_outbox;
CREATE TABLE IF NOT EXISTS headcount_outbox.headcount_outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    op text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS headcount_outbox.headcount_outbox_state (
    is_the_row boolean PRIMARY KEY DEFAULT true CHECK (is_the_row),
    epoch text NOT NULL,
    made_in text,
    failures bigint NOT NULL DEFAULT 0,
    last_failure text
);
INSERT INTO headcount_outbox.headcount_outbox_state (epoch) VALUES ({epoch}) ON CONFLICT DO NOTHING;
-- Whatever goes wrong in it is counted, and the application's own write goes through.
CREATE OR REPLACE FUNCTION headcount_outbox.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '20ms' AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO headcount_outbox.headcount_outbox (user_id, op)
            SELECT {key}, 'insert' FROM headcount_after;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO headcount_outbox.headcount_outbox (user_id, op)
            SELECT {key}, 'update' FROM headcount_after;
        INSERT INTO headcount_outbox.headcount_outbox (user_id, op)
            SELECT {key}, 'delete' FROM headcount_before EXCEPT SELECT {key}, 'delete' FROM headcount_after;
    ELSE
        INSERT INTO headcount_outbox.headcount_outbox (user_id, op)
            SELECT {key}, 'delete' FROM headcount_before;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        PERFORM 1 FROM headcount_outbox.headcount_outbox_state FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE headcount_outbox.headcount_outbox_state SET failures = failures + 1,
                last_failure = 'SQLSTATE ' || SQLSTATE || ' at ' || date_trunc('second', clock_timestamp());
        END IF;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    RETURN NULL;
END $$;
{triggers}"
    )
}

fn install_sqlite(table: &str, key: &str) -> String {
    const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    let epoch = Dialect::Sqlite.fresh_epoch();
    let note = |row: &str, op: &str, unless: &str| {
        format!(
            "    INSERT INTO headcount_outbox (user_id, op, at) SELECT CAST({row}.{key} AS text), '{op}', {NOW}{unless};\n"
        )
    };
    let is_moved = format!(" WHERE OLD.{key} IS NOT NEW.{key}");
    let triggers: String = [
        (TRIGGERS[0], "INSERT", note("NEW", "insert", "")),
        (TRIGGERS[1], "UPDATE", note("NEW", "update", "") + &note("OLD", "delete", &is_moved)),
        (TRIGGERS[2], "DELETE", note("OLD", "delete", "")),
    ]
    .iter()
    .map(|(trigger, event, notes)| {
        format!(
            "DROP TRIGGER IF EXISTS {trigger};
CREATE TRIGGER {trigger} AFTER {event} ON {table} FOR EACH ROW BEGIN
{notes}END;
"
        )
    })
    .collect();
    format!(
        "-- headcount's outbox: whose row has changed, and never what is in it.
CREATE TABLE IF NOT EXISTS headcount_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    op TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS headcount_outbox_state (
    is_the_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (is_the_row = 1),
    epoch TEXT NOT NULL,
    made_in TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    last_failure TEXT
);
INSERT INTO headcount_outbox_state (is_the_row, epoch) VALUES (1, {epoch}) ON CONFLICT DO NOTHING;
{triggers}"
    )
}
