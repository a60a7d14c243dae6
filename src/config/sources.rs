//! Which sources there are: one for each provider whose variables are set, and those of the file. What the variables
//! are called, the provider says.

use super::api_url::{api_url, is_loopback};
use super::described::{DESCRIBED_KEYS, described, texts};
use super::environment::Environment;
use super::layers::{LayerEntry, Layers};
use super::own_table::{own_table, table_access};
use super::source_name::check_name;
use super::{ConfigError, ResyncSettings, values};
use crate::core::brake::DeleteLimit;
use crate::core::link::LinkRule;
use crate::live::Live;
use crate::nearest::nearest_name;
use crate::source::http::ApiAccess;
use crate::source::setup::{ConfiguredBy, Setup, Variables};
use crate::source::signature::{KEY_BYTES_MIN, SigningKey, Tolerance};
use crate::source::standard::KIND as DESCRIBED;
use crate::source::{KINDS, Provider, Source, TableAccess, path_mistake, provider, providers};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys of `[sources.NAME]`, whatever its kind.
const KEYS: [&str; 22] = [
    "kind",
    "webhook_secret_env",
    "webhook_secret_file",
    "api_key_env",
    "api_key_file",
    "api_url",
    "database_url_env",
    "database_url_file",
    "database_table",
    "database_columns",
    "instance",
    "share_ids",
    "link_verified_emails",
    "trust_verified_emails",
    "resync_schedule",
    "poll",
    "rate_share",
    "silence_after",
    "max_delete",
    "max_delete_delivered",
    "tolerance",
    "keep",
];

/// What the configuration says of sources.
#[derive(Default)]
pub struct FoundSource {
    pub sources: Vec<Source>,
    /// Of those with settings of their own.
    pub resync_by_source: BTreeMap<String, ResyncSettings>,
    pub entries: Vec<LayerEntry>,
    pub warnings: Vec<String>,
}

/// A source as it is written down.
struct Written {
    name: String,
    provider: Arc<dyn Provider>,
    configured_by: ConfiguredBy,
    webhook_secret: Option<String>,
    api_key: Option<String>,
    api_url: Option<String>,
    table: Option<TableAccess>,
    instance: Option<String>,
    link_by: Vec<LinkRule>,
    trusts_verified: bool,
    delete_limit: Option<DeleteLimit>,
    tolerance: Tolerance,
    /// What may be stored besides what the provider and the mappings name.
    keep: Vec<String>,
    /// What an error calls the secret, the key and the URL.
    secret_name: String,
    key_name: String,
    url_name: String,
}

pub fn read(
    environment: &Environment,
    layers: &Layers,
    resync: &ResyncSettings,
) -> Result<FoundSource, ConfigError> {
    let mut found = FoundSource::default();
    let tolerance = values::tolerance(&layers.value("tolerance")?)?;
    for provider in providers() {
        if let Setup::Variables(variables) = provider.setup() {
            from_variables(provider, variables, environment, tolerance, &mut found)?;
        }
    }
    for (name, table) in layers.source_tables()? {
        let source = from_table(&name, table, layers, tolerance, &mut found)?;
        found.sources.push(source);
        found.entries.push(redacted(&format!("sources.{name}"), &layers.path.display().to_string()));
        if let Some(own) = own_settings(&name, table, layers, resync)? {
            found.resync_by_source.insert(name, own);
        }
    }
    found.warnings.extend(shared_secrets(&found.sources));
    Ok(found)
}

fn from_variables(
    provider: Arc<dyn Provider>,
    variables: &Variables,
    environment: &Environment,
    tolerance: Tolerance,
    found: &mut FoundSource,
) -> Result<(), ConfigError> {
    let secret = environment.secret(variables.webhook_secret.name)?;
    let api_key = environment.secret(variables.api_key.name)?;
    for (variable, value) in [(&variables.webhook_secret, &secret), (&variables.api_key, &api_key)] {
        if let Some((_, origin)) = value {
            found.entries.push(redacted(variable.name, &origin.to_string()));
        }
    }
    let url_name = variables.api_url.name.to_owned();
    let given_url = environment.find(&url_name);
    if let Some((url, origin)) = &given_url {
        found.entries.push(LayerEntry {
            name: url_name.clone(),
            value: (*url).to_owned(),
            origin: origin.to_string(),
        });
    }
    let api_url = given_url.map(|(url, _)| url.trim().to_owned());
    let database = match &variables.database_url {
        Some(variable) => environment.secret(variable.name)?.map(|found| (variable.name, found)),
        None => None,
    };
    let table = match database {
        Some((name, (url, origin))) => {
            found.entries.push(redacted(name, &origin.to_string()));
            Some(table_access(url, None, BTreeMap::new(), name)?)
        }
        None => None,
    };
    if secret.is_none() && api_key.is_none() && table.is_none() {
        return Ok(());
    }
    let written = Written {
        name: provider.kind().to_owned(),
        provider,
        configured_by: ConfiguredBy::Variables,
        webhook_secret: secret.map(|(secret, _)| secret),
        api_key: api_key.map(|(key, _)| key),
        api_url,
        table,
        instance: None,
        link_by: vec![LinkRule::ExternalId],
        trusts_verified: true,
        delete_limit: None,
        tolerance,
        keep: Vec::new(),
        secret_name: variables.webhook_secret.name.to_owned(),
        key_name: variables.api_key.name.to_owned(),
        url_name,
    };
    let source = source(written, &mut found.warnings)?;
    found.sources.push(source);
    Ok(())
}

