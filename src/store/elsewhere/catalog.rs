//! Where the table is and what its columns are called, as the database's own catalog has it.

use super::{TableNames, TableShape};
use crate::nearest::nearest;
use crate::store::engine::dialect::{Dialect, quoted};
use crate::store::engine::driver::{Arg, Driver};
use crate::store::engine::error::StoreError;

/// A table as the catalog has it.
pub(super) struct FoundTable {
    pub dialect: Dialect,
    /// Quoted, with its schema where it has one.
    pub name: String,
    pub key: FoundColumn,
    pub version: FoundColumn,
    /// Those of the fields that there are.
    pub fields: Vec<FoundColumn>,
}

/// A column, and the field that it holds.
#[derive(Clone)]
pub(super) struct FoundColumn {
    pub field: String,
    /// As the catalog has it.
    pub column: String,
    /// In lower case.
    pub declared: String,
}

impl FoundTable {
    pub(super) async fn look_up(
        driver: &dyn Driver,
        shape: &TableShape,
        names: &TableNames,
    ) -> Result<Self, StoreError> {
        let dialect = driver.dialect();
        let wanted = names.table.clone().unwrap_or_else(|| shape.table.to_owned());
        let parts: Vec<&str> = wanted.split('.').collect();
        let name = parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
        let args = match dialect {
            Dialect::Postgres => vec![Arg::text(name.clone())],
            Dialect::Sqlite => vec![Arg::text(parts.last().copied().unwrap_or_default())],
        };
        let mut columns = Vec::new();
        for row in driver.read(dialect.columns_of_table(), args).await? {
            let mut row = row.of("the catalog");
            columns.push((row.text("name")?, row.text("declared")?.to_lowercase()));
        }
        if columns.is_empty() {
            return Err(StoreError::Setup(format!(
                "there is no table {name} in the provider's database; `database_table` names another one"
            )));
        }
        let find = |field: &str| -> Result<Option<FoundColumn>, StoreError> {
            let configured = names.columns.get(field);
            let candidates = match configured {
                Some(name) => vec![name.clone()],
                None => vec![field.to_owned(), in_snake_case(field), field.to_lowercase()],
            };
            let found = candidates.iter().find_map(|name| columns.iter().find(|(column, _)| column == name));
            match (found, configured) {
                (Some((column, declared)), _) => {
                    let (field, column) = (field.to_owned(), column.clone());
                    Ok(Some(FoundColumn { field, column, declared: declared.clone() }))
                }
                (None, Some(name)) => Err(missing(&columns, &wanted, name)),
                (None, None) => Ok(None),
            }
        };
        let needed = |field: &str| find(field)?.ok_or_else(|| missing(&columns, &wanted, field));
        let fields = shape.fields.iter().filter_map(|field| find(field).transpose());
        let (key, version) = (needed(shape.key)?, needed(shape.version)?);
        Ok(Self { dialect, name, key, version, fields: fields.collect::<Result<_, _>>()? })
    }
}

fn missing(columns: &[(String, String)], table: &str, column: &str) -> StoreError {
    let nearest = nearest(columns.iter().map(|(name, _)| name.as_str()), column).unwrap_or_default();
    StoreError::Setup(format!(
        "table {table} of the provider's database has no column for {column}; the nearest is `{nearest}`, and \
         `database_columns` says what it is called"
    ))
}

fn in_snake_case(field: &str) -> String {
    let mut name = String::new();
    for letter in field.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_in_snake_case_has_a_line_for_each_capital() {
        assert_eq!(in_snake_case("emailVerified"), "email_verified");
        assert_eq!(in_snake_case("id"), "id");
    }
}
