//! Which sources there are: one for each provider whose variables are set, and those of the file.

use super::layers::{Entry, Environment, Layers, nearest};
use super::{ConfigError, values};
use crate::core::link::LinkRule;
use crate::source::http::ApiAccess;
use crate::source::signature::SigningKey;
use crate::source::{PROVIDERS, Source, provider};
use url::{Host, Url};

/// The variables of a provider's own SDKs, which switch a source of its name on.
struct Variables {
    kind: &'static str,
    webhook_secret: &'static str,
    api_key: &'static str,
    api_url: &'static str,
}

const VARIABLES: [Variables; 1] = [Variables {
    kind: "clerk",
    webhook_secret: "CLERK_WEBHOOK_SIGNING_SECRET",
    api_key: "CLERK_SECRET_KEY",
    api_url: "CLERK_API_URL",
}];

/// Keys of `[sources.NAME]`.
const KEYS: [&str; 9] = [
    "kind",
    "webhook_secret_env",
    "webhook_secret_file",
    "api_key_env",
    "api_key_file",
    "api_url",
    "instance",
    "share_ids",
    "link_verified_emails",
];

/// A source as it is written down.
struct Written {
    name: String,
    kind: String,
    webhook_secret: Option<String>,
    api_key: Option<String>,
    api_url: Option<String>,
    instance: Option<String>,
    link_by: Vec<LinkRule>,
    /// What an error calls the secret and the URL.
    secret_name: String,
    url_name: String,
}

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
        let api_url = environment.get(variables.api_url).map(str::to_owned);
        if let Some(url) = &api_url {
            entries.push(Entry {
                name: variables.api_url.to_owned(),
                value: url.clone(),
                origin: variables.api_url.to_owned(),
            });
        }
        if secret.is_some() || api_key.is_some() {
            sources.push(source(Written {
                name: variables.kind.to_owned(),
                kind: variables.kind.to_owned(),
                webhook_secret: secret.map(|(secret, _)| secret),
                api_key: api_key.map(|(key, _)| key),
                api_url,
                instance: None,
                link_by: vec![LinkRule::ExternalId],
                secret_name: variables.webhook_secret.to_owned(),
                url_name: variables.api_url.to_owned(),
            })?);
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
    let webhook_secret = layers.secret_in(table, "webhook_secret", &of)?;
    let api_key = layers.secret_in(table, "api_key", &of)?;
    if webhook_secret.is_none() && api_key.is_none() {
        return Err(
            layers.error(&format!("sources.{name}"), "has neither webhook_secret_env nor api_key_env")
        );
    }
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(layers.error(&format!("{of}{key}"), "must be a text")),
    };
    let truth = |key: &str| match table.get(key) {
        None => Ok(false),
        Some(toml::Value::Boolean(truth)) => Ok(*truth),
        Some(_) => Err(layers.error(&format!("{of}{key}"), "must be true or false")),
    };
    let mut link_by = vec![LinkRule::ExternalId];
    for (key, rule) in [("share_ids", LinkRule::SharedId), ("link_verified_emails", LinkRule::VerifiedEmail)]
    {
        if truth(key)? {
            link_by.push(rule);
        }
    }
    source(Written {
        name: name.to_owned(),
        kind: kind.to_owned(),
        webhook_secret,
        api_key,
        api_url: text("api_url")?,
        instance: text("instance")?,
        link_by,
        secret_name: format!("{of}webhook_secret"),
        url_name: format!("{of}api_url"),
    })
}

fn source(written: Written) -> Result<Source, ConfigError> {
    let kind = &written.kind;
    let provider = provider(kind).ok_or_else(|| ConfigError(format!("`{kind}` is no kind of source")))?;
    let webhook_keys: Result<Vec<SigningKey>, ConfigError> =
        values::list(written.webhook_secret.as_deref().unwrap_or_default())
            .iter()
            .map(|secret| {
                SigningKey::parse(secret).map_err(|error| {
                    ConfigError(format!(
                        "{} is no signing secret: {error}; copy it from the endpoint's page in the provider's dashboard",
                        written.secret_name
                    ))
                })
            })
            .collect();
    let api = match written.api_key {
        Some(key) => {
            let url = written.api_url.as_deref().unwrap_or(provider.directory().default_url());
            Some(ApiAccess { url: api_url(url, &written.url_name)?, key: key.into() })
        }
        None => None,
    };
    let (name, instance) = (written.name, written.instance);
    let link_by = written.link_by;
    Ok(Source { name, provider, webhook_keys: webhook_keys?, api, instance, link_by })
}

/// https, unless on loopback: the key travels in every request.
fn api_url(text: &str, name: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).ok().filter(|url| {
        let loopback = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(domain)) => domain == "localhost",
            None => false,
        };
        url.scheme() == "https" || (url.scheme() == "http" && loopback)
    });
    let bare =
        url.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    bare.ok_or_else(|| {
        ConfigError(format!(
            "{name} must be an https URL without anything secret in it (http on loopback alone)"
        ))
    })
}