fn redacted(name: &str, origin: &str) -> LayerEntry {
    LayerEntry { name: name.to_owned(), value: "***".to_owned(), origin: origin.to_owned() }
}

/// The provider of the table's kind.
fn kind_of(table: &toml::Table, of: &str, layers: &Layers) -> Result<Arc<dyn Provider>, ConfigError> {
    let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or_default();
    let mut known: Vec<&str> = KEYS.to_vec();
    if kind == DESCRIBED {
        known.extend(DESCRIBED_KEYS);
    }
    let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
    layers.check_known(table, of, &known)?;
    if kind == DESCRIBED {
        return Ok(Arc::new(described(table, of, layers)?));
    }
    provider(kind).ok_or_else(|| {
        let kinds: Vec<String> = KINDS.into_iter().chain([DESCRIBED]).map(str::to_owned).collect();
        let advice = format!(
            "is `{kind}`; the nearest known kind is `{}`, and there are {}",
            nearest_name(&kinds, kind),
            kinds.join(", ")
        );
        layers.error(&format!("{of}kind"), &advice)
    })
}

fn from_table(
    name: &str,
    table: &toml::Table,
    layers: &Layers,
    tolerance: Tolerance,
    found: &mut FoundSource,
) -> Result<Source, ConfigError> {
    let of = format!("sources.{name}.");
    let provider = kind_of(table, &of, layers)?;
    check_name(name, provider.kind(), layers, &found.sources)?;
    let webhook_secret = layers.secret_in(table, "webhook_secret", &of)?;
    let api_key = layers.secret_in(table, "api_key", &of)?;
    let own_table = own_table(table, &of, &*provider, layers)?;
    if webhook_secret.is_none() && api_key.is_none() && own_table.is_none() {
        let advice = match provider.table() {
            Some(_) => "has neither webhook_secret_env, api_key_env nor database_url_env",
            None => "has neither webhook_secret_env nor api_key_env",
        };
        return Err(layers.error(&format!("sources.{name}"), advice));
    }
    if api_key.is_some() && provider.directory().is_none() {
        return Err(layers.error(&format!("{of}api_key"), "is of no use: this kind has no API to be read"));
    }
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(layers.error(&format!("{of}{key}"), "must be a text")),
    };
    let truth = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(toml::Value::Boolean(truth)) => Ok(Some(*truth)),
        Some(_) => Err(layers.error(&format!("{of}{key}"), "must be true or false")),
    };
    let mut link_by = vec![LinkRule::ExternalId];
    for rule in [LinkRule::SharedId, LinkRule::SharedExternalId, LinkRule::VerifiedEmail] {
        if rule.setting().map(truth).transpose()?.flatten() == Some(true) {
            link_by.push(rule);
        }
    }
    // Of a provider that nobody here has looked at, "verified" means something only where somebody says so.
    let links_by_address = link_by.contains(&LinkRule::VerifiedEmail);
    let trusted = links_by_address || provider.kind() != DESCRIBED;
    let trusts_verified = truth("trust_verified_emails")?.unwrap_or(trusted);
    if links_by_address && !trusts_verified {
        return Err(layers.error(
            &format!("{of}link_verified_emails"),
            "cannot be true while trust_verified_emails is false: an address that is not trusted links nobody",
        ));
    }
    let limit = layers.value_in(table, "max_delete_delivered", &of)?;
    let own_tolerance = layers.value_in(table, "tolerance", &of)?;
    let keep = texts(table.get("keep"));
    let keep = keep.ok_or_else(|| layers.error(&format!("{of}keep"), "must be a list of paths"))?;
    if let Some(mistake) = keep.iter().find_map(|path| path_mistake(path)) {
        return Err(layers.error(&format!("{of}keep"), mistake));
    }
    let written = Written {
        name: name.to_owned(),
        provider,
        configured_by: ConfiguredBy::File(layers.path.display().to_string()),
        webhook_secret,
        api_key,
        api_url: text("api_url")?,
        table: own_table,
        instance: text("instance")?,
        link_by,
        trusts_verified,
        delete_limit: limit.as_ref().map(values::delete_limit).transpose()?,
        tolerance: own_tolerance.as_ref().map(values::tolerance).transpose()?.unwrap_or(tolerance),
        keep,
        secret_name: format!("{of}webhook_secret"),
        key_name: format!("{of}api_key"),
        url_name: format!("{of}api_url"),
    };
    source(written, &mut found.warnings)
}

