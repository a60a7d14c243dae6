//! A source is one instance of its provider: a key of another one must not fill or empty its tables.

use super::{Resync, ResyncError};
use crate::source::http::ApiError;
use tracing::warn;

impl Resync {
    /// Pins the source where it is pinned to nothing; an error where the key belongs to another instance.
    pub async fn check_instance(&self) -> Result<(), ResyncError> {
        let directory = self.gate.directory();
        let configured = self.source.instance.clone();
        let pinned = match &configured {
            Some(instance) => Some(instance.clone()),
            None => self.store.source(&self.source.name).await?.instance_id,
        };
        let asked = self.gate.ask(&directory.instance(), |body| directory.read_instance(body)).await;
        let found = match asked {
            Ok((Some(found), _)) => found,
            // A stand-in without that call. Where nothing is pinned, nothing can be mistaken.
            Ok((None, _)) | Err(ResyncError::Api(ApiError::Unexpected { .. })) if pinned.is_none() => {
                warn!(source.name = self.source.name, "the API does not say which instance it is");
                return Ok(());
            }
            Ok((None, _)) => String::from("(unknown)"),
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

    /// The instance that the key belongs to.
    pub async fn instance(&self) -> Result<Option<String>, ResyncError> {
        let directory = self.gate.directory();
        Ok(self.gate.ask(&directory.instance(), |body| directory.read_instance(body)).await?.0)
    }
}
