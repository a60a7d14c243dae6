//! `users`, the one table that is shared with the application: every statement on it is made here.
//!
//! Composed once, from the table's name and the required fields, so that another table under its own names needs no
//! second path.

use super::dialect::{Dialect, quoted};
use crate::core::account::AccountState;
use crate::core::columns::{Column, ColumnType};

/// The state trigger's name on PostgreSQL. Triggers fire in the order of their names: ours sees what the
/// application's have made of the row.
const TRIGGER: &str = "zz_headcount_state";
const SQLITE_TRIGGERS: [&str; 2] = ["headcount_state_insert", "headcount_state_update"];

/// A column of headcount's own that is no [`Column`]: name, type, and whether it is a fact that deliveries write.
const FACTS: [(&str, ColumnType); 3] = [
    ("deleted_at", ColumnType::Timestamp),
    ("suspended_by_source", ColumnType::Bool),
    ("provisional", ColumnType::Bool),
];

#[derive(Clone, Debug)]
pub struct UsersTable {
    dialect: Dialect,
    /// Quoted, with its schema.
    table: String,
}

impl UsersTable {
    pub fn new(dialect: Dialect) -> Self {
        let table = match dialect {
            Dialect::Postgres => "\"public\".\"users\"".to_owned(),
            Dialect::Sqlite => "\"users\"".to_owned(),
        };
        Self { dialect, table }
    }

    /// The default layout. Nothing but the key is unique: what must be is the application's to say.
    pub fn create(&self) -> String {
        let (id, time, truth, no, none, now) = match self.dialect {
            Dialect::Postgres => (
                "uuid",
                "timestamptz",
                "boolean",
                "false",
                "text[] NOT NULL DEFAULT '{}'",
                "clock_timestamp()",
            ),
            Dialect::Sqlite => (
                "text NOT NULL",
                "text",
                "boolean",
                "0",
                "text NOT NULL DEFAULT '[]'",
                "(strftime('%Y-%m-%dT%H:%M:%fZ','now'))",
            ),
        };
        let mut columns = vec![
            format!("id {id} PRIMARY KEY"),
            "account_state text NOT NULL DEFAULT 'incomplete'".to_owned(),
            format!("missing {none}"),
        ];
        for column in Column::ALL {
            columns.push(match column.column_type() {
                ColumnType::Text => format!("{} text", column.name()),
                ColumnType::Bool => format!("{} {truth} NOT NULL DEFAULT {no}", column.name()),
                ColumnType::Timestamp => format!("{} {time}", column.name()),
            });
        }
        columns.push(format!("updated_at {time} NOT NULL DEFAULT {now}"));
        columns.push(format!("deleted_at {time}"));
        columns.push(format!("suspended_by_source {truth} NOT NULL DEFAULT {no}"));
        columns.push(format!("provisional {truth} NOT NULL DEFAULT {no}"));
        columns.push(format!("state_since {time} NOT NULL DEFAULT {now}"));
        format!("CREATE TABLE {} (\n    {}\n)", self.table, columns.join(",\n    "))
    }

