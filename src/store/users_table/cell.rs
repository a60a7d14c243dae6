//! How a column's canonical text goes into a column of some type, and comes out of it.

use crate::core::columns::ColumnType;
use crate::store::engine::dialect::Dialect;

/// The type of a column, as far as statements differ for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellType {
    Plain(ColumnType),
    /// PostgreSQL's `timestamp`, taken for UTC, as the ORMs do that make such columns.
    Naive,
    /// A type that text must be cast to by its name, such as an enumeration.
    Named(String),
}

impl From<ColumnType> for CellType {
    fn from(column_type: ColumnType) -> Self {
        CellType::Plain(column_type)
    }
}

impl CellType {
    /// The column as its canonical text.
    pub(super) fn text(&self, dialect: Dialect, column: &str) -> String {
        match (self, dialect) {
            (CellType::Plain(ColumnType::Text), Dialect::Postgres) | (CellType::Named(_), _) => {
                format!("CAST({column} AS text)")
            }
            (CellType::Plain(plain), _) => dialect.cell_text(column, *plain),
            (CellType::Naive, _) => format!("to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"),
        }
    }

    /// The value that a canonical text stands for.
    pub(super) fn value(&self, dialect: Dialect, text: &str) -> String {
        match self {
            CellType::Plain(plain) => dialect.cell_value(text, *plain),
            CellType::Naive => self.instant(&format!("CAST({text} AS timestamptz)")),
            CellType::Named(name) => format!("CAST({text} AS {name})"),
        }
    }

    /// The value for a moment of the database's clock.
    pub(super) fn instant(&self, instant: &str) -> String {
        match self {
            CellType::Naive => format!("({instant}) AT TIME ZONE 'UTC'"),
            _ => instant.to_owned(),
        }
    }
}
