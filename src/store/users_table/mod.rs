//! `users`, the one table that is shared with the application: every statement on it is made here.
//!
//! Each column lies in `users` or, on a table that was there before headcount and has no place for it, in
//! `headcount.accounts`. Composed once; the default layout is the one in which everything lies in `users`.

mod access;
mod catalog;
mod cell;
pub(in crate::store) mod columns;
mod compose;
mod config;
mod known;
mod link;
mod make;
mod mirror;
pub(in crate::store) mod offered;
pub(in crate::store) mod rights;
mod show;
mod state;
mod theirs;
mod types;
mod watch;
mod write;

pub use config::{AdoptedTable, UsersConfig};
pub use theirs::{TheirCell, TheirColumn};

use crate::core::columns::{Column, ColumnType, NOBODYS_ADDRESS};
use crate::core::known::Fact;
use crate::core::layout::Layout;
use crate::store::engine::dialect::{Dialect, literal, quoted};
use cell::CellType;
use std::collections::HashSet;
use std::sync::Arc;

/// What is written of a user, besides its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Column(Column),
    DeletedAt,
    SuspendedBySource,
    SuspendedByApp,
    Provisional,
    /// The names of [`User::kept`], each in quotes.
    Kept,
}

impl Field {
    fn fact(self) -> Option<Fact> {
        match self {
            Field::Column(_) => None,
            Field::DeletedAt => Some(Fact::DeletedAt),
            Field::SuspendedBySource => Some(Fact::SuspendedBySource),
            Field::SuspendedByApp => Some(Fact::SuspendedByApp),
            Field::Provisional => Some(Fact::Provisional),
            Field::Kept => Some(Fact::Kept),
        }
    }
}

/// The fields that are no [`Column`], in the order of rows.
const FACTS: [(Field, &str, ColumnType); 5] = [
    (Field::DeletedAt, Fact::DeletedAt.name(), ColumnType::Timestamp),
    (Field::SuspendedBySource, Fact::SuspendedBySource.name(), ColumnType::Bool),
    (Field::SuspendedByApp, Fact::SuspendedByApp.name(), ColumnType::Bool),
    (Field::Provisional, Fact::Provisional.name(), ColumnType::Bool),
    (Field::Kept, Fact::Kept.name(), ColumnType::Text),
];

/// Where a field lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Users,
    Accounts,
    Nowhere,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    field: Field,
    place: Place,
    /// Of the column there, bare.
    name: String,
    cell: CellType,
    /// The column takes no null.
    never_null: bool,
    /// What the database fills it with where it may not be null, as an expression of the column's type.
    default: Option<String>,
}

/// Before a user's id in a name or a number that is nobody's.
const NOBODYS_NAME: &str = "deleted-";

impl Placed {
    /// What a deletion leaves in a column that takes no null: it frees the value for somebody else, and reads as
    /// nothing (contract, rule 11).
    fn freed_text(&self, user_id: &str) -> Option<String> {
        let Field::Column(column) = self.field else { return None };
        match column {
            _ if !self.never_null || self.place != Place::Users => None,
            Column::Email => Some(format!("{user_id}{NOBODYS_ADDRESS}")),
            _ if column.freed() == Some(None) => Some(format!("{NOBODYS_NAME}{user_id}")),
            _ => None,
        }
    }

    /// The expression for the column as people see it: null for [`Self::freed_text`] of the user with this id.
    fn seen(&self, text: String, id: &str) -> String {
        match (self.freed_text(""), self.field) {
            (None, _) => text,
            (Some(_), Field::Column(Column::Email)) => format!("NULLIF({text}, {id} || '{NOBODYS_ADDRESS}')"),
            (Some(_), _) => format!("NULLIF({text}, '{NOBODYS_NAME}' || {id})"),
        }
    }

    /// A column that takes nulls.
    fn plain(field: Field, place: Place, name: String, cell: CellType) -> Self {
        Self { field, place, name, cell, never_null: false, default: None }
    }

