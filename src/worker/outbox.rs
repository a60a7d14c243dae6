//! The loop that drains a source's outbox.

use super::pause;
use crate::clock::Clock;
use crate::core::retry_policy::PROCESS;
use crate::resync::{Drained, OutboxDrain};
use crate::retry::Backoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two looks into an outbox that was empty.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two looks for whether an outbox has been installed, and for whether another process has stopped draining it.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Drains it until `stop`; `stored` is told of deliveries.
pub async fn run_outbox(
    outbox: Arc<OutboxDrain>,
    stored: Arc<Notify>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let name = outbox.source_name().to_owned();
    let mut backoff = Backoff::new(&PROCESS, &clock);
    while !stop.is_cancelled() {
        match outbox.hold().await {
            Ok(Some(lease)) => {
                backoff.reset();
                let until = lease.lost().clone();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = until.cancelled() => {}
                    () = drain(&outbox, &name, &stored, &clock) => {}
                }
                if let Err(error) = lease.release().await {
                    warn!(source.name = name, "the outbox's lease stays until it runs out: {error}");
                }
            }
            Ok(None) => pause(ASK_EVERY, &stop).await,
            Err(error) => {
                warn!(
                    source.name = name,
                    "whether another process drains the outbox cannot be told: {error}"
                );
                pause(backoff.next_delay(), &stop).await;
            }
        }
    }
}

/// Until it is dropped: between two of its steps, or within one, which leaves notes that are taken again.
async fn drain(outbox: &OutboxDrain, name: &str, stored: &Notify, clock: &Arc<dyn Clock>) {
    let mut backoff = Backoff::new(&PROCESS, clock);
    let mut told = None;
    loop {
        let wait = match outbox.drain().await {
            Ok(drained) => {
                if told.take().is_some() {
                    info!(source.name = name, "the outbox is drained again");
                }
                backoff.reset();
                match drained {
                    Drained::NotInstalled | Drained::Retired => ASK_EVERY,
                    Drained::Nothing => LOOK_EVERY,
                    Drained::Emptied => {
                        stored.notify_one();
                        LOOK_EVERY
                    }
                    Drained::Partly => {
                        stored.notify_one();
                        Duration::ZERO
                    }
                }
            }
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    warn!(source.name = name, "the outbox is not drained: {error}");
                }
                told = Some(error);
                backoff.next_delay()
            }
        };
        tokio::time::sleep(wait).await;
    }
}