    /// A row with text columns: whether the table exists, as a table.
    pub fn exists(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => {
                "SELECT CAST(c.relkind AS text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'public' AND c.relname = 'users'"
            }
            Dialect::Sqlite => "SELECT type FROM sqlite_master WHERE name = 'users'",
        }
    }

    /// The names of the table's columns.
    pub fn column_names(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => {
                "SELECT CAST(column_name AS text) FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name = 'users' ORDER BY ordinal_position"
            }
            Dialect::Sqlite => "SELECT name FROM pragma_table_info('users') ORDER BY cid",
        }
    }

    // ---- the state: true whoever wrote the row ----

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
             IF TG_OP = 'UPDATE' AND NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at AND NEW IS DISTINCT FROM OLD THEN\n        \
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
        let id = self.dialect.id_value("$1");
        format!(
            "SELECT CAST(id AS text) FROM (SELECT id FROM {} WHERE $1 = '' OR id > {} ORDER BY id LIMIT $2) AS s
             ORDER BY id DESC LIMIT 1",
            self.table,
            match self.dialect {
                Dialect::Postgres => "CAST(NULLIF($1, '') AS uuid)".to_owned(),
                Dialect::Sqlite => id,
            }
        )
    }

    /// Corrects the state of the rows after `$1` and up to `$2` where the required fields have changed.
    pub fn correct_state(&self, required: &[String]) -> String {
        let (state, missing) = (self.state("", required), self.missing("", required));
        let after = match self.dialect {
            Dialect::Postgres => "CAST(NULLIF($1, '') AS uuid)",
            Dialect::Sqlite => "$1",
        };
        format!(
            "UPDATE {} SET account_state = {state}, missing = {missing}
             WHERE ($1 = '' OR id > {after}) AND id <= {}
               AND NOT (account_state = {state} AND missing = {missing})",
            self.table,
            self.dialect.id_value("$2")
        )
    }

    // ---- what the reconciliation reads and writes ----

    /// Locks and reads the users whose ids are the rows of the only parameter: id, then each [`Column`], then
    /// `deleted_at`, `suspended_by_source`, `provisional`.
    pub fn lock(&self) -> String {
        let columns: Vec<String> = self
            .written()
            .map(|(name, column_type)| self.dialect.cell_text(&format!("u.{name}"), column_type))
            .collect();
        format!(
            "SELECT CAST(u.id AS text), {} FROM {} u JOIN {} ON u.id = {} ORDER BY u.id {}",
            columns.join(", "),
            self.table,
            self.dialect.rows(1, 1),
            self.dialect.id_value("v.c1"),
            self.dialect.lock_rows_of("u")
        )
    }

    /// Which of the ids in the only parameter have a row at all.
    pub fn existing(&self) -> String {
        format!(
            "SELECT CAST(u.id AS text) FROM {} u JOIN {} ON u.id = {}",
            self.table,
            self.dialect.rows(1, 1),
            self.dialect.id_value("v.c1")
        )
    }

    /// Inserts the rows of the only parameter: columns as in [`Self::lock`].
    pub fn insert(&self) -> String {
        let names: Vec<&str> = self.written().map(|(name, _)| name).collect();
        format!(
            "INSERT INTO {} (id, {}, updated_at) SELECT {}, {}, {} FROM {} WHERE true",
            self.table,
            names.join(", "),
            self.dialect.id_value("v.c1"),
            self.values().join(", "),
            self.dialect.clock(),
            self.rows()
        )
    }

    /// Writes the rows of the only parameter: columns as in [`Self::lock`].
    pub fn update(&self) -> String {
        let assignments: Vec<String> =
            self.written().zip(self.values()).map(|((name, _), value)| format!("{name} = {value}")).collect();
        format!(
            "UPDATE {0} SET {1}, updated_at = {2} FROM {3} WHERE {0}.id = {4}",
            self.table,
            assignments.join(", "),
            self.dialect.clock(),
            self.rows(),
            self.dialect.id_value("v.c1")
        )
    }

    fn written(&self) -> impl Iterator<Item = (&'static str, ColumnType)> {
        Column::ALL.into_iter().map(|column| (column.name(), column.column_type())).chain(FACTS)
    }

    fn values(&self) -> Vec<String> {
        self.written()
            .enumerate()
            .map(|(n, (_, column_type))| self.dialect.cell_value(&format!("v.c{}", n + 2), column_type))
            .collect()
    }

    fn rows(&self) -> String {
        self.dialect.rows(1, 1 + Column::COUNT + FACTS.len())
    }

    // ---- what people and programs read ----

    /// id, state, missing (JSON), each [`Column`], `updated_at`, `deleted_at` of the users after id `$1`, at most
    /// `$2`, with state `$3` ('' for any) and an identity at source `$4` ('' for any).
    pub fn list(&self) -> String {
        let after = match self.dialect {
            Dialect::Postgres => "CAST(NULLIF($1, '') AS uuid)",
            Dialect::Sqlite => "$1",
        };
        self.dialect.own(&format!(
            "{} WHERE ($1 = '' OR u.id > {after}) AND ($3 = '' OR u.account_state = $3)
               AND ($4 = '' OR EXISTS (SELECT 1 FROM headcount.identities i
                                       WHERE i.user_id = CAST(u.id AS text) AND i.source = $4))
             ORDER BY u.id LIMIT $2",
            self.select()
        ))
    }

    /// As [`Self::list`], for the ids in the rows of the only parameter.
    pub fn show(&self) -> String {
        format!(
            "{} JOIN {} ON u.id = {} ORDER BY u.id",
            self.select(),
            self.dialect.rows(1, 1),
            self.dialect.id_value("v.c1")
        )
    }

    /// The ids of users with text `$1` as e-mail, username or phone number, at most ten.
    pub fn find(&self) -> String {
        format!(
            "SELECT CAST(id AS text) FROM {} WHERE email = $1 OR username = $1 OR phone = $1 ORDER BY id LIMIT 10",
            self.table
        )
    }

    fn select(&self) -> String {
        let columns: Vec<String> = Column::ALL
            .into_iter()
            .map(|column| self.dialect.cell_text(&format!("u.{}", column.name()), column.column_type()))
            .collect();
        format!(
            "SELECT CAST(u.id AS text), u.account_state, {}, {}, {}, {} FROM {} u",
            self.dialect.list_text("u.missing"),
            columns.join(", "),
            self.dialect.timestamp_text("u.updated_at"),
            self.dialect.timestamp_text("u.deleted_at"),
            self.table
        )
    }

    /// How many users there are in each state.
    pub fn count_states(&self) -> String {
        format!("SELECT account_state, CAST(count(*) AS text) FROM {} GROUP BY account_state", self.table)
    }

    /// Of the incomplete: the missing field, how many miss it, and since when the longest waiting one does.
    pub fn count_missing(&self) -> String {
        let since = self.dialect.timestamp_text("min(u.state_since)");
        let each = match self.dialect {
            Dialect::Postgres => "CROSS JOIN LATERAL unnest(u.missing) AS m(field)",
            Dialect::Sqlite => "JOIN json_each(u.missing) AS m",
        };
        let field = match self.dialect {
            Dialect::Postgres => "m.field",
            Dialect::Sqlite => "m.value",
        };
        format!(
            "SELECT {field}, CAST(count(*) AS text), {since} FROM {} u {each}
             WHERE u.account_state = 'incomplete' GROUP BY {field} ORDER BY {field}",
            self.table
        )
    }
}
