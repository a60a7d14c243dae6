//! Where a source's accounts are read in a table of the application's own database.

use super::ConfigError;
use super::described::texts;
use super::layers::Layers;
use crate::source::{Provider, TableAccess};
use crate::store::DatabaseUrl;
use std::collections::BTreeMap;

/// The provider's own table, where the source's table of the file says where it is.
pub(super) fn own_table(
    table: &toml::Table,
    of: &str,
    provider: &dyn Provider,
    layers: &Layers,
) -> Result<Option<TableAccess>, ConfigError> {
    let Some(url) = layers.secret_in(table, "database_url", of)? else { return Ok(None) };
    if provider.table().is_none() {
        return Err(
            layers.error(&format!("{of}database_url"), "is of no use: this kind has no table of its own")
        );
    }
    let name = match table.get("database_table") {
        None => None,
        Some(toml::Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(layers.error(&format!("{of}database_table"), "must be a text")),
    };
    let mut columns = BTreeMap::new();
    match table.get("database_columns") {
        None => {}
        Some(toml::Value::Table(named)) => {
            let kept = texts(table.get("keep")).unwrap_or_default();
            let fields: Vec<String> = provider.keeps().names().into_iter().chain(kept).collect();
            layers.check_known(named, &format!("{of}database_columns."), &fields)?;
            for (field, column) in named {
                let column = column.as_str().ok_or_else(|| {
                    layers.error(&format!("{of}database_columns.{field}"), "must be the name of a column")
                })?;
                columns.insert(field.clone(), column.to_owned());
            }
        }
        Some(_) => {
            return Err(layers.error(&format!("{of}database_columns"), "must be a table: field = \"column\""));
        }
    }
    table_access(url, name, columns, &format!("{of}database_url")).map(Some)
}

/// Checks the URL, whose password no error shows.
pub(super) fn table_access(
    url: String,
    table: Option<String>,
    columns: BTreeMap<String, String>,
    name: &str,
) -> Result<TableAccess, ConfigError> {
    DatabaseUrl::parse(&url).map_err(|error| ConfigError(format!("{name} cannot be read: {error}")))?;
    Ok(TableAccess { url: url.into(), table, columns })
}
