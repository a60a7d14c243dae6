//! The loop that applies what lies in the inbox.

use crate::core::retry_policy::PROCESS;
use crate::reconcile::{Deliveries, DeliveriesOutcome};
use crate::retry::Backoff;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// Between two looks at the inbox when no signal comes: other processes write it too, and what failed is due again
/// at its own time.
const POLL_MIN: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_secs(1);
/// After so few deliveries hardly any is left to look for.
const FEW: usize = 16;

/// Applies until `stop`; the batch under way is finished first. `stored` wakes it, or another one where it is busy: a hint,
/// the tables are the truth.
pub async fn run_applier(deliveries: Arc<Deliveries>, stored: Arc<Notify>, stop: CancellationToken) {
    let mut poll = POLL_MIN;
    let mut backoff = Backoff::new(&PROCESS, &deliveries.clock);
    while !stop.is_cancelled() {
        // Registered before the look, so that no signal falls between the two: a future that was not polled is not.
        let mut signal = pin!(stored.notified());
        signal.as_mut().enable();
        let wait = match deliveries.apply_batch().await {
            Ok(DeliveriesOutcome { claimed: 0, .. }) => {
                backoff.reset();
                let wait = poll;
                poll = (poll * 2).min(POLL_MAX);
                wait
            }
            Ok(applied) => {
                backoff.reset();
                poll = POLL_MIN;
                if applied.claimed as i64 >= deliveries.batch_max {
                    stored.notify_one();
                }
                report(applied);
                if applied.claimed > FEW {
                    continue;
                }
                // What has come meanwhile has signalled, or is found by the next poll.
                POLL_MIN
            }
            Err(failure) => {
                if failure.is_transient() {
                    warn!("a batch could not be applied and is tried again: {failure}");
                } else {
                    error!("a batch cannot be applied: {failure}");
                }
                backoff.next_delay()
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = signal => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn report(applied: DeliveriesOutcome) {
    debug!(batch.claimed = applied.claimed, batch.finished = applied.finished, "applied a batch");
    if applied.dead > 0 {
        warn!(
            batch.dead = applied.dead,
            "deliveries became dead letters; `headcount events list --status dead` shows why"
        );
    }
    if applied.partial > 0 {
        warn!(
            batch.partial = applied.partial,
            "the application's constraints keep values out of rows; they are tried again, and `headcount status` shows them"
        );
    }
    if applied.held > 0 {
        warn!(batch.held = applied.held, "deletions are held; see `headcount events list --status held`");
    }
    if applied.retried > 0 {
        warn!(
            batch.retried = applied.retried,
            "the database refuses rows, which are tried again; `headcount events list --status pending` shows why"
        );
    }
}
