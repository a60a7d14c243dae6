//! What headcount is told: flags over environment over file over defaults, each value with its origin.

mod api_url;
mod described;
mod env_file;
mod environment;
mod layers;
mod own_table;
mod source_name;
mod sources;
mod users;
mod values;

pub use environment::Origin;
pub use environment::{Environment, read_secret};
pub use layers::LayerEntry;
pub use values::PollSetting;

use crate::core::brake::DeleteLimit;
use crate::core::link::LinkRule;
use crate::core::proof::SweepLimit;
use crate::core::retention::{self, Period, Retention};
use crate::core::schedule::Schedule;
use crate::source::Source;
use crate::store::{DatabaseUrl, NamedSource, UsersConfig};
use layers::Layers;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
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
    /// For people, where the default is a rule and no value.
    pub default_means: Option<&'static str>,
}

const fn setting(key: &'static str, variable: &'static str, default: &'static str) -> Setting {
    Setting { key, variable, secret: false, default, default_means: None }
}

const fn rule(
    key: &'static str,
    variable: &'static str,
    default: &'static str,
    means: &'static str,
) -> Setting {
    Setting { default_means: Some(means), ..setting(key, variable, default) }
}

pub const SETTINGS: [Setting; 25] = [
    Setting { secret: true, ..setting("database_url", "HEADCOUNT_DATABASE_URL", "sqlite://headcount.db") },
    setting("migrate", "HEADCOUNT_MIGRATE", "auto"),
    Setting { secret: true, ..setting("migrate_database_url", "HEADCOUNT_MIGRATE_DATABASE_URL", "") },
    setting("listen", "HEADCOUNT_LISTEN", "127.0.0.1:8787"),
    setting("admin_listen", "HEADCOUNT_ADMIN_LISTEN", "127.0.0.1:8788"),
    Setting { secret: true, ..setting("admin_token", "HEADCOUNT_ADMIN_TOKEN", "") },
    Setting { secret: true, ..setting("app_token", "HEADCOUNT_APP_TOKEN", "") },
    setting("admin_hosts", "HEADCOUNT_ADMIN_HOSTS", ""),
    setting("ensure_timeout", "HEADCOUNT_ENSURE_TIMEOUT", "2s"),
    setting("on_delete", "HEADCOUNT_ON_DELETE", "keep"),
    setting("erase_after", "HEADCOUNT_ERASE_AFTER", "30d"),
    setting("required_fields", "HEADCOUNT_REQUIRED_FIELDS", "email"),
    setting("resync_schedule", "HEADCOUNT_RESYNC_SCHEDULE", "6h"),
    rule(
        "poll",
        "HEADCOUNT_POLL",
        "default",
        "5s where a source has an API key and no webhook secret, else off",
    ),
    setting("rate_share", "HEADCOUNT_RATE_SHARE", "50%"),
    setting("confirm_after", "HEADCOUNT_CONFIRM_AFTER", "60s"),
    rule(
        "max_delete",
        "HEADCOUNT_MAX_DELETE",
        "default",
        "the smaller of 1% and 500 accounts, at least 10, never over half",
    ),
    setting("silence_after", "HEADCOUNT_SILENCE_AFTER", "24h"),
    rule(
        "max_delete_delivered",
        "HEADCOUNT_MAX_DELETE_DELIVERED",
        "default",
        "the larger of 1% and 100 accounts per hour",
    ),
    setting("inbox_retention", "HEADCOUNT_INBOX_RETENTION", "30d"),
    setting("max_body", "HEADCOUNT_MAX_BODY", "1MiB"),
    setting("database_connections", "HEADCOUNT_DATABASE_CONNECTIONS", "8"),
    rule("tolerance", "HEADCOUNT_TOLERANCE", "default", "5m, for WorkOS 3m"),
    setting("log", "HEADCOUNT_LOG", "info"),
    rule("log_format", "HEADCOUNT_LOG_FORMAT", "auto", "text on a terminal, else json"),
];

