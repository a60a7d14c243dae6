//! The table that headcount makes, and the ids of rows that it makes.

use super::{IdOrigin, UsersTable, literal};
use crate::store::engine::dialect::{Dialect, quoted};

/// Room for the next version of a row beside the one before: its index is left alone then.
const ROOM: &str = "fillfactor = 90";

impl UsersTable {
    /// The default layout. Nothing but the key is unique: what must be is the application's to say.
    pub fn create(&self) -> String {
        let columns: Vec<String> = self.made_columns().into_iter().map(|column| column.definition).collect();
        let columns = columns.join(",\n    ");
        let room = match self.dialect {
            Dialect::Postgres => format!(" WITH ({ROOM})"),
            Dialect::Sqlite => String::new(),
        };
        format!("CREATE TABLE {} (\n    {columns}\n){room}", self.table)
    }

    /// A row where the table was made before [`ROOM`] and nobody has set another; `None` where there is no such setting.
    pub fn lacks_room(&self) -> Option<String> {
        (self.dialect == Dialect::Postgres).then(|| {
            format!(
                "SELECT 'yes' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = {} AND c.relname = {}
                   AND coalesce(array_to_string(c.reloptions, ','), '') NOT LIKE '%fillfactor%'",
                literal(&self.schema),
                literal(&self.name)
            )
        })
    }

    /// Of pages that are written from now on.
    pub fn make_room(&self) -> String {
        format!("ALTER TABLE {} SET ({ROOM})", self.table)
    }

    /// Adds one of [`Self::made_columns`] to a table that was made before it.
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

    /// Whether the database gives ids, and gives none twice: one that is not used is lost.
    pub fn gives_ids(&self) -> bool {
        matches!(self.id.origin, IdOrigin::Sequence(_) | IdOrigin::Default(_))
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
