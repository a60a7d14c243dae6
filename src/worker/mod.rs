//! Loops that wake by timer and by signal. They hold no rule: each looks at the tables and calls what has one.

mod applier;
mod calls;
mod first_reads;
mod held;
mod housekeeping;
mod outbox;
mod retired;
mod schedule;
mod strip_stored;

pub use applier::run_applier;
pub use calls::{ErasurePolicy, run_calls};
pub use first_reads::{run_first_read, run_first_reads, unread_at_first};
pub use held::run_held;
pub use housekeeping::{Housekeeping, Refusals, run_housekeeping};
pub use outbox::run_outbox;
pub use retired::{Retired, run_retired};
pub use schedule::{Times, run_confirmations, run_schedule};
pub use strip_stored::run_strip_stored;

use crate::clock::Clock;
use crate::core::retry_policy::PROCESS;
use crate::retry::Backoff;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Runs `work` until it returns; a panic in it is logged and it is started again, so that no loop dies unnoticed.
pub fn supervised<F, W>(name: &'static str, clock: &Arc<dyn Clock>, make: F) -> JoinHandle<()>
where
    F: Fn() -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let mut backoff = Backoff::new(&PROCESS, clock);
    tokio::spawn(async move {
        while let Err(failure) = tokio::spawn(make()).await {
            if failure.is_cancelled() {
                return;
            }
            error!(worker.name = name, "the {name} loop panicked and is started again");
            tokio::time::sleep(backoff.next_delay()).await;
        }
    })
}

/// Waits so long, or until `stop`.
async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
