//! The loop that tries again what the application's constraints have kept out of its rows.

use crate::core::retry_policy::HELD_VALUES;
use crate::reconcile::Deliveries;
use crate::retry::Backoff;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Looks at a slice of what is held back at a time, until `stop`.
pub async fn run_held(deliveries: Arc<Deliveries>, stop: CancellationToken) {
    let mut backoff = Backoff::new(&HELD_VALUES, &deliveries.clock);
    let mut after = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
        after = match deliveries.retry_held(after.as_ref()).await {
            Ok(next) => next,
            Err(failure) => {
                warn!("what is held back could not be tried again: {failure}");
                None
            }
        };
    }
}
