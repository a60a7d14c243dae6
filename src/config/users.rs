//! `[users]`: a table that was there before headcount, and who owns its columns.

use super::ConfigError;
use super::layers::{LayerEntry, Layers};
use crate::core::columns::{Column, Owner};
use crate::core::known::{Authority, SuspensionRule};
use crate::nearest::{edits, nearest_name};
use crate::source::{Source, path_mistake, up_to_selector};
use crate::store::{AdoptedTable, DatabaseUrl, UsersConfig};
use std::sync::Arc;

const KEYS: [&str; 6] = ["table", "id", "columns", "owners", "authority", "suspension"];
/// The key of the order for columns without one of their own.
const ALL_COLUMNS: &str = "default";
/// How near to a column of ours a name is a slip of the pen rather than a field of the profile.
const SLIP_MAX: usize = 2;

pub fn read(
    layers: &Layers,
    database: &DatabaseUrl,
    sources: &[Source],
) -> Result<(UsersConfig, Vec<LayerEntry>), ConfigError> {
    let Some(table) = layers.table("users")? else { return Ok((UsersConfig::default(), Vec::new())) };
    layers.check_known(table, "users.", &KEYS.map(str::to_owned))?;
    let columns = pairs(layers, table, "columns")?;
    for (ours, _) in &columns {
        check_ours(layers, ours, sources)?;
    }
    let mut owners = Vec::new();
    for (name, owner) in pairs(layers, table, "owners")? {
        let key = format!("users.owners.{name}");
        let own = Column::ALL.iter().map(|column| column.name().to_owned());
        let known: Vec<String> = own.chain(columns.iter().map(|(ours, _)| ours.clone())).collect();
        if !known.contains(&name) {
            let advice = format!("is no column; the nearest is `{}`", nearest_name(&known, &name));
            return Err(layers.error(&key, &advice));
        }
        let found = Owner::NAMES.iter().find(|(known, _)| *known == owner);
        let (_, owner) = found.ok_or_else(|| {
            layers.error(&key, &format!("is `{owner}`; it must be provider, app or app-once-set"))
        })?;
        owners.push((name, *owner));
    }
    let suspension = suspension(layers, table)?;
    let authority = Authority { suspension, ..authority(layers, table, &columns, sources)? };
    let config = UsersConfig { adopted: adopted(layers, table, database, columns)?, owners, authority };
    let entries = entries(&config, &layers.path.display().to_string());
    Ok((config, entries))
}

fn adopted(
    layers: &Layers,
    table: &toml::Table,
    database: &DatabaseUrl,
    columns: Vec<(String, String)>,
) -> Result<Option<AdoptedTable>, ConfigError> {
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(layers.error(&format!("users.{key}"), "must be a text")),
    };
    match (text("table")?, text("id")?) {
        (Some(table), id) => {
            let (schema, name) = split(&table, database);
            Ok(Some(AdoptedTable { schema, name, id: id.unwrap_or_else(|| "id".to_owned()), columns }))
        }
        (None, None) if columns.is_empty() => Ok(None),
        (None, _) => Err(layers.error("users.table", "is missing: name the table that these columns are of")),
    }
}

/// `suspension` of `[users]`: whose ban counts.
fn suspension(layers: &Layers, table: &toml::Table) -> Result<SuspensionRule, ConfigError> {
    let Some(value) = table.get("suspension") else { return Ok(SuspensionRule::default()) };
    let found = SuspensionRule::NAMES.iter().find(|(name, _)| value.as_str() == Some(name));
    let (_, rule) = found.ok_or_else(|| layers.error("users.suspension", "must be `any` or `authority`"))?;
    Ok(*rule)
}

/// `[users.authority]`: by column, the sources whose word counts first.
fn authority(
    layers: &Layers,
    table: &toml::Table,
    columns: &[(String, String)],
    sources: &[Source],
) -> Result<Authority, ConfigError> {
    let mut authority = Authority::default();
    let Some(value) = table.get("authority") else { return Ok(authority) };
    let inner = value
        .as_table()
        .ok_or_else(|| layers.error("users.authority", "must be a table of lists of sources, by column"))?;
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let own = Column::ALL.iter().map(|column| column.name().to_owned());
    let known = own.chain(columns.iter().map(|(ours, _)| ours.clone())).chain([ALL_COLUMNS.to_owned()]);
    let known: Vec<String> = known.collect();
    layers.check_known(inner, "users.authority.", &known)?;
    for (column, list) in inner {
        let key = format!("users.authority.{column}");
        let texts = list.as_array().map(|list| list.iter().map(|name| name.as_str().map(str::to_owned)));
        let order: Option<Vec<String>> = texts.and_then(Iterator::collect);
        let order = order.ok_or_else(|| layers.error(&key, "must be a list of names of sources"))?;
        if let Some(unknown) = order.iter().find(|name| !names.contains(name)) {
            let advice =
                format!("names `{unknown}`; the nearest source is `{}`", nearest_name(&names, unknown));
            return Err(layers.error(&key, &advice));
        }
        match column.as_str() {
            ALL_COLUMNS => authority.order = order,
            // Whether an address is verified is said by whoever says the address.
            "email_verified" => return Err(layers.error(&key, "follows email: give the order there")),
            column => drop(authority.by_column.insert(column.to_owned(), order)),
        }
    }
    // Those that were not named come behind, in the order in which they are configured.
    let rest: Vec<String> = names.into_iter().filter(|name| !authority.order.contains(name)).collect();
    authority.order.extend(rest);
    Ok(authority)
}

