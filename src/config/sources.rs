//! Which sources there are: one for each provider whose variables are set, and those of the file.

use super::layers::{Entry, Environment, Layers, nearest};
use super::{ConfigError, values};
use crate::source::signature::SigningKey;
use crate::source::{PROVIDERS, Source, provider};

/// The variables of a provider's own SDKs, which switch a source of its name on.
struct Variables {
    kind: &'static str,
    webhook_secret: &'static str,
    api_key: &'static str,
}

const VARIABLES: [Variables; 1] = [Variables {
    kind: "clerk",
    webhook_secret: "CLERK_WEBHOOK_SIGNING_SECRET",
    api_key: "CLERK_SECRET_KEY",
}];

/// Keys of `[sources.NAME]`.
const KEYS: [&str; 5] = ["kind", "webhook_secret_env", "webhook_secret_file", "api_key_env", "api_key_file"];

pub fn read(environment: &Environment, layers: &Layers) -> Result<(Vec<Source>, Vec<Entry>), ConfigError> {
    let mut sources = Vec::new();
    let mut entries = Vec::new();
    for variables in &VARIABLES {
        let secret = environment.secret(variables.webhook_secret)?;
        let api_key = environment.secret(variables.api_key)?;
        for (name, value) in [(variables.webhook_secret, &secret), (variables.api_key, &api_key)] {
            if let Some((_, origin)) = value {
                entries.push(redacted(name, &origin.to_string()));
            }
        }
        if secret.is_some() || api_key.is_some() {
            let secret = secret.map(|(secret, _)| secret);
            sources.push(source(
                variables.kind,
                variables.kind,
                secret,
                api_key.is_some(),
                variables.webhook_secret,
            )?);
        }
    }
    for (name, table) in layers.source_tables()? {
        sources.push(from_table(&name, table, layers, &sources)?);
        entries.push(redacted(&format!("sources.{name}"), &layers.path.display().to_string()));
    }
    Ok((sources, entries))
}

fn redacted(name: &str, origin: &str) -> Entry {
    Entry { name: name.to_owned(), value: "***".to_owned(), origin: origin.to_owned() }
}

fn from_table(
    name: &str,
    table: &toml::Table,
    layers: &Layers,
    others: &[Source],
) -> Result<Source, ConfigError> {
    let of = format!("sources.{name}.");
    let plain = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain {
        return Err(layers.error(&format!("sources.{name}"), "must be named with a-z, 0-9 and -"));
    }
    if others.iter().any(|other| other.name == name) {
        return Err(
            layers.error(&format!("sources.{name}"), "is configured twice: its variables are set as well")
        );
    }
    layers.check_known(table, &of, &KEYS.map(str::to_owned))?;
    let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or_default();
    if provider(kind).is_none() {
        let kinds: Vec<String> = PROVIDERS.iter().map(|provider| provider.kind().to_owned()).collect();
        let advice = format!("is `{kind}`; the nearest known kind is `{}`", nearest(kind, &kinds));
        return Err(layers.error(&format!("{of}kind"), &advice));
    }
    let secret = layers.secret_in(table, "webhook_secret", &of)?;
    let api_key = layers.secret_in(table, "api_key", &of)?;
    if secret.is_none() && api_key.is_none() {
        return Err(
            layers.error(&format!("sources.{name}"), "has neither webhook_secret_env nor api_key_env")
        );
    }
    source(name, kind, secret, api_key.is_some(), &format!("{of}webhook_secret"))
}

fn source(
    name: &str,
    kind: &str,
    secret: Option<String>,
    has_api_key: bool,
    secret_name: &str,
) -> Result<Source, ConfigError> {
    let provider = provider(kind).ok_or_else(|| ConfigError(format!("`{kind}` is no kind of source")))?;
    let webhook_keys: Result<Vec<SigningKey>, ConfigError> = values::list(secret.as_deref().unwrap_or_default())
        .iter()
        .map(|secret| {
            SigningKey::parse(secret).map_err(|error| {
                ConfigError(format!(
                    "{secret_name} is no signing secret: {error}; copy it from the endpoint's page in the provider's dashboard"
                ))
            })
        })
        .collect();
    Ok(Source { name: name.to_owned(), provider, webhook_keys: webhook_keys?, has_api_key })
}
