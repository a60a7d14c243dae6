//! What a column of the application's can hold, by what its database says of it.

use super::catalog::{Catalog, CatalogColumn};
use super::cell::CellType;
use super::config::AdoptedTable;
use crate::core::columns::ColumnType;

/// Texts of a UUID.
const UUID_CHARS: usize = 36;

pub(super) fn holds_uuid(type_name: &str) -> bool {
    let length =
        type_name.split_once('(').and_then(|(_, rest)| rest.trim_end_matches(')').parse::<usize>().ok());
    length.is_none_or(|length| length >= UUID_CHARS)
}

/// What a column that may not be null holds instead of nothing.
pub(super) fn stand_in(column: &CatalogColumn) -> Option<String> {
    if column.nullable {
        return None;
    }
    // As Django makes them: a text that may not be null and has no default is empty where there is nothing.
    let is_text = !column.is_enum && (is_text_of_postgres(&column.base) || is_text_of_sqlite(&column.base));
    if is_text && column.default.is_none() && !column.generated && !column.in_unique_index {
        return Some(String::new());
    }
    let constant = column.constant.as_ref()?;
    let default = column.default.as_deref().unwrap_or_default().to_ascii_uppercase();
    let is_clock = default.starts_with("CURRENT_") || default.starts_with("LOCALTIME");
    let is_bool = column.base.eq_ignore_ascii_case("boolean") || column.base.eq_ignore_ascii_case("bool");
    let text = match (is_bool, constant.as_str()) {
        (true, "1") => "true",
        (true, "0") => "false",
        (_, text) => text,
    };
    let is_time = column.base.to_ascii_uppercase().contains("TIME");
    (!is_clock && !is_time).then(|| text.to_owned())
}

pub(super) fn postgres_cell(column: &CatalogColumn, needed: ColumnType) -> Option<CellType> {
    // `timestamp(2) with time zone` and the like would round what they are given.
    let precision =
        column.type_name.split_once('(').and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    let precise = precision.is_none_or(|digits: u32| digits >= 3);
    match (needed, column.base.as_str()) {
        (ColumnType::Text, base) if is_text_of_postgres(base) => Some(ColumnType::Text.into()),
        (ColumnType::Text, _) if column.is_enum => Some(CellType::Named(column.type_name.clone())),
        (ColumnType::Bool, "boolean") => Some(ColumnType::Bool.into()),
        (ColumnType::Integer, "smallint" | "integer" | "bigint") => Some(ColumnType::Integer.into()),
        (ColumnType::Timestamp, "timestamp with time zone") if precise => Some(ColumnType::Timestamp.into()),
        (ColumnType::Timestamp, "timestamp without time zone") if precise => Some(CellType::Naive),
        _ => None,
    }
}

fn is_text_of_postgres(base: &str) -> bool {
    matches!(base, "text" | "character varying" | "citext")
}

fn is_text_of_sqlite(base: &str) -> bool {
    base.is_empty() || ["CHAR", "CLOB", "TEXT"].iter().any(|word| base.contains(word))
}

/// By the declared type, as SQLite itself has it.
pub(super) fn sqlite_cell(column: &CatalogColumn, needed: ColumnType) -> Option<CellType> {
    let has = |words: &[&str]| words.iter().any(|word| column.base.contains(word));
    let is_text = is_text_of_sqlite(&column.base);
    let fits = match needed {
        ColumnType::Text => is_text,
        ColumnType::Timestamp => is_text || has(&["DATE", "TIME"]),
        ColumnType::Bool => has(&["BOOL", "INT"]),
        ColumnType::Integer => has(&["INT"]),
    };
    fits.then(|| needed.into())
}

/// What is no mistake, and worth knowing.
pub(super) fn notes(table: &AdoptedTable, catalog: &Catalog) -> Vec<String> {
    let mapped = |name: &str| table.columns.iter().any(|(_, theirs)| theirs == name);
    let mut notes = Vec::new();
    for (ours, theirs) in &table.columns {
        let Some(column) = catalog.column(theirs).filter(|column| !column.nullable) else { continue };
        let text = format!("`{theirs}` of {} is NOT NULL and has no default", table.display());
        match stand_in(column) {
            Some(empty) if empty.is_empty() => {
                notes.push(format!("{text}: where the provider has nothing for {ours}, it is empty"));
            }
            None if column.default.is_none() && ours != "deleted_at" => notes.push(format!(
                "{text}: whom the provider has nothing for {ours} of waits without a row, until the application supplies it \
                 by a call"
            )),
            _ => {}
        }
    }
    for column in &catalog.columns {
        let required = !column.nullable && column.default.is_none() && column.identity.is_none();
        if required && !column.generated && !mapped(&column.name) && column.name != table.id {
            notes.push(format!(
                "column `{}` of {} is NOT NULL, has no default and is not mapped: unless a trigger fills it, new accounts \
                 wait without a row",
                column.name,
                table.display()
            ));
        }
    }
    let rowid = catalog.column(&table.id).is_some_and(|id| id.base == "INTEGER");
    if rowid && !catalog.autoincrement {
        notes.push(format!(
            "ids of {} are given out again after the last row was deleted (no AUTOINCREMENT)",
            table.display()
        ));
    }
    notes
}
