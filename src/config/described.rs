//! `[sources.NAME]` of kind `standard-webhooks`: what the deliveries of any other provider mean.

use super::ConfigError;
use super::layers::Layers;
use crate::core::columns::Column;
use crate::nearest::nearest_name;
use crate::source::path_mistake as mistake;
use crate::source::standard::Described;
use std::path::Path;

/// Keys of this kind alone.
pub const DESCRIBED_KEYS: [&str; 12] = [
    "type",
    "upsert",
    "delete",
    "id",
    "version",
    "occurred_at",
    "external_id",
    "suspended",
    "suspended_until",
    "columns",
    "ignore",
    "sample",
];
/// In the place of a version's path: the time at which a delivery was signed is its version.
const SIGNED_TIME: &str = "signed_time";
/// A sample is a delivery.
const SAMPLE_BYTES_MAX: u64 = 1 << 20;

pub fn described(table: &toml::Table, of: &str, layers: &Layers) -> Result<Described, ConfigError> {
    let error = |key: &str, advice: &str| layers.error(&format!("{of}{key}"), advice);
    let path = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) if !text.is_empty() => match mistake(text) {
            None => Ok(Some(text.clone())),
            Some(mistake) => Err(error(key, mistake)),
        },
        Some(_) => Err(error(key, "must be the path of a field, such as data.id")),
    };
    let needed = |key: &str, example: &str| {
        path(key)?
            .ok_or_else(|| error(key, &format!("is missing: where in a delivery it lies, such as {example}")))
    };
    let list =
        |key: &str| texts(table.get(key)).ok_or_else(|| error(key, "must be a text or a list of texts"));
    let described = Described {
        event_type: Some(list("type")?).filter(|paths| !paths.is_empty()).unwrap_or(vec!["type".to_owned()]),
        upsert: list("upsert")?,
        delete: list("delete")?,
        id: needed("id", "data.id")?,
        version: Some(needed("version", "data.updatedAt, or `signed_time` where there is none")?)
            .filter(|version| version != SIGNED_TIME),
        occurred_at: Some(path("occurred_at")?.unwrap_or_else(|| "timestamp".to_owned())),
        external_id: path("external_id")?,
        suspended: path("suspended")?,
        suspended_until: path("suspended_until")?,
        columns: columns(table, of, layers)?,
        ignore: list("ignore")?,
    };
    if described.upsert.is_empty() {
        return Err(error(
            "upsert",
            "is missing: the types of deliveries that carry a user, such as [\"user.updated\"]",
        ));
    }
    if let Some(both) = described.upsert.iter().find(|event| described.delete.contains(event)) {
        return Err(error("delete", &format!("has `{both}`, which is in `upsert` as well")));
    }
    for sample in list("sample")? {
        let text = read_sample(&sample, &layers.path)
            .map_err(|reason| error("sample", &format!("cannot be read: {reason}")))?;
        described.check(&text).map_err(|reason| error("sample", &reason))?;
    }
    Ok(described)
}

/// A delivery's body: JSON, or the file that holds it (beside the configuration).
fn read_sample(sample: &str, config: &Path) -> Result<String, String> {
    if sample.trim_start().starts_with('{') {
        return Ok(sample.to_owned());
    }
    let path = config.parent().unwrap_or(Path::new("")).join(sample);
    let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(&path).map_err(unreadable)?.len() > SAMPLE_BYTES_MAX {
        return Err(format!("{} is larger than a delivery", path.display()));
    }
    std::fs::read_to_string(&path).map_err(unreadable)
}

fn columns(table: &toml::Table, of: &str, layers: &Layers) -> Result<Vec<(Column, String)>, ConfigError> {
    let Some(value) = table.get("columns") else { return Ok(Vec::new()) };
    let inner = value.as_table().ok_or_else(|| {
        layers.error(&format!("{of}columns"), "must be a table, such as { email = \"data.email\" }")
    })?;
    let known: Vec<String> = Column::ALL.iter().map(|column| column.name().to_owned()).collect();
    layers.check_known(inner, &format!("{of}columns."), &known)?;
    let mut columns = Vec::new();
    for column in Column::ALL {
        match inner.get(column.name()) {
            None => {}
            Some(toml::Value::String(path)) if !path.is_empty() => {
                if let Some(mistake) = mistake(path) {
                    return Err(layers.error(&format!("{of}columns.{}", column.name()), mistake));
                }
                columns.push((column, path.clone()));
            }
            Some(_) => {
                let key = format!("{of}columns.{}", column.name());
                let near = nearest_name(&known, column.name());
                return Err(layers.error(&key, &format!("must be the path of a field, such as data.{near}")));
            }
        }
    }
    Ok(columns)
}

/// One text, or a list of them.
pub fn texts(value: Option<&toml::Value>) -> Option<Vec<String>> {
    match value {
        None => Some(Vec::new()),
        Some(toml::Value::String(text)) => Some(vec![text.clone()]),
        Some(toml::Value::Array(list)) => list.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    }
}