/// The effective configuration.
pub struct Config {
    pub database: DatabaseUrl,
    /// Whether nobody has named a database.
    pub database_is_default: bool,
    /// Where a `.env` file has named the database for the application: its schema is changed only where somebody says so.
    pub database_of_env_file: Option<String>,
    /// A direct connection for migrations, where the other goes through a pooler.
    pub migrate_database: Option<DatabaseUrl>,
    /// Whether `serve` creates and upgrades the tables.
    pub migrate: bool,
    pub listen: SocketAddr,
    pub admin: AdminSettings,
    pub on_delete: OnDelete,
    /// The time in which a wrong deletion can be undone.
    pub erase_after_ms: i64,
    /// `None` where nobody has said: then the database's own list stands.
    pub required_fields: Option<Vec<String>>,
    pub resync: ResyncSettings,
    /// Of sources with settings of their own.
    pub resync_by_source: BTreeMap<String, ResyncSettings>,
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
    pub entries: Vec<LayerEntry>,
    /// What looks like a mistake but stops nothing.
    pub warnings: Vec<String>,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    /// Whether nobody has said where.
    pub listen_is_default: bool,
    /// `None` where it is to be made.
    pub token: Option<SecretString>,
    pub app_token: Option<SecretString>,
    /// Further names that it is asked for by.
    pub hosts: Vec<String>,
    /// How long `ensure` waits for a provider.
    pub ensure_timeout_ms: i64,
}

/// What becomes of a deleted user's row, once `erase_after_ms` is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    Keep,
    Anonymize,
    Remove,
}

