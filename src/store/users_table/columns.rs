//! The columns of the table that headcount makes, each told once: what it is, and which schema version brought it.
//!
//! A new table gets all of them ([`UsersTable::create`]), an older one those that it lacks. Both come from this list, in the
//! order of versions, so that nothing tells an old table from a new one.

use super::UsersTable;
use crate::core::columns::{Column, ColumnType};
use crate::store::engine::dialect::Dialect;

/// The schema version of the first release: every table that headcount has made has these columns.
pub(in crate::store) const FIRST_VERSION: i64 = 1;

/// A column of the table that headcount makes.
pub(in crate::store) struct MadeColumn {
    pub name: &'static str,
    /// As it stands in `CREATE TABLE` and in `ADD COLUMN`.
    pub definition: String,
    /// The schema version that brought it. Its migration adds the column to `headcount.accounts`.
    pub since: i64,
}

#[derive(Clone, Copy)]
enum Made {
    Id,
    State,
    /// Names of fields, none at first.
    Names,
    Text,
    /// A list in a text, empty at first.
    List,
    /// False at first.
    Truth,
    Time,
    /// The time of the insert.
    TimeOfInsert,
}

/// Before the provider's columns: name, type, version.
const HEAD: [(&str, Made, i64); 3] =
    [("id", Made::Id, 1), ("account_state", Made::State, 1), ("missing", Made::Names, 1)];

/// Behind them.
const FACTS: [(&str, Made, i64); 7] = [
    ("updated_at", Made::TimeOfInsert, 1),
    ("deleted_at", Made::Time, 1),
    ("suspended_by_source", Made::Truth, 1),
    ("provisional", Made::Truth, 1),
    ("state_since", Made::TimeOfInsert, 1),
    ("suspended_by_app", Made::Truth, 4),
    ("kept", Made::List, 4),
];

/// The schema version that brought a provider's column: a new column has to say it here.
const fn since(column: Column) -> i64 {
    match column {
        Column::Email
        | Column::EmailVerified
        | Column::Phone
        | Column::Username
        | Column::FirstName
        | Column::LastName
        | Column::DisplayName
        | Column::AvatarUrl
        | Column::CreatedAt => FIRST_VERSION,
        // A path is a column of the application's own table, which headcount does not make.
        Column::Path(_) => FIRST_VERSION,
    }
}

/// The latest version that brought a column; `schema/migrations.rs` has one at least as high.
pub(in crate::store) const fn latest_version() -> i64 {
    let mut latest = FIRST_VERSION;
    let mut n = 0;
    while n < Column::COUNT {
        if since(Column::ALL[n]) > latest {
            latest = since(Column::ALL[n]);
        }
        n += 1;
    }
    let mut n = 0;
    while n < FACTS.len() {
        if FACTS[n].2 > latest {
            latest = FACTS[n].2;
        }
        n += 1;
    }
    latest
}

impl UsersTable {
    /// All columns, those of an earlier version first.
    pub(in crate::store) fn made_columns(&self) -> Vec<MadeColumn> {
        let provided = Column::ALL.map(|column| {
            let made = match column.column_type() {
                ColumnType::Bool => Made::Truth,
                ColumnType::Timestamp => Made::Time,
                ColumnType::Text | ColumnType::Integer => Made::Text,
            };
            (column.name(), made, since(column))
        });
        let mut columns: Vec<MadeColumn> = HEAD
            .into_iter()
            .chain(provided)
            .chain(FACTS)
            .map(|(name, made, since)| MadeColumn {
                name,
                definition: format!("{name} {}", self.made_as(made)),
                since,
            })
            .collect();
        columns.sort_by_key(|column| column.since);
        columns
    }

    fn made_as(&self, made: Made) -> &'static str {
        match (self.dialect, made) {
            (Dialect::Postgres, Made::Id) => "uuid PRIMARY KEY",
            (Dialect::Sqlite, Made::Id) => "text NOT NULL PRIMARY KEY",
            (_, Made::State) => "text NOT NULL DEFAULT 'incomplete'",
            (Dialect::Postgres, Made::Names) => "text[] NOT NULL DEFAULT '{}'",
            (Dialect::Sqlite, Made::Names) => "text NOT NULL DEFAULT '[]'",
            (_, Made::Text) => "text",
            (_, Made::List) => "text NOT NULL DEFAULT ''",
            (Dialect::Postgres, Made::Truth) => "boolean NOT NULL DEFAULT false",
            (Dialect::Sqlite, Made::Truth) => "boolean NOT NULL DEFAULT 0",
            (Dialect::Postgres, Made::Time) => "timestamptz",
            (Dialect::Sqlite, Made::Time) => "text",
            (Dialect::Postgres, Made::TimeOfInsert) => "timestamptz NOT NULL DEFAULT clock_timestamp()",
            (Dialect::Sqlite, Made::TimeOfInsert) => {
                "text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))"
            }
        }
    }
}
