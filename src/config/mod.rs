//! What headcount is told: flags over environment over file over defaults, each value with its origin.

mod layers;
mod sources;
mod users;
mod values;

pub use layers::{Entry, Environment, Origin};
pub use values::Poll;

use crate::core::brake::DeleteLimit;
use crate::core::proof::SweepLimit;
use crate::core::schedule::Schedule;
use crate::source::Source;
use crate::store::{DatabaseUrl, UsersConfig};
use layers::Layers;
use std::net::SocketAddr;
use thiserror::Error;

/// A wrong configuration: exit code 2. Names the key, never a secret.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// One thing that can be configured.
pub struct Setting {
    /// In `headcount.toml`.
    pub key: &'static str,
    pub variable: &'static str,
    /// May come as `VARIABLE_FILE`, is never shown.
    pub secret: bool,
    pub default: &'static str,
}

const fn setting(key: &'static str, variable: &'static str, default: &'static str) -> Setting {
    Setting { key, variable, secret: false, default }
}

pub const SETTINGS: [Setting; 16] = [
    Setting { secret: true, ..setting("database_url", "HEADCOUNT_DATABASE_URL", "sqlite://headcount.db") },
    setting("migrate", "HEADCOUNT_MIGRATE", "auto"),
    Setting { secret: true, ..setting("migrate_database_url", "HEADCOUNT_MIGRATE_DATABASE_URL", "") },
    setting("listen", "HEADCOUNT_LISTEN", "127.0.0.1:8787"),
    setting("required_fields", "HEADCOUNT_REQUIRED_FIELDS", "email"),
    setting("resync_schedule", "HEADCOUNT_RESYNC_SCHEDULE", "6h"),
    setting("poll", "HEADCOUNT_POLL", "default"),
    setting("rate_share", "HEADCOUNT_RATE_SHARE", "50%"),
    setting("confirm_after", "HEADCOUNT_CONFIRM_AFTER", "60s"),
    setting("max_delete", "HEADCOUNT_MAX_DELETE", "default"),
    setting("silence_after", "HEADCOUNT_SILENCE_AFTER", "24h"),
    setting("max_delete_delivered", "HEADCOUNT_MAX_DELETE_DELIVERED", "default"),
    setting("inbox_retention", "HEADCOUNT_INBOX_RETENTION", "30d"),
    setting("max_body", "HEADCOUNT_MAX_BODY", "1MiB"),
    setting("log", "HEADCOUNT_LOG", "info"),
    setting("log_format", "HEADCOUNT_LOG_FORMAT", "auto"),
];

/// The effective configuration.
pub struct Config {
    pub database: DatabaseUrl,
    /// Whether nobody has named a database.
    pub database_is_default: bool,
    /// A direct connection for migrations, where the other goes through a pooler.
    pub migrate_database: Option<DatabaseUrl>,
    /// Whether `serve` creates and upgrades the tables.
    pub migrate: bool,
    pub listen: SocketAddr,
    /// `None` where nobody has said: then the database's own list stands.
    pub required_fields: Option<Vec<String>>,
    pub resync: ResyncSettings,
    pub delete_limit: DeleteLimit,
    pub inbox_retention_ms: i64,
    pub body_bytes_max: usize,
    pub log: String,
    pub log_format: LogFormat,
    pub sources: Vec<Source>,
    /// Which table the users are in, and who owns its columns.
    pub users: UsersConfig,
    /// Whether the host dictates the port: such hosts keep no disk.
    pub port_is_dictated: bool,
    /// Everything for people to look at.
    pub entries: Vec<Entry>,
    /// What looks like a mistake but stops nothing.
    pub warnings: Vec<String>,
}

/// How sources are read.
#[derive(Clone, Debug)]
pub struct ResyncSettings {
    pub schedule: Schedule,
    pub poll: Poll,
    /// Of the provider's limit: `0.01..=1.0`.
    pub rate_share: f64,
    pub confirm_after_ms: i64,
    pub max_delete: SweepLimit,
    pub silence_after_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    Text,
    Json,
}

impl Config {
    /// Resolves the layers. `flags` are `(key, value)` of [`SETTINGS`]; `file` overrides `HEADCOUNT_CONFIG`.
    pub fn resolve(
        flags: &[(&'static str, String)],
        environment: &Environment,
        file: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::load(flags, environment, file)?;
        let database = layers.value("database_url")?;
        let parsed = |value: &str| DatabaseUrl::parse(value).map_err(|error| ConfigError(error.to_string()));
        let migrate_database = layers.value("migrate_database_url")?;
        let required = layers.value("required_fields")?;
        let port_is_dictated = environment.get("PORT").is_some();
        let (sources, source_entries) = sources::read(environment, &layers)?;
        let mut entries = layers.entries()?;
        entries.extend(source_entries);
        let parsed_database = parsed(&database.text)?;
        let (users, users_entries) = users::read(&layers, &parsed_database)?;
        entries.extend(users_entries);
        Ok(Self {
            database: parsed_database,
            database_is_default: database.origin == Origin::Default,
            migrate_database: match migrate_database.text.as_str() {
                "" => None,
                url => Some(parsed(url)?),
            },
            migrate: values::one_of(&layers, "migrate", &[("auto", true), ("off", false)])?,
            listen: listen(&layers, environment)?,
            required_fields: (required.origin != Origin::Default).then(|| values::list(&required.text)),
            resync: ResyncSettings {
                schedule: values::schedule(&layers, "resync_schedule")?,
                poll: values::poll(&layers, "poll")?,
                rate_share: values::share(&layers, "rate_share")?,
                confirm_after_ms: values::duration_ms(&layers, "confirm_after")?,
                max_delete: values::sweep_limit(&layers, "max_delete")?,
                silence_after_ms: values::duration_ms(&layers, "silence_after")?,
            },
            delete_limit: values::delete_limit(&layers, "max_delete_delivered")?,
            inbox_retention_ms: values::duration_ms(&layers, "inbox_retention")?,
            body_bytes_max: values::bytes(&layers, "max_body")?,
            log: layers.value("log")?.text,
            log_format: values::one_of(
                &layers,
                "log_format",
                &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            sources,
            users,
            port_is_dictated,
            entries,
            warnings: layers.warnings,
        })
    }

    /// The names of the configured sources.
    pub fn source_names(&self) -> Vec<String> {
        self.sources.iter().map(|source| source.name.clone()).collect()
    }
}

/// `0.0.0.0:$PORT` where only the host has said where to listen.
fn listen(layers: &Layers, environment: &Environment) -> Result<SocketAddr, ConfigError> {
    let given = layers.value("listen")?;
    let text = match (given.origin == Origin::Default).then(|| environment.get("PORT")).flatten() {
        Some(port) => format!("0.0.0.0:{port}"),
        None => given.text.clone(),
    };
    text.parse().map_err(|_| {
        ConfigError(format!("{} is `{text}`; it must be ADDRESS:PORT, such as 127.0.0.1:8787", given.name()))
    })
}
