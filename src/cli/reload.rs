//! Secrets whose files have changed are read again, so that a rotation needs no restart.

use super::assembly::tokens;
use super::given::Given;
use crate::config::{Config, ConfigError};
use crate::live::Live;
use crate::source::Source;
use crate::store::{DatabaseUrl, Store};
use crate::web::Tokens;
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// So long after a file has changed its secret counts, at the most.
const EVERY: Duration = Duration::from_secs(5);

/// What holds secrets while the worker runs.
pub struct Reload {
    pub given: Given,
    /// Those that the worker has: their secrets are shared with it.
    pub sources: Vec<Source>,
    pub store: Store,
    pub database: DatabaseUrl,
    /// Absent in a process without the admin listener.
    pub tokens: Option<Live<Tokens>>,
    /// The configuration's tokens as they were, with the one that was made where nobody has set one.
    pub admin: crate::config::AdminSettings,
}

impl Reload {
    /// Looks every few seconds until `stop`. What cannot be read is told once, and the secrets stay as they were.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let given = self.given.clone();
            // Files are read, which may block.
            let read = tokio::task::spawn_blocking(move || given.resolve()).await;
            let failure = match read {
                Ok(Ok(config)) => self.take(&config).err().map(|error| error.to_string()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(failure) = failure.as_ref().filter(|failure| told.as_ref() != Some(*failure)) {
                warn!("the secrets stay as they were, for the configuration cannot be read again: {failure}");
            }
            told = failure;
        }
    }

    fn take(&mut self, config: &Config) -> Result<(), ConfigError> {
        for source in &self.sources {
            let Some(new) = config.sources.iter().find(|new| new.name == source.name) else { continue };
            self.take_keys(source, new);
        }
        if let Some(tokens_now) = &self.tokens {
            let admin = &mut self.admin;
            admin.token = config.admin.token.clone().or(admin.token.take());
            admin.app_token.clone_from(&config.admin.app_token);
            let new = tokens(admin);
            if *tokens_now.get() != new {
                tokens_now.set(new);
                info!("the tokens of the admin listener were read again");
            }
        }
        let differs =
            |a: &DatabaseUrl, b: &DatabaseUrl| a.redacted() == b.redacted() && a.password() != b.password();
        if differs(&self.database, &config.database) {
            self.store.connect_as(&config.database).map_err(|error| ConfigError(error.to_string()))?;
            self.database = config.database.clone();
            info!("the database's password was read again; it counts for new connections");
        }
        Ok(())
    }

    fn take_keys(&self, source: &Source, new: &Source) {
        let (old_keys, new_keys) = (source.webhook_keys.get(), new.webhook_keys.get());
        let are_same =
            old_keys.len() == new_keys.len() && old_keys.iter().zip(&*new_keys).all(|(a, b)| a.is(b));
        // A source that takes deliveries does not stop to by a file.
        if !are_same && !old_keys.is_empty() && !new_keys.is_empty() {
            source.webhook_keys.set(new_keys.to_vec());
            info!(source.name = source.name, "the webhook secrets were read again");
        }
        if let (Some(old), Some(new)) = (&source.api, &new.api)
            && old.key.get().expose_secret() != new.key.get().expose_secret()
        {
            old.key.set((*new.key.get()).clone());
            info!(source.name = source.name, "the API key was read again");
        }
    }
}
