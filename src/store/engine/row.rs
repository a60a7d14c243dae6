//! A row of a result, read strictly: each cell by its column's name and as its type.
//!
//! Every value travels as text. A cell that does not hold what its type says is an error with table and column, and
//! never a zero, a default or nothing.

use crate::core::timestamp::Timestamp;
use crate::core::words::StoredWord;
use crate::store::engine::error::StoreError;
use std::sync::Arc;

/// The names of a result's columns, in their order: as the statement calls them.
pub type ColumnNames = Arc<[Box<str>]>;

/// One row of a result. Reading a cell takes it out, so each is read once.
#[derive(Debug)]
pub struct Row {
    names: ColumnNames,
    cells: Vec<Option<String>>,
    table: &'static str,
    /// The column after the one that was read last: cells are mostly read in their order.
    next: usize,
}

impl Row {
    /// `names` and `cells` are equally long.
    pub fn new(names: ColumnNames, cells: Vec<Option<String>>) -> Self {
        debug_assert_eq!(names.len(), cells.len(), "a name for each cell");
        Self { names, cells, table: "", next: 0 }
    }

    /// Says which table an error is to name.
    pub fn of(mut self, table: &'static str) -> Self {
        self.table = table;
        self
    }

    /// The text, or `None` where the column is null.
    pub fn opt_text(&mut self, column: &str) -> Result<Option<String>, StoreError> {
        let at = self.position(column)?;
        self.next = at + 1;
        Ok(self.cells[at].take())
    }

    pub fn text(&mut self, column: &str) -> Result<String, StoreError> {
        self.opt_text(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub fn opt_int(&mut self, column: &str) -> Result<Option<i64>, StoreError> {
        self.parsed(column, |text| text.parse().ok())
    }

    pub fn int(&mut self, column: &str) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or_else(|| self.corrupt(column))
    }

    /// A number that is not negative.
    pub fn count(&mut self, column: &str) -> Result<u64, StoreError> {
        self.opt_count(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub fn opt_count(&mut self, column: &str) -> Result<Option<u64>, StoreError> {
        self.parsed(column, |text| text.parse().ok())
    }

    pub fn opt_time(&mut self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        self.parsed(column, Timestamp::parse)
    }

    pub fn time(&mut self, column: &str) -> Result<Timestamp, StoreError> {
        self.opt_time(column)?.ok_or_else(|| self.corrupt(column))
    }

    /// A truth as any of the statements writes it: `true` or `1`, `false` or `0`.
    pub fn truth(&mut self, column: &str) -> Result<bool, StoreError> {
        self.opt_truth(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub fn opt_truth(&mut self, column: &str) -> Result<Option<bool>, StoreError> {
        self.parsed(column, |text| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    /// One of the words that the column may hold.
    pub fn word<W: StoredWord>(&mut self, column: &str) -> Result<W, StoreError> {
        self.opt_word(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub fn opt_word<W: StoredWord>(&mut self, column: &str) -> Result<Option<W>, StoreError> {
        self.parsed(column, W::parse)
    }

    /// What `parse` makes of the text; an error where it makes nothing of it.
    pub fn parsed<T>(
        &mut self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        match self.opt_text(column)? {
            None => Ok(None),
            Some(text) => parse(&text).map(Some).ok_or_else(|| self.corrupt(column)),
        }
    }

    /// The cells that were not read yet, in their order: of statements whose columns the layout decides.
    pub fn rest(self) -> impl Iterator<Item = Option<String>> {
        self.cells.into_iter().skip(self.next)
    }

    /// The error for a cell of this row that does not hold what it should.
    pub fn corrupt(&self, column: &str) -> StoreError {
        StoreError::Corrupt { table: self.table, column: column.to_owned() }
    }

    fn position(&self, column: &str) -> Result<usize, StoreError> {
        if self.names.get(self.next).is_some_and(|name| **name == *column) {
            return Ok(self.next);
        }
        let found = self.names.iter().position(|name| **name == *column);
        debug_assert!(found.is_some(), "the statement has no column {column}: {:?}", self.names);
        found.ok_or_else(|| self.corrupt(column))
    }
}

/// The only row of a result that always has one.
pub fn only(rows: Vec<Row>, table: &'static str) -> Result<Row, StoreError> {
    let missing = || StoreError::Corrupt { table, column: "(no row)".to_owned() };
    rows.into_iter().next().map(|row| row.of(table)).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::words::IdentityState;

    fn row(cells: &[(&str, Option<&str>)]) -> Row {
        let names = cells.iter().map(|(name, _)| Box::from(*name)).collect::<Vec<_>>();
        Row::new(names.into(), cells.iter().map(|(_, cell)| cell.map(str::to_owned)).collect()).of("inbox")
    }

    #[test]
    fn a_cell_is_read_by_its_name_in_any_order() {
        let mut row = row(&[("seq", Some("7")), ("body", None), ("state", Some("deleted"))]);
        assert_eq!(row.word::<IdentityState>("state").unwrap(), IdentityState::Deleted);
        assert_eq!(row.int("seq").unwrap(), 7);
        assert_eq!(row.opt_text("body").unwrap(), None);
    }

    #[test]
    fn what_does_not_fit_names_table_and_column() {
        let cells = [
            ("seq", Some("7x")),
            ("at", Some("yesterday")),
            ("state", Some("gone")),
            ("is", Some("yes")),
            ("n", Some("-1")),
        ];
        type Read = fn(&mut Row) -> Result<(), StoreError>;
        let read: [Read; 5] = [
            |row| row.int("seq").map(drop),
            |row| row.opt_time("at").map(drop),
            |row| row.word::<IdentityState>("state").map(drop),
            |row| row.truth("is").map(drop),
            |row| row.count("n").map(drop),
        ];
        for ((column, _), read) in cells.iter().zip(read) {
            let error = read(&mut row(&cells)).unwrap_err();
            assert!(
                matches!(&error, StoreError::Corrupt { table: "inbox", column: named } if named == column),
                "{error}"
            );
        }
        assert!(row(&[("seq", None)]).int("seq").is_err(), "null is no number");
    }
}
