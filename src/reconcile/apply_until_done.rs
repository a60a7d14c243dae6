//! For somebody who has stored deliveries and waits for what becomes of them.

use super::deliveries::Deliveries;
use crate::store::StoreError;
use std::time::Duration;

/// Another process may hold some of them; it is waited for so long, in such steps.
const WAIT_STEP: Duration = Duration::from_millis(50);
const WAITS_MAX: u32 = 200;

impl Deliveries {
    /// Applies until none of these deliveries waits any more, or until what waits waits for its next attempt: message ids
    /// and statuses.
    pub async fn apply_until_done(
        &self,
        source: &str,
        ids: &[String],
    ) -> Result<Vec<(String, String)>, StoreError> {
        let mut waits = 0;
        loop {
            let applied = self.apply_batch().await?;
            if applied.finished > 0 {
                continue;
            }
            let statuses = self.store.statuses(source, ids).await?;
            let statuses: Vec<(String, String)> =
                statuses.into_iter().map(|(id, status, _)| (id, status)).collect();
            let contended = applied.claimed > 0 || statuses.iter().any(|(_, status)| status == "pending");
            if !contended || waits == WAITS_MAX {
                return Ok(statuses);
            }
            waits += 1;
            tokio::time::sleep(WAIT_STEP).await;
        }
    }
}
