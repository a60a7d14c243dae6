//! Where values come from, and which one wins.

use super::environment::{Environment, Origin, read_secret};
use super::{ConfigError, SETTINGS, Setting};
use crate::nearest::nearest_name;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FILE: &str = "headcount.toml";
/// Variables with our prefix that are no setting.
const OTHER_VARIABLES: [&str; 1] = ["HEADCOUNT_CONFIG"];

/// A value before it is understood.
#[derive(Clone, Debug)]
pub struct Value {
    pub key: String,
    pub variable: &'static str,
    pub text: String,
    pub origin: Origin,
}

impl Value {
    /// What an error calls it: by the name under which it was given.
    pub fn name(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("--{}", self.key.replace('_', "-")),
            Origin::Variable(_) | Origin::EnvFile { .. } => self.origin.to_string(),
            Origin::File(path) => format!("`{}` in {}", self.key, path.display()),
            Origin::Default => self.variable.to_owned(),
        }
    }
}

/// A line of `headcount config`.
#[derive(Clone, Debug)]
pub struct LayerEntry {
    pub name: String,
    /// Redacted where it is secret.
    pub value: String,
    pub origin: String,
}

/// All layers.
pub struct Layers {
    flags: BTreeMap<&'static str, String>,
    environment: Environment,
    file: toml::Table,
    pub path: PathBuf,
    pub warnings: Vec<String>,
}