/// A table of texts; a table within it is the beginning of a path, as unquoted dots make it.
fn pairs(layers: &Layers, table: &toml::Table, key: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    let mut open: Vec<(String, &toml::Value)> =
        table.get(key).map(|value| (String::new(), value)).into_iter().collect();
    while let Some((path, value)) = open.pop() {
        let whole = if path.is_empty() { format!("users.{key}") } else { format!("users.{key}.{path}") };
        match value {
            toml::Value::Table(inner) => {
                let path =
                    |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                open.extend(inner.iter().rev().map(|(name, value)| (path(name), value)));
            }
            toml::Value::String(text) if !text.is_empty() && !path.is_empty() => {
                pairs.push((path, text.clone()))
            }
            _ if path.is_empty() => return Err(layers.error(&whole, "must be a table")),
            _ => return Err(layers.error(&whole, "must be a text")),
        }
    }
    Ok(pairs)
}

/// A column of ours, or something that may be a path of the profile.
fn check_ours(layers: &Layers, ours: &str, sources: &[Source]) -> Result<(), ConfigError> {
    if !AdoptedTable::is_path(ours) {
        return Ok(());
    }
    let known: Vec<String> = AdoptedTable::own_names().map(str::to_owned).collect();
    let key = format!("users.columns.{ours}");
    let near = nearest_name(&known, ours);
    if !ours.contains('.') && edits(near, ours) <= SLIP_MAX {
        return Err(layers.error(&key, &format!("is unknown; the nearest known column is `{near}`")));
    }
    if let Some(mistake) = path_mistake(ours) {
        return Err(layers.error(&key, mistake));
    }
    let field = up_to_selector(ours.split('.').next().unwrap_or_default());
    // Of the sources that there are; where there is none yet, of those that may come.
    let mut providers: Vec<_> = sources.iter().map(|source| source.provider.clone()).collect();
    if providers.is_empty() {
        providers.extend(crate::source::providers());
    }
    if providers.iter().all(|provider| provider.leaves_out(field)) {
        return Err(layers.error(&key, &format!("cannot be filled: `{field}` is no part of what is kept")));
    }
    let goes_into = ours.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'));
    if goes_into && providers.iter().any(|provider| provider.lists().contains(&field)) {
        let first = ours.replacen('.', "[0].", 1);
        return Err(layers.error(&key, &format!("leads into a list: say which entry, such as `{first}`")));
    }
    Ok(())
}

/// What a column of theirs is filled with may be stored.
pub fn keep_mapped(config: &UsersConfig, sources: &mut [Source]) {
    let columns = config.adopted.iter().flat_map(|table| &table.columns);
    let paths: Vec<&String> =
        columns.map(|(ours, _)| ours).filter(|ours| AdoptedTable::is_path(ours)).collect();
    for source in sources.iter_mut().filter(|_| !paths.is_empty()) {
        let mut keep = (*source.keep).clone();
        paths.iter().for_each(|path| keep.add(path));
        source.keep = Arc::new(keep);
    }
}

/// A warning for each column that is filled with what people may write themselves.
pub fn self_written(config: &UsersConfig, sources: &[Source]) -> Vec<String> {
    let columns = config.adopted.iter().flat_map(|table| &table.columns);
    let paths = columns.filter(|(ours, _)| AdoptedTable::is_path(ours));
    let is_within = |path: &str, field: &str| {
        path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    paths
        .filter_map(|(path, theirs)| {
            let of = |source: &&Source| source.provider.self_written().iter().any(|field| is_within(path, field));
            let source = sources.iter().find(of)?;
            Some(format!(
                "column {theirs} is filled from {path}, which people of source {} write themselves, from their own browsers: \
                 nothing may be granted by it",
                source.name
            ))
        })
        .collect()
}

/// Schema and name; SQLite has no schemas.
fn split(table: &str, database: &DatabaseUrl) -> (String, String) {
    match database {
        DatabaseUrl::Sqlite(_) => (String::new(), table.strip_prefix("main.").unwrap_or(table).to_owned()),
        DatabaseUrl::Postgres { .. } => match table.split_once('.') {
            Some((schema, name)) => (schema.to_owned(), name.to_owned()),
            None => ("public".to_owned(), table.to_owned()),
        },
    }
}

fn entries(config: &UsersConfig, origin: &str) -> Vec<LayerEntry> {
    let entry = |name: String, value: String| LayerEntry { name, value, origin: origin.to_owned() };
    let mut entries = Vec::new();
    if let Some(table) = &config.adopted {
        entries.push(entry("users.table".into(), table.display()));
        entries.push(entry("users.id".into(), table.id.clone()));
        entries.extend(
            table.columns.iter().map(|(ours, theirs)| entry(format!("users.columns.{ours}"), theirs.clone())),
        );
    }
    entries.extend(config.owners.iter().map(|(name, owner)| {
        let named = Owner::NAMES.iter().find(|(_, known)| known == owner).map_or("", |(named, _)| named);
        entry(format!("users.owners.{name}"), named.to_owned())
    }));
    if config.authority.suspension != SuspensionRule::default() {
        let named = SuspensionRule::NAMES.iter().find(|(_, rule)| *rule == config.authority.suspension);
        entries.push(entry("users.suspension".into(), named.map_or("", |(name, _)| name).to_owned()));
    }
    let orders = config.authority.by_column.iter();
    let orders = orders.map(|(column, order)| (column.as_str(), order));
    entries.extend(
        [(ALL_COLUMNS, &config.authority.order)]
            .into_iter()
            .chain(orders)
            .map(|(column, order)| entry(format!("users.authority.{column}"), order.join(", "))),
    );
    entries
}
