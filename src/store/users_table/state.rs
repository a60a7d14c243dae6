//! `account_state` and `missing`: true whoever wrote the row, because the database computes them.

use super::UsersTable;
use crate::core::account::AccountState;
use crate::store::dialect::{Dialect, quoted};

/// The state trigger's name on PostgreSQL. Triggers fire in the order of their names: ours sees what the
/// application's have made of the row.
const TRIGGER: &str = "zz_headcount_state";
const SQLITE_TRIGGERS: [&str; 2] = ["headcount_state_insert", "headcount_state_update"];

impl UsersTable {
    /// The definitions that the database has of the state trigger, to be compared with [`Self::state_source`].
    pub fn installed_state(&self) -> String {
        match self.dialect {
            Dialect::Postgres => format!(
                "SELECT CAST(p.prosrc AS text) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                 JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'public' AND c.relname = 'users' AND t.tgname = '{TRIGGER}' AND t.tgenabled <> 'D'"
            ),
            Dialect::Sqlite => format!(
                "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name IN ('{}', '{}') ORDER BY name",
                SQLITE_TRIGGERS[0], SQLITE_TRIGGERS[1]
            ),
        }
    }

    /// What [`Self::installed_state`] answers where the trigger is the right one.
    pub fn state_source(&self, required: &[String]) -> Vec<String> {
        match self.dialect {
            Dialect::Postgres => vec![self.postgres_body(required)],
            Dialect::Sqlite => self.sqlite_triggers(required).to_vec(),
        }
    }

    /// The script that puts the right trigger in place of any other.
    pub fn install_state(&self, required: &[String]) -> String {
        let table = &self.table;
        match self.dialect {
            Dialect::Postgres => format!(
                "CREATE OR REPLACE FUNCTION headcount.users_state() RETURNS trigger LANGUAGE plpgsql AS $headcount${}$headcount$;\n\
                 DROP TRIGGER IF EXISTS {TRIGGER} ON {table};\n\
                 CREATE TRIGGER {TRIGGER} BEFORE INSERT OR UPDATE ON {table}\n    \
                     FOR EACH ROW EXECUTE FUNCTION headcount.users_state()",
                self.postgres_body(required)
            ),
            Dialect::Sqlite => {
                let [insert, update] = self.sqlite_triggers(required);
                let [first, second] = SQLITE_TRIGGERS;
                format!(
                    "DROP TRIGGER IF EXISTS {first};\nDROP TRIGGER IF EXISTS {second};\n{insert};\n{update}"
                )
            }
        }
    }

    /// Literal column names: cheaper than looking the row up as JSON, and checked by the database.
    fn postgres_body(&self, required: &[String]) -> String {
        format!(
            "\nBEGIN\n    NEW.missing := {};\n    NEW.account_state := {};\n    \
             IF TG_OP = 'INSERT' OR NEW.account_state IS DISTINCT FROM OLD.account_state THEN\n        \
                 NEW.state_since := clock_timestamp();\n    END IF;\n    \
             IF TG_OP = 'UPDATE' AND NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN\n        \
                 NEW.updated_at := clock_timestamp();\n    END IF;\n    RETURN NEW;\nEND\n",
            self.missing("NEW.", required),
            self.state("NEW.", required)
        )
    }

