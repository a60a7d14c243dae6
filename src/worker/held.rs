//! The loop that tries again what the application's constraints have kept out of its rows.

use crate::reconcile::Deliveries;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between two looks: what the application frees by plain SQL nobody tells us.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Looks at a slice of what is held back at a time, until `stop`.
pub async fn run_held(deliveries: Arc<Deliveries>, stop: CancellationToken) {
    let mut after = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
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
