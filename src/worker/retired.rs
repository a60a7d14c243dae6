//! Which sources are retired: asked of the database now and then, so that an operator's word holds in every process.

use crate::store::{Store, StoreError};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The names of the retired sources, as of the last look.
#[derive(Clone, Default)]
pub struct Retired(Arc<RwLock<BTreeSet<String>>>);

impl Retired {
    pub fn has(&self, source: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(source)
    }

    pub async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let found = store.retired_sources().await?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }
}

/// Looks again and again, until `stop`.
pub async fn run_retired(store: Store, retired: Retired, stop: CancellationToken) {
    let mut is_failing = false;
    while !stop.is_cancelled() {
        let looked = retired.look(&store).await;
        if let (Err(error), false) = (&looked, is_failing) {
            warn!("which sources are retired cannot be told: {error}");
        }
        is_failing = looked.is_err();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
