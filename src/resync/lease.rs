//! One runner at a time: a lease that is renewed while there is work, and runs out when its holder dies.

use super::ResyncError;
use crate::store::{Store, StoreError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long a lease outlives its holder.
const TTL_MS: i64 = 10_000;
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Between two looks at a lease that may be a dead process's.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Held until it is dropped or released.
pub struct Lease {
    store: Store,
    name: String,
    holder: String,
    renewing: JoinHandle<()>,
    /// Cancelled when the lease is somebody else's.
    lost: CancellationToken,
}

impl Lease {
    /// `None` where somebody else holds it.
    pub(super) async fn acquire(store: &Store, name: &str, holder: &str) -> Result<Option<Self>, StoreError> {
        if store.lease(name, holder, TTL_MS).await?.is_some() {
            return Ok(None);
        }
        let lost = CancellationToken::new();
        let renewing = tokio::spawn(renew(store.clone(), name.to_owned(), holder.to_owned(), lost.clone()));
        let (store, name, holder) = (store.clone(), name.to_owned(), holder.to_owned());
        Ok(Some(Self { store, name, holder, renewing, lost }))
    }

    /// Waits where the holder may have died: until its lease has run out. `None` where it is renewed meanwhile.
    pub async fn acquire_patiently(
        store: &Store,
        name: &str,
        holder: &str,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, ResyncError> {
        let mut before_ms = i64::MAX;
        loop {
            if let Some(lease) = Self::acquire(store, name, holder).await? {
                return Ok(Some(lease));
            }
            let left_ms = store.lease(name, holder, TTL_MS).await?.unwrap_or(0);
            if left_ms > before_ms {
                return Ok(None);
            }
            before_ms = left_ms;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(ResyncError::Stopped),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Cancelled when somebody else has it.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Gives it back, so that the next one need not wait until it runs out.
    pub async fn release(self) -> Result<(), StoreError> {
        self.renewing.abort();
        self.store.release(&self.name, &self.holder).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(store: Store, name: String, holder: String, lost: CancellationToken) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match store.lease(&name, &holder, TTL_MS).await {
            Ok(None) => {}
            Ok(Some(_)) => {
                warn!(lease.name = name, "another process has taken over");
                lost.cancel();
                return;
            }
            // Until it has run out there is time to try again; then whoever takes it is met at the next commit.
            Err(error) => warn!(lease.name = name, "the lease could not be renewed: {error}"),
        }
    }
}
