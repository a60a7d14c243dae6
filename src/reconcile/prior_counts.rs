//! What a run had counted before a batch: known at once, or when the batch before it is done.

use crate::store::{Counts, StoreError};
use std::time::Duration;
use tokio::sync::oneshot;

/// As long as a transaction that decides would wait for somebody else's locks.
const LOCKS_HELD_MAX: Duration = Duration::from_secs(2);

/// A run's counts before a batch. Who asks for them waits for the batch before: two batches that are applied beside each
/// other commit in their order, so that progress never says more than what is done.
#[derive(Debug)]
pub struct PriorCounts {
    counts: Counts,
    earlier: Option<oneshot::Receiver<Counts>>,
}

impl PriorCounts {
    /// `counts`, and what the batch before still counts: it says so when it has committed.
    pub fn after(counts: Counts, earlier: Option<oneshot::Receiver<Counts>>) -> Self {
        Self { counts, earlier }
    }

    /// For who holds locks: an error where they would be held for too long, and as [`Self::known`].
    pub(super) async fn counts(&mut self) -> Result<Counts, StoreError> {
        let long = |_| StoreError::LockTimeout("the page before this one takes long".to_owned());
        tokio::time::timeout(LOCKS_HELD_MAX, self.known()).await.map_err(long)?
    }

    /// An error where the batch before was not applied.
    pub(super) async fn known(&mut self) -> Result<Counts, StoreError> {
        if let Some(earlier) = &mut self.earlier {
            let lost = |_| StoreError::Lost("the page before this one was not applied".to_owned());
            let counted = earlier.await.map_err(lost)?;
            self.counts.add(counted);
            self.earlier = None;
        }
        Ok(self.counts)
    }
}

impl From<Counts> for PriorCounts {
    fn from(counts: Counts) -> Self {
        Self { counts, earlier: None }
    }
}
