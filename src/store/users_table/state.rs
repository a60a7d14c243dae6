//! `account_state` and `missing`: true whoever wrote the row, because the database computes them.
//!
//! Where headcount made the table they are columns of it, and a trigger fills them. An adopted table's are columns of
//! `accounts`: headcount's own writes compute them in the statement, and a trigger sees to what the application writes.

use super::{Place, UsersTable, dollar_quoted, literal};
use crate::core::words::AccountState;
use crate::store::engine::dialect::{Dialect, quoted};

/// The state trigger's name on PostgreSQL. Triggers fire in the order of their names: ours sees what the
/// application's have made of the row.
pub(super) const TRIGGER: &str = "zz_headcount_state";
/// The trigger that repeats the state in columns of the application's, on PostgreSQL. It comes after the application's
/// own, whose names it follows.
pub(super) const MIRROR_TRIGGER: &str = "zz_headcount_mirror";
pub(super) const SQLITE_TRIGGERS: [&str; 2] = ["headcount_state_insert", "headcount_state_update"];

/// How an expression reaches the columns of a user.
pub(super) struct View<'a> {
    pub users: RowOf<'a>,
    /// The expression for a column of `accounts`.
    pub accounts: &'a dyn Fn(&str) -> String,
}

/// How an expression reaches a row of `users`.
#[derive(Clone, Copy)]
pub(super) enum RowOf<'a> {
    /// Before a column's name.
    Columns(&'a str),
    /// A variable of PostgreSQL's that holds the row as JSON: a column that is there no more is null, and no error.
    Json(&'a str),
}

impl RowOf<'_> {
    pub fn column(self, name: &str) -> String {
        match self {
            RowOf::Columns(prefix) => format!("{prefix}{}", quoted(name)),
            RowOf::Json(variable) => format!("({variable} ->> {})", literal(name)),
        }
    }
}

pub(super) const STORED: View<'static> =
    View { users: RowOf::Columns("u."), accounts: &|name| format!("headcount.accounts.{}", quoted(name)) };

impl UsersTable {
    /// The definitions that the database has of the state trigger, to be compared with [`Self::state_source`].
    pub fn installed_state(&self) -> String {
        match self.dialect {
            Dialect::Postgres => format!(
                "SELECT CAST(p.prosrc AS text) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                 JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = {} AND c.relname = {} AND t.tgname IN ('{TRIGGER}', '{MIRROR_TRIGGER}')
                   AND t.tgenabled <> 'D' ORDER BY t.tgname DESC",
                literal(&self.schema),
                literal(&self.name)
            ),
            Dialect::Sqlite => format!(
                "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name IN ('{}', '{}') ORDER BY name",
                SQLITE_TRIGGERS[0], SQLITE_TRIGGERS[1]
            ),
        }
    }

