//! Whose instance a source's deliveries are of, its API tells: until it was read once, they wait.

use super::pause;
use crate::clock::Clock;
use crate::core::retry_policy::FIRST_READ;
use crate::live::Live;
use crate::resync::{Resync, ResyncError};
use crate::retry::Backoff;
use crate::source::Source;
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The sources that have to be read before their deliveries are applied: those with a key, unless the configuration says
/// which instance they are.
pub fn unread_at_first(sources: &[Source]) -> Live<BTreeSet<String>> {
    let has_to = |source: &&Source| source.is_readable() && source.instance.is_none();
    Live::new(sources.iter().filter(has_to).map(|source| source.name.clone()).collect())
}

/// Keeps `unread` true to what the database says, until `stop`: any process may have read a source. `applied` is told when
/// deliveries need not wait any more.
pub async fn run_first_reads(
    store: Store,
    all: BTreeSet<String>,
    unread: Live<BTreeSet<String>>,
    applied: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut is_failing = false;
    while !stop.is_cancelled() {
        match store.read_sources().await {
            Ok(read) => {
                is_failing = false;
                let now: BTreeSet<String> = all.difference(&read).cloned().collect();
                if *unread.get() != now {
                    unread.set(now);
                    applied.notify_one();
                }
            }
            Err(error) if !std::mem::replace(&mut is_failing, true) => {
                warn!("which sources were read cannot be told: {error}");
            }
            Err(_) => {}
        }
        pause(LOOK_EVERY, &stop).await;
    }
}

/// Reads the source whenever it is among the `unread`, until `stop`.
pub async fn run_first_read(
    store: Store,
    resync: Arc<Resync>,
    unread: Live<BTreeSet<String>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let name = resync.source_name().to_owned();
    let mut backoff = Backoff::new(&FIRST_READ, &clock);
    let mut told = None;
    while !stop.is_cancelled() {
        if !unread.get().contains(&name) {
            backoff.reset();
            pause(LOOK_EVERY, &stop).await;
            continue;
        }
        let failure = match resync.first_read().await {
            Ok(()) => None,
            Err(ResyncError::Stopped | ResyncError::Retired(_)) => {
                pause(LOOK_EVERY, &stop).await;
                continue;
            }
            Err(error) => Some(error.to_string()),
        };
        if let Err(error) = store.note_first_read(&name, failure.as_deref()).await {
            warn!(source.name = name, "the first read of the API cannot be written down: {error}");
        }
        let wait = match &failure {
            None => {
                info!(source.name = name, "the API was read: its deliveries are applied");
                LOOK_EVERY
            }
            Some(failure) => {
                if told.as_ref() != Some(failure) {
                    warn!(source.name = name, "deliveries wait until the API was read once: {failure}");
                }
                backoff.next_delay()
            }
        };
        told = failure;
        pause(wait, &stop).await;
    }
}