/// How the source is read, where its table says anything about that.
fn own_settings(
    name: &str,
    table: &toml::Table,
    layers: &Layers,
    all: &ResyncSettings,
) -> Result<Option<ResyncSettings>, ConfigError> {
    let mut own = all.clone();
    let of = format!("sources.{name}.");
    let value = |key| layers.value_in(table, key, &of);
    let mut any = false;
    if let Some(value) = value("resync_schedule")? {
        (own.schedule, any) = (values::schedule(&value)?, true);
    }
    if let Some(value) = value("poll")? {
        (own.poll, any) = (values::poll(&value)?, true);
    }
    if let Some(value) = value("rate_share")? {
        (own.rate_share, any) = (values::share(&value)?, true);
    }
    if let Some(value) = value("silence_after")? {
        (own.silence_after_ms, any) = (values::duration_ms(&value)?, true);
    }
    if let Some(value) = value("max_delete")? {
        (own.max_delete, any) = (values::sweep_limit(&value)?, true);
    }
    Ok(any.then_some(own))
}

fn source(written: Written, warnings: &mut Vec<String>) -> Result<Source, ConfigError> {
    let provider = written.provider;
    let secrets = written.webhook_secret.as_deref().unwrap_or_default();
    let webhook_keys = provider.keys(secrets).map_err(|error| {
        ConfigError(format!(
            "{} is no signing secret: {error}; copy it from the endpoint's page in the provider's dashboard",
            written.secret_name
        ))
    })?;
    if webhook_keys.iter().any(SigningKey::is_weak) {
        warnings.push(format!(
            "{} has a secret of fewer than {KEY_BYTES_MIN} bytes: whoever guesses it forges deliveries, with deletions and \
             bans among them; `openssl rand -hex 32` makes one",
            written.secret_name
        ));
    }
    let directory = provider.directory();
    let default_url = directory.and_then(|directory| directory.default_url());
    let api = match written.api_key {
        Some(key) => {
            let mistaken = directory.and_then(|directory| directory.mistaken_key(&key));
            let mistaken = mistaken.or_else(|| {
                let is_plain = key.chars().all(|c| c.is_ascii_graphic() || c == ' ');
                (!is_plain).then_some("no API key: a character in it is not ASCII; copy it once more")
            });
            if let Some(mistaken) = mistaken {
                return Err(ConfigError(format!("{} is {mistaken}", written.key_name)));
            }
            let url = written.api_url.as_deref().or(default_url).ok_or_else(|| {
                ConfigError(format!(
                    "{} is missing: the API of each project has an address of its own",
                    written.url_name
                ))
            })?;
            let url = api_url(url, &written.url_name)?;
            if url.scheme() == "http" && !is_loopback(&url) {
                warnings.push(format!(
                    "{} is reached by http: who reads the network between here and {} reads the API key",
                    written.url_name,
                    url.host_str().unwrap_or_default()
                ));
            }
            Some(ApiAccess { url, key: Live::new(key.into()) })
        }
        None => None,
    };
    let mut keep = provider.keeps();
    written.keep.iter().for_each(|path| keep.add(path));
    Ok(Source {
        name: written.name,
        keep: Arc::new(keep),
        provider,
        configured_by: written.configured_by,
        webhook_keys: Live::new(webhook_keys),
        tolerance: written.tolerance,
        api,
        table: written.table,
        instance: written.instance,
        link_by: written.link_by,
        trusts_verified: written.trusts_verified,
        delete_limit: written.delete_limit,
    })
}

/// What one source signs would be taken for another's.
fn shared_secrets(sources: &[Source]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (n, source) in sources.iter().enumerate() {
        for other in &sources[..n] {
            let (ours, theirs) = (source.webhook_keys.get(), other.webhook_keys.get());
            let shares = ours.iter().any(|key| theirs.iter().any(|one| one.is(key)));
            if shares {
                warnings.push(format!(
                    "sources {} and {} have the same webhook secret: what is sent to one could be sent to the other; \
                     give each endpoint a secret of its own",
                    other.name, source.name
                ));
            }
        }
    }
    warnings
}