/// How sources are read.
#[derive(Clone, Debug)]
pub struct ResyncSettings {
    pub schedule: Schedule,
    pub poll: PollSetting,
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
        let mut layers = Layers::load(flags, environment, file)?;
        let admin = admin(&mut layers)?;
        let database = layers.value("database_url")?;
        let connections_max = values::connections(&layers.value("database_connections")?)?;
        let parsed = |value: &layers::Value| {
            let url = DatabaseUrl::parse(&value.text);
            let url = url.map_err(|error| ConfigError(format!("{}: {error}", value.name())))?;
            Ok::<_, ConfigError>(url.over_connections(connections_max))
        };
        let migrate_database = layers.value("migrate_database_url")?;
        let required = layers.value("required_fields")?;
        let port_is_dictated = environment.of_process_alone("PORT").is_some();
        let resync = ResyncSettings {
            schedule: values::schedule(&layers.value("resync_schedule")?)?,
            poll: values::poll(&layers.value("poll")?)?,
            rate_share: values::share(&layers.value("rate_share")?)?,
            confirm_after_ms: values::duration_ms(&layers.value("confirm_after")?)?,
            max_delete: values::sweep_limit(&layers.value("max_delete")?)?,
            silence_after_ms: values::duration_ms(&layers.value("silence_after")?)?,
        };
        let found = sources::read(environment, &layers, &resync)?;
        layers.warnings.extend(found.warnings);
        let mut sources = found.sources;
        let mut entries = layers.entries()?;
        let listen = listen(&layers, environment, &mut entries)?;
        entries.extend(found.entries);
        let parsed_database = parsed(&database)?;
        layers.warnings.extend(parsed_database.notes().iter().cloned());
        let (mut users, users_entries) = users::read(&layers, &parsed_database, &sources)?;
        entries.extend(users_entries);
        layers.warnings.extend(users::self_written(&users, &sources));
        users::keep_mapped(&users, &mut sources);
        if users.authority.order.is_empty() {
            users.authority.order = sources.iter().map(|source| source.name.clone()).collect();
        }
        Ok(Self {
            database: parsed_database,
            database_is_default: database.origin == Origin::Default,
            database_of_env_file: match &database.origin {
                Origin::EnvFile { name, .. } if name.starts_with(COMMON_DATABASE_VARIABLE) => {
                    Some(database.origin.to_string())
                }
                _ => None,
            },
            migrate_database: match migrate_database.text.as_str() {
                "" => None,
                _ => Some(parsed(&migrate_database)?),
            },
            migrate: values::one_of(&layers, "migrate", &[("auto", true), ("off", false)])?,
            listen,
            admin,
            on_delete: values::one_of(
                &layers,
                "on_delete",
                &[("keep", OnDelete::Keep), ("anonymize", OnDelete::Anonymize), ("remove", OnDelete::Remove)],
            )?,
            erase_after_ms: values::duration_ms(&layers.value("erase_after")?)?,
            required_fields: (required.origin != Origin::Default).then(|| values::list(&required.text)),
            resync,
            resync_by_source: found.resync_by_source,
            delete_limit: values::delete_limit(&layers.value("max_delete_delivered")?)?,
            inbox_retention_ms: values::duration_ms(&layers.value("inbox_retention")?)?,
            body_bytes_max: values::bytes(&layers.value("max_body")?)?,
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

    /// The configured sources, as the database is told of them.
    pub fn named_sources(&self) -> Vec<NamedSource> {
        let named = |source: &Source| NamedSource {
            name: source.name.clone(),
            kind: source.provider.kind().to_owned(),
            shares_ids: source.link_by.contains(&LinkRule::SharedId),
            links_by_address: source.links_by_address(),
        };
        self.sources.iter().map(named).collect()
    }

    /// What is kept for a while: each with its period as people write it.
    pub fn retentions(&self) -> impl Iterator<Item = (Retention, String)> {
        retention::ALL.into_iter().map(|kept| {
            let period = match kept.period {
                Period::Fixed(period_ms) => retention::in_days(period_ms),
                Period::Setting(key) => self.shown(key),
            };
            (kept, period)
        })
    }

    /// A setting's value as `headcount config` shows it.
    fn shown(&self, key: &str) -> String {
        let variable = SETTINGS.iter().find(|setting| setting.key == key).map(|setting| setting.variable);
        let entry = self.entries.iter().find(|entry| Some(entry.name.as_str()) == variable);
        entry.map(|entry| entry.value.clone()).unwrap_or_default()
    }

    /// How a source is read: as all are, but for what it has settings of its own for.
    pub fn resync_of(&self, source: &str) -> &ResyncSettings {
        self.resync_by_source.get(source).unwrap_or(&self.resync)
    }
}

/// `0.0.0.0:$PORT` where only the host has said where to listen.
fn listen(
    layers: &Layers,
    environment: &Environment,
    entries: &mut [LayerEntry],
) -> Result<SocketAddr, ConfigError> {
    let given = layers.value("listen")?;
    let port = environment.of_process_alone("PORT").filter(|_| given.origin == Origin::Default);
    let Some(port) = port else { return address(&given.text, &given.name(), "127.0.0.1:8787") };
    let text = format!("0.0.0.0:{port}");
    for entry in entries.iter_mut().filter(|entry| entry.name == given.variable) {
        (entry.value, entry.origin) = (text.clone(), "PORT".to_owned());
    }
    address(&text, "PORT", "8787")
}

fn address(text: &str, name: &str, such_as: &str) -> Result<SocketAddr, ConfigError> {
    text.parse()
        .map_err(|_| ConfigError(format!("{name} is `{text}`; it must be ADDRESS:PORT, such as {such_as}")))
}

fn admin(layers: &mut Layers) -> Result<AdminSettings, ConfigError> {
    let listen = layers.value("admin_listen")?;
    let mut token = |key| -> Result<Option<SecretString>, ConfigError> {
        let value = layers.value(key)?;
        if (1..TOKEN_BYTES_MIN).contains(&value.text.len()) {
            layers.warnings.push(format!(
                "{} is shorter than {TOKEN_BYTES_MIN} characters and may be guessed; `openssl rand -hex 32` makes one",
                value.name()
            ));
        }
        Ok((!value.text.is_empty()).then(|| value.text.into()))
    };
    let (admin_token, app_token) = (token("admin_token")?, token("app_token")?);
    let same = |(a, b): (&SecretString, &SecretString)| a.expose_secret() == b.expose_secret();
    if admin_token.as_ref().zip(app_token.as_ref()).is_some_and(same) {
        return Err(ConfigError(
            "HEADCOUNT_APP_TOKEN is HEADCOUNT_ADMIN_TOKEN: the application could do everything; set another one".into(),
        ));
    }
    Ok(AdminSettings {
        listen: address(&listen.text, &listen.name(), "127.0.0.1:8788")?,
        listen_is_default: listen.origin == Origin::Default,
        token: admin_token,
        app_token,
        hosts: values::list(&layers.value("admin_hosts")?.text),
        ensure_timeout_ms: values::duration_ms(&layers.value("ensure_timeout")?)?,
    })
}

/// What applications call their database's URL.
pub(crate) const COMMON_DATABASE_VARIABLE: &str = "DATABASE_URL";
/// Of a token: what is shorter can be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;