impl Layers {
    pub fn load(
        flags: &[(&'static str, String)],
        environment: &Environment,
        file: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let named = file.or_else(|| environment.get("HEADCOUNT_CONFIG"));
        let path = PathBuf::from(named.unwrap_or(FILE));
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| syntax_error(&path, &text, &error))?,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                toml::Table::new()
            }
            Err(error) => return Err(ConfigError(format!("{} cannot be read: {error}", path.display()))),
        };
        let layers = Self {
            flags: flags.iter().cloned().collect(),
            environment: environment.clone(),
            file,
            path,
            warnings: unknown_variables(environment),
        };
        layers.check_keys()?;
        Ok(layers)
    }

    /// The highest layer's value.
    pub fn value(&self, key: &str) -> Result<Value, ConfigError> {
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.key == key)
            .ok_or_else(|| ConfigError(format!("{key} is no setting")))?;
        let (text, origin) = match self.flags.get(key) {
            Some(flag) => (flag.clone(), Origin::Flag),
            None => match self.environment_value(setting)? {
                Some(found) => found,
                None => self.file_value(setting)?.unwrap_or((setting.default.to_owned(), Origin::Default)),
            },
        };
        Ok(Value { key: setting.key.to_owned(), variable: setting.variable, text, origin })
    }

    fn environment_value(&self, setting: &Setting) -> Result<Option<(String, Origin)>, ConfigError> {
        let own = match setting.secret {
            true => self.environment.secret(setting.variable)?,
            false => {
                self.environment.find(setting.variable).map(|(value, origin)| (value.to_owned(), origin))
            }
        };
        match own {
            None if setting.key == "database_url" => self.environment.secret(super::COMMON_DATABASE_VARIABLE),
            own => Ok(own),
        }
    }

    fn file_value(&self, setting: &Setting) -> Result<Option<(String, Origin)>, ConfigError> {
        let origin = || Origin::File(self.path.clone());
        if setting.secret
            && let Some(secret) = self.secret_in(&self.file, setting.key, "")?
        {
            return Ok(Some((secret, origin())));
        }
        let Some(value) = self.file.get(setting.key) else { return Ok(None) };
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(list) if list.iter().all(toml::Value::is_str) => {
                list.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => return Err(self.error(setting.key, "must be a text, a number or a list of texts")),
        };
        if setting.secret && (text.contains('@') || setting.key.ends_with("_token")) {
            let advice = format!("is or may hold a secret; give it as {0}_env or {0}_file", setting.key);
            return Err(self.error(setting.key, &advice));
        }
        Ok(Some((text, origin())))
    }

    /// A secret given as `KEY_env` or `KEY_file` in a table of the file.
    pub fn secret_in(&self, table: &toml::Table, key: &str, of: &str) -> Result<Option<String>, ConfigError> {
        let text = |suffix: &str| table.get(&format!("{key}_{suffix}")).and_then(toml::Value::as_str);
        match (text("env"), text("file")) {
            (Some(variable), _) => match self.environment.secret(variable)? {
                Some((secret, _)) => Ok(Some(secret)),
                None => {
                    Err(self.error(&format!("{of}{key}_env"), &format!("names {variable}, which is not set")))
                }
            },
            (None, Some(path)) => {
                Ok(Some(read_secret(path, &format!("`{of}{key}_file` in {}", self.path.display()))?))
            }
            (None, None) => Ok(None),
        }
    }

    /// A value of a source's table, under the whole name that an error gives it.
    pub fn value_in(&self, table: &toml::Table, key: &str, of: &str) -> Result<Option<Value>, ConfigError> {
        let whole = format!("{of}{key}");
        let text = match table.get(key) {
            None => return Ok(None),
            Some(toml::Value::String(text)) => text.clone(),
            Some(toml::Value::Integer(number)) => number.to_string(),
            Some(_) => return Err(self.error(&whole, "must be a text or a number")),
        };
        Ok(Some(Value { key: whole, variable: "", text, origin: Origin::File(self.path.clone()) }))
    }

    /// The table of this name.
    pub fn table(&self, key: &str) -> Result<Option<&toml::Table>, ConfigError> {
        match self.file.get(key) {
            None => Ok(None),
            Some(toml::Value::Table(table)) => Ok(Some(table)),
            Some(_) => Err(self.error(key, "must be a table")),
        }
    }

    /// The tables `[sources.NAME]`.
    pub fn source_tables(&self) -> Result<Vec<(String, &toml::Table)>, ConfigError> {
        let Some(sources) = self.file.get("sources") else { return Ok(Vec::new()) };
        let tables =
            sources.as_table().ok_or_else(|| self.error("sources", "must hold tables: [sources.NAME]"))?;
        tables
            .iter()
            .map(|(name, table)| match table.as_table() {
                Some(table) => Ok((name.clone(), table)),
                None => Err(self.error(&format!("sources.{name}"), "must be a table")),
            })
            .collect()
    }

    /// Stops at a key that is none of `known`.
    pub fn check_known(&self, table: &toml::Table, of: &str, known: &[String]) -> Result<(), ConfigError> {
        for key in table.keys() {
            if !known.contains(key) {
                let advice = format!("is unknown; the nearest known key is `{}`", nearest_name(known, key));
                return Err(self.error(&format!("{of}{key}"), &advice));
            }
        }
        Ok(())
    }

    pub fn error(&self, key: &str, advice: &str) -> ConfigError {
        ConfigError(format!("`{key}` in {} {advice}", self.path.display()))
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        let mut known: Vec<String> = vec!["sources".to_owned(), "users".to_owned()];
        for setting in &SETTINGS {
            known.push(setting.key.to_owned());
            if setting.secret {
                known.extend(["env", "file"].map(|suffix| format!("{}_{suffix}", setting.key)));
            }
        }
        self.check_known(&self.file, "", &known)
    }

    pub fn entries(&self) -> Result<Vec<LayerEntry>, ConfigError> {
        SETTINGS
            .iter()
            .map(|setting| {
                let mut value = self.value(setting.key)?;
                if let (Origin::Default, Some(meaning)) = (&value.origin, setting.default_means) {
                    value.text = meaning.to_owned();
                }
                let shown = match (setting.secret, crate::store::DatabaseUrl::parse(&value.text)) {
                    (false, _) => value.text,
                    (true, Ok(url)) => url.redacted(),
                    (true, Err(_)) if value.text.is_empty() => String::new(),
                    (true, Err(_)) => "***".to_owned(),
                };
                Ok(LayerEntry {
                    name: setting.variable.to_owned(),
                    value: shown,
                    origin: value.origin.to_string(),
                })
            })
            .collect()
    }
}

/// A warning and no error: orchestrators inject names such as `HEADCOUNT_SERVICE_HOST`.
fn unknown_variables(environment: &Environment) -> Vec<String> {
    let mut known: Vec<String> = OTHER_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    for setting in &SETTINGS {
        known.push(setting.variable.to_owned());
        if setting.secret {
            known.push(format!("{}_FILE", setting.variable));
        }
    }
    environment
        .names("HEADCOUNT_")
        .filter(|(name, _)| !known.iter().any(|known| known == name))
        .map(|(name, file)| {
            format!(
                "{name}{} is unknown and has no effect; the nearest known variable is {}",
                file.map(|file| format!(" in {file}")).unwrap_or_default(),
                nearest_name(&known, name)
            )
        })
        .collect()
}

/// Without the line itself, which may hold a secret.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.get(..at).unwrap_or(text).lines().count().max(1);
    ConfigError(format!("{} is not TOML: line {line}: {}", path.display(), error.message()))
}
