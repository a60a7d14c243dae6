//! What a run had counted before a batch: known at once, or when the batch before it is done.

use crate::store::{Counts, StoreError};
use tokio::sync::oneshot;

/// A run's counts before a batch. Who asks for them waits for the batch before: two batches that are applied beside each
/// other commit in their order, so that progress never says more than what is done.
#[derive(Debug)]
pub struct Before {
    counts: Counts,
    earlier: Option<oneshot::Receiver<Counts>>,
}

impl Before {
    /// `counts`, and what the batch before still counts: it says so when it has committed.
    pub fn after(counts: Counts, earlier: Option<oneshot::Receiver<Counts>>) -> Self {
        Self { counts, earlier }
    }

    /// An error where the batch before was not applied.
    pub(super) async fn counts(&mut self) -> Result<Counts, StoreError> {
        if let Some(earlier) = &mut self.earlier {
            let lost = |_| StoreError::Lost("the page before this one was not applied".to_owned());
            let counted = earlier.await.map_err(lost)?;
            self.counts.add(counted);
            self.earlier = None;
        }
        Ok(self.counts)
    }
}

impl From<Counts> for Before {
    fn from(counts: Counts) -> Self {
        Self { counts, earlier: None }
    }
}
