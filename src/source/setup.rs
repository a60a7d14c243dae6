//! What an operator sets for a source, and what a message calls it: each provider knows its own variables, and each
//! source knows where it was configured.

use super::directory::{Directory, Unreadable};
use super::http::ApiAccess;
use super::signature::Scheme;
use super::{Provider, Source};

/// How a source of a kind is configured.
#[derive(Clone, Copy)]
pub enum Setup {
    /// By these variables, which switch on a source of the kind's own name.
    Variables(&'static Variables),
    /// By a table of the file alone.
    FileAlone {
        /// Why no variable can do it.
        why: &'static str,
    },
}

/// The variables of a kind, which are those of the provider's own SDKs.
pub struct Variables {
    /// What the provider calls itself.
    pub title: &'static str,
    pub webhook_secret: Variable,
    pub api_key: Variable,
    pub api_url: Variable,
    /// Of the database that has the provider's own table, where an application has one.
    pub database_url: Option<Variable>,
}

/// A variable, and what belongs into it.
pub struct Variable {
    pub name: &'static str,
    /// Such as `the secret key of the instance`.
    pub holds: &'static str,
}

/// Where a source was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfiguredBy {
    /// The variables of its kind.
    Variables,
    /// `[sources.NAME]` of this file.
    File(String),
    /// Nobody: it is known by what was recorded of it.
    Recording,
}

impl Variables {
    /// What to set so that the API can be read. `needs_url` where the API has no address unless one is given.
    fn key_advice(&self, needs_url: bool) -> String {
        let Self { api_key, api_url, .. } = self;
        let mut advice = format!("set {} to {}", api_key.name, api_key.holds);
        if needs_url {
            advice += &format!(", and {} to {}", api_url.name, api_url.holds);
        }
        if let Some(url) = &self.database_url {
            advice += &format!("; or set {} to {}", url.name, url.holds);
        }
        advice
    }

    /// What to set so that there is a source of this kind.
    fn advice(&self, needs_url: bool) -> String {
        let Self { title, webhook_secret: Variable { name, holds }, .. } = self;
        let key = self.key_advice(needs_url);
        format!("For {title}: to take its deliveries, set {name} to {holds}; to read its API, {key}")
    }
}

impl Source {
    /// How the source's API is reached, and what it is asked. The error says what to set.
    pub fn access(&self) -> Result<(&ApiAccess, &'static dyn Directory), Unreadable> {
        let source_name = self.name.clone();
        let Some(directory) = self.provider.directory() else {
            return Err(Unreadable::NoApi { source_name, kind: self.provider.kind() });
        };
        match &self.api {
            Some(access) => Ok((access, directory)),
            None => Err(Unreadable::NoKey { source_name, advice: self.key_advice(directory) }),
        }
    }

    /// Whether its accounts can be read, by an API or in a table. The error says what to set.
    pub fn check_readable(&self) -> Result<(), Unreadable> {
        if self.table.is_some() { Ok(()) } else { self.access().map(|_| ()) }
    }

    /// What to set so that the source can be read.
    fn key_advice(&self, directory: &dyn Directory) -> String {
        let needs_url = directory.default_url().is_none();
        let (key, url) = match self.provider.setup() {
            Setup::Variables(variables) if self.configured_by == ConfiguredBy::Variables => {
                return variables.key_advice(needs_url);
            }
            Setup::Variables(variables) => (variables.api_key.holds, variables.api_url.holds),
            Setup::FileAlone { .. } => ("the API key", "the address of the API"),
        };
        let table = match &self.configured_by {
            ConfiguredBy::File(path) => format!("[sources.{}] of {path}", self.name),
            ConfiguredBy::Variables | ConfiguredBy::Recording => format!("[sources.{}]", self.name),
        };
        let url = if needs_url { format!(", and api_url to {url}") } else { String::new() };
        format!("set api_key_env in {table} to the name of a variable that holds {key}{url}")
    }

    /// What an error calls the source's API key.
    pub fn key_name(&self) -> String {
        match (&self.configured_by, self.provider.setup()) {
            (ConfiguredBy::Variables, Setup::Variables(variables)) => variables.api_key.name.to_owned(),
            _ => format!("the API key of source {}", self.name),
        }
    }

    /// The headers that say who sent a delivery of this source, of every scheme that one of its keys is for.
    pub fn signature_headers(&self) -> String {
        let mut schemes: Vec<_> = self.webhook_keys.get().iter().map(|key| key.scheme).collect();
        schemes.sort_unstable();
        schemes.dedup();
        let names: Vec<&str> = schemes.into_iter().map(Scheme::headers).collect();
        names.join(", ")
    }
}

/// What to set so that there is a source of this kind; `None` where no variable can do it.
pub fn advice(provider: &dyn Provider) -> Option<String> {
    let Setup::Variables(variables) = provider.setup() else { return None };
    let needs_url = provider.directory().is_some_and(|directory| directory.default_url().is_none());
    Some(variables.advice(needs_url))
}

/// What to set so that the API of this kind can be read; `None` where no variable can do it.
pub fn key_advice(provider: &dyn Provider) -> Option<String> {
    let Setup::Variables(variables) = provider.setup() else { return None };
    let needs_url = provider.directory()?.default_url().is_none();
    Some(variables.key_advice(needs_url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Live;
    use crate::source::providers;

    #[test]
    fn a_message_names_the_headers_of_the_sources_own_keys() {
        let headers = |secret: &str| -> Vec<String> {
            let with_key = |provider: std::sync::Arc<dyn Provider>| {
                let webhook_keys = Live::new(provider.keys(secret).unwrap());
                Source { webhook_keys, ..Source::recorded("any", provider) }
            };
            providers().map(|provider| with_key(provider).signature_headers()).collect()
        };
        let standard = "svix-* or webhook-*";
        // A secret of a Supabase auth hook is one of Standard Webhooks as well.
        assert_eq!(
            headers("whsec_AAAA"),
            [standard, "workos-signature", &format!("{standard}, authorization"), standard]
        );
    }

    #[test]
    fn an_address_is_asked_for_where_there_is_none_by_default() {
        for provider in providers() {
            let Setup::Variables(variables) = provider.setup() else { continue };
            let has_address = provider.directory().is_some_and(|directory| directory.default_url().is_some());
            let asked = key_advice(&*provider).unwrap();
            assert_eq!(asked.contains(variables.api_url.name), !has_address, "{asked}");
            assert!(advice(&*provider).unwrap().contains(&asked), "{asked}");
        }
    }
}
