//! A source is one instance of its provider: a key of another one must not fill or empty its tables.

use super::walk::{WalkPlace, page};
use super::{Resync, ResyncError};
use crate::source::api_error::ApiError;
use crate::source::directory::Instance;
use tracing::warn;

/// Accounts, of the youngest and of the oldest, that are asked for where nothing else tells the instance; where fewer than
/// the minimum are known, there is little to mistake.
const ACCOUNTS: i64 = 5;
const ACCOUNTS_MIN: usize = 3;

impl Resync {
    /// Pins the source where it is pinned to nothing; an error where the key belongs to another instance.
    pub async fn check_instance(&self) -> Result<(), ResyncError> {
        let configured = self.source.instance.clone();
        let pinned = match &configured {
            Some(instance) => Some(instance.clone()),
            None => self.store.source(&self.source.name).await?.instance_id,
        };
        let found = match self.instance().await {
            Ok(Some(found)) => found,
            Ok(None) if matches!(self.gate.directory().instance(), Instance::Accounts) => {
                return self.check_accounts().await;
            }
            // A stand-in without that call. Where nothing is pinned, nothing can be mistaken.
            Ok(None) | Err(ResyncError::Api(ApiError::Unexpected { .. })) if pinned.is_none() => {
                warn!(source.name = self.source.name, "the API does not say which instance it is");
                return Ok(());
            }
            Ok(None) => String::from("(unknown)"),
            Err(error) => return Err(error),
        };
        let pinned = match (configured, pinned) {
            (Some(instance), _) | (None, Some(instance)) => instance,
            (None, None) => self.store.pin(&self.source.name, &found).await?,
        };
        if pinned == found {
            return Ok(());
        }
        Err(ResyncError::OtherInstance { source_name: self.source.name.clone(), pinned, found })
    }

    /// Reads a little: which instance it is, or else the count or the list.
    pub async fn first_read(&self) -> Result<(), ResyncError> {
        self.check_retired().await?;
        self.check_instance().await?;
        let directory = self.gate.directory();
        if matches!(directory.instance(), Instance::Asked(..)) {
            return Ok(());
        }
        match directory.count() {
            Some(_) => self.gate.count().await.map(|_| ()),
            None => page(&self.gate, &WalkPlace::default()).await.map(|_| ()),
        }
    }

    pub fn source_name(&self) -> &str {
        &self.source.name
    }

    /// The instance that the key belongs to; `None` where nothing says.
    pub async fn instance(&self) -> Result<Option<String>, ResyncError> {
        match self.gate.directory().instance() {
            Instance::Asked(path, read) => Ok(self.gate.ask(path, |answer| read(&answer.body)).await?.0),
            Instance::Address => Ok(self.source.api.as_ref().and_then(|api| {
                let host = api.url.host_str()?;
                Some(api.url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")))
            })),
            Instance::Accounts => Ok(None),
        }
    }

    /// Of the accounts that were heard of since the source was pinned one must be there.
    async fn check_accounts(&self) -> Result<(), ResyncError> {
        let ids = self.store.pinned_accounts(&self.source.name, ACCOUNTS).await?;
        if ids.len() < ACCOUNTS_MIN {
            return Ok(());
        }
        for id in &ids {
            if self.gate.one(id).await?.0.is_some() {
                return Ok(());
            }
        }
        Err(ResyncError::OtherEnvironment(self.source.name.clone()))
    }

    /// Whether nothing is to be asked of the source any more.
    pub async fn is_retired(&self) -> Result<bool, ResyncError> {
        Ok(self.store.source(&self.source.name).await?.retired_at.is_some())
    }

    pub(super) async fn check_retired(&self) -> Result<(), ResyncError> {
        match self.is_retired().await? {
            true => Err(ResyncError::Retired(self.source.name.clone())),
            false => Ok(()),
        }
    }
}
