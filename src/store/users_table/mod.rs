//! `users`, the one table that is shared with the application: every statement on it is made here.
//!
//! Composed once, from the table's name and the required fields, so that another table under its own names needs no
//! second path.

mod state;

use super::compare::provider_columns;
use super::dialect::Dialect;
use crate::core::columns::{Column, ColumnType};

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

    // ---- what a resync compares ----

    /// provider id, creation time, state, version, profile, and the row as `compare::expected_row` has it: accounts of
    /// source `$1` created from `$3` on (up to `$4`, where `bounded`), at most `$2`; with `sliced`, those after the
    /// creation time and the id in the last two parameters.
    pub fn known_between(&self, bounded: bool, sliced: bool) -> String {
        let value = |n: usize| self.dialect.timestamp_value(&format!("${n}"));
        let mut range = format!("i.provider_created_at >= {}", value(3));
        if bounded {
            range.push_str(&format!(" AND i.provider_created_at <= {}", value(4)));
        }
        if sliced {
            let n = if bounded { 5 } else { 4 };
            range.push_str(&format!(
                " AND (i.provider_created_at, i.provider_id) > ({}, ${})",
                value(n),
                n + 1
            ));
        }
        self.dialect.own(&format!(
            "{} WHERE i.source = $1 AND {range} ORDER BY i.provider_created_at, i.provider_id LIMIT $2",
            self.known("headcount.identities i")
        ))
    }

    /// As [`Self::known_between`], for the sources and ids in the rows of the only parameter.
    ///
    /// The source comes with each row: as a constant it would have SQLite go through all of its accounts.
    pub fn known_of(&self) -> String {
        let from = format!(
            "{} JOIN headcount.identities i ON i.source = v.c1 AND i.provider_id = v.c2",
            self.dialect.rows(1, 2)
        );
        self.dialect.own(&self.known(&from))
    }

    fn known(&self, from: &str) -> String {
        let columns = provider_columns().map(|column| (column.name(), column.column_type())).chain(FACTS);
        let cells: Vec<String> = columns
            .map(|(name, column_type)| self.dialect.cell_text(&format!("u.{name}"), column_type))
            .collect();
        format!(
            "SELECT i.provider_id, {}, i.state, CAST(i.version AS text), i.profile,
                    CASE WHEN u.id IS NOT NULL THEN {} END
             FROM {from} LEFT JOIN {} u ON u.id = {}",
            self.dialect.timestamp_text("i.provider_created_at"),
            self.dialect.packed(&cells),
            self.table,
            self.dialect.id_value("i.user_id")
        )
    }

    // ---- what people and programs read ----

    /// id, state, missing (JSON), each [`Column`], `updated_at`, `deleted_at` of the users after id `$1`, at most
    /// `$2`, with state `$3` ('' for any) and an identity at source `$4` ('' for any).
    pub fn list(&self) -> String {
        self.dialect.own(&format!(
            "{} WHERE {} AND ($3 = '' OR u.account_state = $3)
               AND ($4 = '' OR EXISTS (SELECT 1 FROM headcount.identities i
                                       WHERE i.user_id = CAST(u.id AS text) AND i.source = $4))
             ORDER BY u.id LIMIT $2",
            self.select(),
            self.dialect.id_after("u.id", "$1")
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