    /// No JSON and no functions of ours: these run in the application's own, older SQLite. A row that is right
    /// already, as ours mostly are, is not written again.
    fn sqlite_triggers(&self, required: &[String]) -> [String; 2] {
        let (table, missing, state) =
            (&self.table, self.missing("NEW.", required), self.state("NEW.", required));
        let now = Dialect::Sqlite.clock();
        let wrong = format!("NEW.account_state IS NOT {state} OR NEW.missing IS NOT {missing}");
        let trigger = |name: &str, event: &str, when: &str, also: &str| {
            format!(
                "CREATE TRIGGER {name} AFTER {event} ON {table} WHEN {when}\nBEGIN\n    \
                 UPDATE {table} SET account_state = {state}, missing = {missing},{also} updated_at = {now}\n    \
                 WHERE id = NEW.id;\nEND"
            )
        };
        let untouched = format!("NEW.updated_at IS OLD.updated_at AND NEW.updated_at < {now}");
        let since = format!(
            " state_since = CASE WHEN OLD.account_state IS {state} THEN OLD.state_since ELSE {now} END,"
        );
        [
            trigger(SQLITE_TRIGGERS[0], "INSERT", &wrong, ""),
            trigger(SQLITE_TRIGGERS[1], "UPDATE", &format!("{wrong} OR ({untouched})"), &since),
        ]
    }

    fn absent(prefix: &str, field: &str) -> String {
        let column = format!("{prefix}{}", quoted(field));
        format!("({column} IS NULL OR CAST({column} AS text) = '')")
    }

    /// The list of required fields that are absent; empty for a deleted account, which nobody will complete.
    fn missing(&self, prefix: &str, required: &[String]) -> String {
        let none = match self.dialect {
            Dialect::Postgres => "CAST('{}' AS text[])",
            Dialect::Sqlite => "'[]'",
        };
        if required.is_empty() {
            return none.to_owned();
        }
        let literal = |text: String| format!("'{}'", text.replace('\'', "''"));
        let each = |open: &str, close: &str, otherwise: &str| -> Vec<String> {
            required
                .iter()
                .map(|field| {
                    let name = literal(format!("{open}{field}{close}"));
                    format!("CASE WHEN {} THEN {name}{otherwise} END", Self::absent(prefix, field))
                })
                .collect()
        };
        let some = match self.dialect {
            Dialect::Postgres => format!("array_remove(ARRAY[{}], NULL)", each("", "", "").join(", ")),
            Dialect::Sqlite => {
                format!("'[' || ltrim({}, ',') || ']'", each(",\"", "\"", " ELSE ''").join(" || "))
            }
        };
        format!("CASE WHEN {prefix}deleted_at IS NULL THEN {some} ELSE {none} END")
    }

    fn state(&self, prefix: &str, required: &[String]) -> String {
        let absent: Vec<String> = required.iter().map(|field| Self::absent(prefix, field)).collect();
        let mut cases = String::new();
        for state in AccountState::PRECEDENCE {
            let condition = match state {
                AccountState::Deleted => format!("{prefix}deleted_at IS NOT NULL"),
                AccountState::Suspended => format!("{prefix}suspended_by_source"),
                AccountState::Provisional => format!("{prefix}provisional"),
                AccountState::Incomplete if absent.is_empty() => continue,
                AccountState::Incomplete => absent.join(" OR "),
                AccountState::Active => {
                    cases.push_str(&format!(" ELSE '{}'", state.name()));
                    continue;
                }
            };
            cases.push_str(&format!(" WHEN {condition} THEN '{}'", state.name()));
        }
        format!("CASE{cases} END")
    }

    /// The last id of the next `$2` rows after id `$1`; null where there are none.
    pub fn slice_end(&self) -> String {
        format!(
            "SELECT CAST(id AS text) FROM (SELECT id FROM {} WHERE {} ORDER BY id LIMIT $2) AS s
             ORDER BY id DESC LIMIT 1",
            self.table,
            self.dialect.id_after("id", "$1")
        )
    }

    /// Corrects the state of the rows after `$1` and up to `$2` where the required fields have changed.
    pub fn correct_state(&self, required: &[String]) -> String {
        let (state, missing) = (self.state("", required), self.missing("", required));
        format!(
            "UPDATE {} SET account_state = {state}, missing = {missing}
             WHERE {} AND id <= {} AND NOT (account_state = {state} AND missing = {missing})",
            self.table,
            self.dialect.id_after("id", "$1"),
            self.dialect.id_value("$2")
        )
    }
}
