//! For somebody who has stored deliveries and waits for what becomes of them.

use super::deliveries::Deliveries;
use super::lock_wait::Attempts;
use crate::core::retry_policy::DELIVERIES_AWAITED;
use crate::store::StoreError;

impl Deliveries {
    /// Applies until none of these deliveries waits any more, or until what waits waits for its next attempt: message ids
    /// and statuses.
    pub async fn apply_until_done(
        &self,
        source: &str,
        ids: &[String],
    ) -> Result<Vec<(String, String)>, StoreError> {
        // Another process may hold some of them.
        let mut attempts = Attempts::of(&DELIVERIES_AWAITED);
        attempts.next().await;
        loop {
            let applied = self.apply_batch().await?;
            if applied.finished > 0 {
                continue;
            }
            let statuses = self.store.statuses(source, ids).await?;
            let statuses: Vec<(String, String)> =
                statuses.into_iter().map(|(id, status, _)| (id, status)).collect();
            let contended = applied.claimed > 0 || statuses.iter().any(|(_, status)| status == "pending");
            if !contended || !attempts.next().await {
                return Ok(statuses);
            }
        }
    }
}