    /// The column, where `users` is `u` and `accounts` is `a`.
    fn sql(&self) -> String {
        match self.place {
            Place::Users => format!("u.{}", quoted(&self.name)),
            Place::Accounts => format!("a.{}", quoted(&self.name)),
            Place::Nowhere => "NULL".to_owned(),
        }
    }
}

/// A column of the application's that repeats what is computed in `accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    ours: &'static str,
    theirs: String,
    cell: CellType,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct IdColumn {
    /// Bare.
    name: String,
    kind: IdKind,
    origin: IdOrigin,
    /// Its name as SQL has it, where ids come from one.
    sequence: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdKind {
    Uuid,
    Text,
    Integer,
}

/// Where new ids come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum IdOrigin {
    /// UUIDs of version 7.
    Ours,
    /// An expression that takes the next number of a sequence.
    Sequence(String),
    /// Any other default.
    Default(String),
    /// SQLite's `INTEGER PRIMARY KEY`.
    Rowid {
        /// Numbers are never given out twice.
        autoincrement: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersTable {
    dialect: Dialect,
    layout: Arc<Layout>,
    /// Both bare; no schema on SQLite.
    schema: String,
    name: String,
    /// Quoted, with its schema.
    table: String,
    id: IdColumn,
    /// Columns in the order of the layout, then [`FACTS`].
    fields: Vec<Placed>,
    /// It was there before headcount: what it has no column for lies in `accounts`.
    is_adopted: bool,
    mirrors: Vec<Mirror>,
    /// Theirs, where `updated_at` is mapped.
    updated_at: Option<(String, CellType)>,
    /// Names of all columns of an adopted table.
    their_columns: HashSet<String>,
    notes: Vec<String>,
}

/// Fields of a row, by their places in it.
pub(super) type FieldSet = u64;

impl UsersTable {
    /// The table that headcount makes.
    pub fn own(dialect: Dialect, config: &UsersConfig) -> Self {
        let mut layout =
            Layout::new(Vec::new(), |column| config.owner(column.name()).unwrap_or(column.default_owner()));
        layout.authority = config.authority.clone();
        let (schema, table) = match dialect {
            Dialect::Postgres => ("public", "\"public\".\"users\""),
            Dialect::Sqlite => ("", "\"users\""),
        };
        let columns = layout.columns().map(|column| {
            let (name, cell) = (column.name().to_owned(), column.column_type().into());
            Placed::plain(Field::Column(column), Place::Users, name, cell)
        });
        let facts = FACTS.map(|(field, name, column_type)| {
            Placed::plain(field, Place::Users, name.to_owned(), column_type.into())
        });
        Self {
            dialect,
            fields: columns.chain(facts).collect(),
            layout: Arc::new(layout),
            schema: schema.to_owned(),
            name: "users".to_owned(),
            table: table.to_owned(),
            id: IdColumn {
                name: "id".to_owned(),
                kind: IdKind::Uuid,
                origin: IdOrigin::Ours,
                sequence: None,
            },
            is_adopted: false,
            mirrors: Vec::new(),
            updated_at: None,
            their_columns: HashSet::new(),
            notes: Vec::new(),
        }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Whether it was there before headcount.
    pub fn is_adopted(&self) -> bool {
        self.is_adopted
    }

    /// As people write it.
    pub fn display(&self) -> String {
        match self.schema.as_str() {
            "" => self.name.clone(),
            schema => format!("{schema}.{}", self.name),
        }
    }

    /// What is no mistake of the table's, and worth knowing.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the same statements work on both: columns that are nobody's business here do not matter.
    fn works_as(&self, other: &Self) -> bool {
        let bare = |table: &Self| Self { their_columns: HashSet::new(), notes: Vec::new(), ..table.clone() };
        bare(self) == bare(other)
    }

    // ---- what the reconciliation reads and writes ----

    /// Locks and reads the users whose ids are the rows of the only parameter: id, then each field.
    pub fn lock(&self) -> String {
        format!("{} {}", self.load(), self.dialect.lock_rows_of("u"))
    }

    /// Locks the users whose ids are the rows of the only parameter, where their rows have to be read by another
    /// statement: beside a row that somebody has just let go of, one statement reads `accounts` as it was before.
    pub fn lock_first(&self) -> Option<String> {
        (self.is_adopted && self.dialect == Dialect::Postgres).then(|| {
            format!(
                "SELECT {} AS id FROM {} u JOIN {} ON {} = {} ORDER BY {} {}",
                self.id_text("u."),
                self.table,
                self.dialect.rows(1, 1),
                self.id_sql("u."),
                self.id_value("v.c1"),
                self.id_sql("u."),
                self.dialect.lock_rows_of("u")
            )
        })
    }

    /// As [`Self::lock`], without locks.
    pub fn load(&self) -> String {
        let cells: Vec<String> =
            self.fields.iter().map(|placed| placed.cell.exact(self.dialect, &placed.sql())).collect();
        self.dialect.own(&format!(
            "SELECT {} AS id, {} FROM {} u JOIN {} ON {} = {}{} ORDER BY {}",
            self.id_text("u."),
            cells.join(", "),
            self.table,
            self.dialect.rows(1, 1),
            self.id_sql("u."),
            self.id_value("v.c1"),
            self.with_accounts("LEFT JOIN", "v.c1"),
            self.id_sql("u.")
        ))
    }

    /// Which of the ids in the only parameter have a row at all.
    pub fn existing(&self) -> String {
        format!(
            "SELECT {} AS id FROM {} u JOIN {} ON {} = {}",
            self.id_text("u."),
            self.table,
            self.dialect.rows(1, 1),
            self.id_sql("u."),
            self.id_value("v.c1")
        )
    }

    // ---- parts of statements ----

    /// The join with `accounts` as `a`, where there is anything in it.
    fn with_accounts(&self, join: &str, user_id: &str) -> String {
        match self.is_adopted {
            true => format!(" {join} headcount.accounts a ON a.user_id = {user_id}"),
            false => String::new(),
        }
    }

    fn id_sql(&self, prefix: &str) -> String {
        format!("{prefix}{}", quoted(&self.id.name))
    }

    fn id_text(&self, prefix: &str) -> String {
        format!("CAST({} AS text)", self.id_sql(prefix))
    }

    /// A user's id from its text.
    fn id_value(&self, text: &str) -> String {
        match (self.id.kind, self.dialect) {
            (IdKind::Uuid, Dialect::Postgres) => format!("CAST({text} AS uuid)"),
            (IdKind::Uuid, Dialect::Sqlite) => text.to_owned(),
            (IdKind::Integer, _) => format!("CAST({text} AS bigint)"),
            (IdKind::Text, _) => text.to_owned(),
        }
    }

    /// Whether the row's id lies after the one in the text parameter, where the empty text lies before all.
    fn id_after(&self, prefix: &str, parameter: &str) -> String {
        let after = self.id_value(&format!("NULLIF({parameter}, '')"));
        format!("({parameter} = '' OR {} > {after})", self.id_sql(prefix))
    }

    fn placed(&self, name: &str) -> Option<&Placed> {
        self.fields.iter().find(|placed| match placed.field {
            Field::Column(column) => self.layout.name(column) == name,
            fact => FACTS.iter().any(|(field, own, _)| *field == fact && *own == name),
        })
    }
}

/// The quote of PostgreSQL's that stands around a script or the body of a function: one that is not in it.
fn dollar_quote(body: &str) -> String {
    let mut tag = "headcount".to_owned();
    while body.contains(&format!("${tag}$")) {
        tag.push('_');
    }
    format!("${tag}$")
}

fn dollar_quoted(body: &str) -> String {
    let quote = dollar_quote(body);
    format!("{quote}{body}{quote}")
}

/// A part of a statement, as it stands within a literal that PostgreSQL's `format` takes.
fn in_format(sql: &str) -> String {
    sql.replace('\'', "''").replace('%', "%%")
}