    /// A row where something may change what is written on its way into the table. Columns of the types that headcount
    /// writes hold what they are given, so that takes a trigger or a rule besides ours, on a partition perhaps, or a default.
    pub fn may_alter(&self) -> String {
        if self.fields.iter().any(|placed| placed.default.is_some()) {
            return "SELECT 'yes'".to_owned();
        }
        match self.dialect {
            Dialect::Postgres => format!(
                "SELECT 'yes' WHERE EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = {} AND c.relname = {} AND (c.relkind = 'p'
                             OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
                                        AND t.tgname NOT IN ('{TRIGGER}', '{MIRROR_TRIGGER}'))
                             OR EXISTS (SELECT 1 FROM pg_rewrite r WHERE r.ev_class = c.oid)))",
                literal(&self.schema),
                literal(&self.name)
            ),
            Dialect::Sqlite => {
                let [first, second] = SQLITE_TRIGGERS;
                format!(
                    "SELECT 'yes' FROM sqlite_master m WHERE m.type = 'trigger' AND m.tbl_name = {}
                       AND m.name NOT IN ('{first}', '{second}') LIMIT 1",
                    literal(&self.name)
                )
            }
        }
    }

    /// What [`Self::installed_state`] answers where the trigger is the right one.
    pub fn state_source(&self, required: &[String]) -> Vec<String> {
        match (self.dialect, self.is_adopted) {
            (_, true) if self.watched(required).is_empty() => Vec::new(),
            (Dialect::Postgres, true) => {
                [self.postgres_watch(required)].into_iter().chain(self.postgres_mirror(required)).collect()
            }
            (Dialect::Sqlite, true) => vec![self.sqlite_watch(required)],
            (Dialect::Postgres, false) => vec![self.postgres_body(required)],
            (Dialect::Sqlite, false) => self.sqlite_triggers(required).to_vec(),
        }
    }

    /// The script that puts the right trigger in place of any other.
    pub fn install_state(&self, required: &[String]) -> String {
        let table = &self.table;
        let source = self.state_source(required);
        let Some(first) = source.first() else { return self.remove_state() };
        match self.dialect {
            Dialect::Postgres if self.is_adopted => self.install_watch(&source),
            Dialect::Postgres => format!(
                "CREATE OR REPLACE FUNCTION headcount.users_state() RETURNS trigger LANGUAGE plpgsql \
                 AS {};\n\
                 REVOKE ALL ON FUNCTION headcount.users_state() FROM PUBLIC;\n\
                 DROP TRIGGER IF EXISTS {TRIGGER} ON {table};\n\
                 CREATE TRIGGER {TRIGGER} BEFORE INSERT OR UPDATE ON {table}\n    \
                 FOR EACH ROW EXECUTE FUNCTION headcount.users_state()",
                dollar_quoted(first)
            ),
            Dialect::Sqlite => format!("{};\n{}", self.remove_state(), source.join(";\n")),
        }
    }

    /// The script that leaves the table without the trigger.
    pub fn remove_state(&self) -> String {
        match self.dialect {
            Dialect::Postgres => format!(
                "DROP TRIGGER IF EXISTS {TRIGGER} ON {0};\nDROP TRIGGER IF EXISTS {MIRROR_TRIGGER} ON {0}",
                self.table
            ),
            Dialect::Sqlite => {
                let [first, second] = SQLITE_TRIGGERS;
                format!("DROP TRIGGER IF EXISTS {first};\nDROP TRIGGER IF EXISTS {second}")
            }
        }
    }

    // ---- the table that headcount made ----

    /// Literal column names: cheaper than looking the row up as JSON, and checked by the database.
    fn postgres_body(&self, required: &[String]) -> String {
        format!(
            "\nBEGIN\n    NEW.missing := {};\n    NEW.account_state := {};\n    \
             IF TG_OP = 'INSERT' OR NEW.account_state IS DISTINCT FROM OLD.account_state THEN\n        \
                 NEW.state_since := clock_timestamp();\n    END IF;\n    \
             IF TG_OP = 'UPDATE' AND NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN\n        \
                 NEW.updated_at := clock_timestamp();\n    END IF;\n    RETURN NEW;\nEND\n",
            self.missing(&one_table("NEW."), required),
            self.state(&one_table("NEW."), required)
        )
    }

    /// No JSON and no functions of ours: these run in the application's own, older SQLite. A row that is right
    /// already, as ours mostly are, is not written again.
    fn sqlite_triggers(&self, required: &[String]) -> [String; 2] {
        let new = one_table("NEW.");
        let (table, missing, state) = (&self.table, self.missing(&new, required), self.state(&new, required));
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

    // ---- an adopted table ----

    /// Writes `accounts` for the rows of the only parameter (as [`UsersTable::insert`] takes them), whose rows in
    /// `users` are written; `None` where nothing lies in `accounts`.
    pub fn write_accounts(&self, required: &[String]) -> Option<String> {
        if !self.is_adopted {
            return None;
        }
        let values: Vec<String> = self.values().collect();
        let own = || self.fields.iter().zip(&values).filter(|(placed, _)| placed.place == Place::Accounts);
        let said = |name: &str| {
            let value = own().find(|(placed, _)| placed.name == name).map(|(_, value)| value.clone());
            value.unwrap_or_else(|| "NULL".to_owned())
        };
        let view = View { users: RowOf::Columns("u."), accounts: &said };
        let names: Vec<String> = own().map(|(placed, _)| placed.name.clone()).collect();
        let cells: Vec<String> = own().map(|(_, value)| value.clone()).collect();
        let replaced: Vec<String> = names.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let clock = self.dialect.clock();
        Some(self.dialect.own(&format!(
            "INSERT INTO headcount.accounts ({}, user_id, account_state, missing, state_since, updated_at)
             SELECT {}, v.c1, {}, {}, {clock}, {clock} FROM {} JOIN {} u ON {} = {} WHERE true
             ON CONFLICT (user_id) DO UPDATE SET {}, account_state = excluded.account_state,
                 missing = excluded.missing, updated_at = excluded.updated_at,
                 state_since = CASE WHEN headcount.accounts.account_state = excluded.account_state
                                    THEN headcount.accounts.state_since ELSE excluded.state_since END",
            names.join(", "),
            cells.join(", "),
            self.state(&view, required),
            self.missing(&view, required),
            self.rows(),
            self.table,
            self.id_sql("u."),
            self.id_value("v.c1"),
            replaced.join(", ")
        )))
    }

    // ---- the rule itself ----

    /// The column of `users` that a required field is; `None` where it lies in `accounts`.
    ///
    /// A name that is ours and mapped is theirs; one that their table has is theirs as well.
    pub(super) fn required_in_users<'a>(&'a self, field: &'a str) -> Option<&'a str> {
        match self.placed(field) {
            Some(placed) if placed.place == Place::Users => Some(&placed.name),
            _ if !self.is_adopted || self.their_columns.contains(field) => Some(field),
            _ => None,
        }
    }

    /// Every name that may be required.
    pub fn requirable(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.layout.columns().map(|column| self.layout.name(column).to_owned()).collect();
        names.extend(self.their_columns.iter().cloned());
        names
    }

    fn absent(&self, view: &View<'_>, field: &str) -> String {
        let column = match self.required_in_users(field) {
            Some(name) => view.users.column(name),
            None => (view.accounts)(field),
        };
        format!("({column} IS NULL OR CAST({column} AS text) = '')")
    }

    fn fact(&self, view: &View<'_>, name: &str) -> String {
        match self.placed(name) {
            Some(placed) if placed.place == Place::Users => view.users.column(&placed.name),
            _ => (view.accounts)(name),
        }
    }

    /// The list of required fields that are absent; empty for a deleted account, which nobody will complete.
    pub(super) fn missing(&self, view: &View<'_>, required: &[String]) -> String {
        let none = match self.dialect {
            Dialect::Postgres => "CAST('{}' AS text[])",
            Dialect::Sqlite => "'[]'",
        };
        if required.is_empty() {
            return none.to_owned();
        }
        let each = |open: &str, close: &str, otherwise: &str| -> Vec<String> {
            required
                .iter()
                .map(|field| {
                    let name = literal(&format!("{open}{field}{close}"));
                    format!("CASE WHEN {} THEN {name}{otherwise} END", self.absent(view, field))
                })
                .collect()
        };
        let some = match self.dialect {
            Dialect::Postgres => format!("array_remove(ARRAY[{}], NULL)", each("", "", "").join(", ")),
            Dialect::Sqlite => {
                format!("'[' || ltrim({}, ',') || ']'", each(",\"", "\"", " ELSE ''").join(" || "))
            }
        };
        format!("CASE WHEN {} IS NULL THEN {some} ELSE {none} END", self.fact(view, "deleted_at"))
    }

    pub(super) fn state(&self, view: &View<'_>, required: &[String]) -> String {
        let absent: Vec<String> = required.iter().map(|field| self.absent(view, field)).collect();
        let mut cases = String::new();
        for &state in AccountState::ALL {
            let condition = match state {
                AccountState::Deleted => format!("{} IS NOT NULL", self.fact(view, "deleted_at")),
                AccountState::Suspended => format!(
                    "{} OR {}",
                    self.fact(view, "suspended_by_source"),
                    self.fact(view, "suspended_by_app")
                ),
                AccountState::Provisional => self.fact(view, "provisional"),
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
        let (id, after, table) = match self.is_adopted {
            true => ("user_id".to_owned(), "user_id > $1".to_owned(), "headcount.accounts"),
            false => (self.id_sql(""), self.id_after("", "$1"), &*self.table),
        };
        self.dialect.own(&format!(
            "SELECT CAST({id} AS text) FROM (SELECT {id} FROM {table} WHERE {after} ORDER BY {id} LIMIT $2) AS s
             ORDER BY {id} DESC LIMIT 1"
        ))
    }

    /// Corrects the state of the rows after `$1` and up to `$2` where the required fields have changed.
    pub fn correct_state(&self, required: &[String]) -> String {
        if self.is_adopted {
            let (state, missing) = (self.state(&STORED, required), self.missing(&STORED, required));
            return self.dialect.own(&format!(
                "UPDATE headcount.accounts SET account_state = {state}, missing = {missing}
                 FROM {} u WHERE {} = {} AND user_id > $1 AND user_id <= $2
                   AND NOT (account_state = {state} AND missing = {missing})",
                self.table,
                self.id_sql("u."),
                self.id_value("headcount.accounts.user_id")
            ));
        }
        let view = one_table("");
        let (state, missing) = (self.state(&view, required), self.missing(&view, required));
        format!(
            "UPDATE {} SET account_state = {state}, missing = {missing}
             WHERE {} AND {} <= {} AND NOT (account_state = {state} AND missing = {missing})",
            self.table,
            self.id_after("", "$1"),
            self.id_sql(""),
            self.id_value("$2")
        )
    }
}

/// Everything lies in `users`.
fn one_table(users: &str) -> View<'_> {
    View { users: RowOf::Columns(users), accounts: &|_| "NULL".to_owned() }
}
