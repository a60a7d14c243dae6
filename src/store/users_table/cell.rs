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

    /// As [`Self::text`], but for what an application may write and headcount never does: that is a text that no
    /// canonical one is equal to, and neither null nor the same as its nearest canonical one. No index is used for it.
    pub(super) fn exact(&self, dialect: Dialect, column: &str) -> String {
        let text = self.text(dialect, column);
        match (self, dialect) {
            (CellType::Plain(ColumnType::Bool), Dialect::Sqlite) => format!(
                "CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE '?' || CAST({column} AS text) END"
            ),
            // Blobs come after all texts, and their bytes may be those of one.
            (_, Dialect::Sqlite) => {
                format!("CASE WHEN {column} >= x'' THEN '?' || hex({column}) ELSE {text} END")
            }
            // `to_char` makes null of infinity.
            (CellType::Plain(ColumnType::Timestamp) | CellType::Naive, Dialect::Postgres) => {
                format!("coalesce({text}, CAST({column} AS text))")
            }
            (_, Dialect::Postgres) => text,
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
