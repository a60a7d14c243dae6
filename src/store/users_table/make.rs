//! The table that headcount makes, and the ids of rows that it makes.

use super::{IdOrigin, UsersTable, literal};
use crate::core::columns::{Column, ColumnType};
use crate::store::engine::dialect::{Dialect, quoted};

impl UsersTable {
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
                ColumnType::Bool => format!("{} {truth} NOT NULL DEFAULT {no}", column.name()),
                ColumnType::Timestamp => format!("{} {time}", column.name()),
                ColumnType::Text | ColumnType::Integer => format!("{} text", column.name()),
            });
        }
        columns.push(format!("updated_at {time} NOT NULL DEFAULT {now}"));
        columns.push(format!("deleted_at {time}"));
        columns.push(format!("suspended_by_source {truth} NOT NULL DEFAULT {no}"));
        columns.push(format!("provisional {truth} NOT NULL DEFAULT {no}"));
        columns.push(format!("state_since {time} NOT NULL DEFAULT {now}"));
        columns.extend(self.later_columns().map(|(_, definition)| definition));
        let columns = columns.join(",\n    ");
        // Room for the next version of a row beside the one before: its index is left alone then.
        let room = if self.dialect == Dialect::Postgres { " WITH (fillfactor = 90)" } else { "" };
        format!("CREATE TABLE {} (\n    {columns}\n){room}", self.table)
    }

    /// Columns that older versions of this table lack: name and definition.
    pub fn later_columns(&self) -> [(&'static str, String); 2] {
        let (truth, no) = match self.dialect {
            Dialect::Postgres => ("boolean", "false"),
            Dialect::Sqlite => ("boolean", "0"),
        };
        [
            ("suspended_by_app", format!("suspended_by_app {truth} NOT NULL DEFAULT {no}")),
            ("kept", "kept text NOT NULL DEFAULT ''".to_owned()),
        ]
    }

    /// Adds one of [`Self::later_columns`].
    pub fn add_column(&self, definition: &str) -> String {
        format!("ALTER TABLE {} ADD COLUMN {definition}", self.table)
    }

    /// A row where there is a table of that name.
    pub fn exists(&self) -> String {
        match self.dialect {
            Dialect::Postgres => format!(
                "SELECT CAST(c.relkind AS text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = {} AND c.relname = {}",
                literal(&self.schema),
                literal(&self.name)
            ),
            Dialect::Sqlite => format!("SELECT type FROM sqlite_master WHERE name = {}", literal(&self.name)),
        }
    }

    /// The names of the table's columns.
    pub fn column_names(&self) -> String {
        match self.dialect {
            Dialect::Postgres => format!(
                "SELECT CAST(column_name AS text) FROM information_schema.columns
                 WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position",
                literal(&self.schema),
                literal(&self.name)
            ),
            Dialect::Sqlite => {
                format!("SELECT name FROM pragma_table_info({}) ORDER BY cid", literal(&self.name))
            }
        }
    }

    /// So many new ids (`$1`); `None` where they are ours to make. A dry run takes none from a sequence.
    pub fn fresh_ids(&self, dry: bool) -> Option<String> {
        let numbers = match self.dialect {
            Dialect::Postgres => "generate_series(1, $1) AS g(n)",
            Dialect::Sqlite => {
                "(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < $1) SELECT n FROM g) AS g"
            }
        };
        match &self.id.origin {
            IdOrigin::Ours => None,
            IdOrigin::Sequence(_) if dry => Some(format!("SELECT CAST(-g.n AS text) AS id FROM {numbers}")),
            IdOrigin::Sequence(next) | IdOrigin::Default(next) => {
                Some(format!("SELECT CAST(({next}) AS text) AS id FROM {numbers}"))
            }
            IdOrigin::Rowid { autoincrement } => Some(self.rowids(*autoincrement)),
        }
    }

    /// The numbers that SQLite itself would give, but for those of users that the application has removed.
    fn rowids(&self, autoincrement: bool) -> String {
        let (id, table) = (quoted(&self.id.name), &self.table);
        let given = match autoincrement {
            true => {
                format!("coalesce((SELECT seq FROM sqlite_sequence WHERE name = {}), 0)", literal(&self.name))
            }
            false => "0".to_owned(),
        };
        format!(
            "WITH RECURSIVE g(n) AS (
                 SELECT max(coalesce((SELECT max({id}) FROM {table}), 0), {given}) + 1
                 UNION ALL SELECT n + 1 FROM g)
             SELECT CAST(n AS text) AS id FROM g
             WHERE NOT EXISTS (SELECT 1 FROM headcount_identities i WHERE i.user_id = CAST(n AS text)) LIMIT $1"
        )
    }
}
