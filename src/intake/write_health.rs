//! Whether this process can write to its database: known from what it last wrote, and tried where it had nothing to write.

use crate::clock::Clock;
use crate::store::Store;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A write that is longer ago says nothing any more.
const KNOWN_FOR: Duration = Duration::from_secs(15);
/// After so long without a write one is tried.
const TRY_AFTER: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longer than SQLite waits for another process, so that it is SQLite that says so.
const TRY_TIMEOUT: Duration = Duration::from_secs(7);
const NO_ANSWER: &str = "the database does not answer a write";
/// What is tried after a failure is as large as a large delivery: on a full disk there may be room for less.
const PADDING_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy)]
struct LastWrite {
    at: Instant,
    outcome: WriteResult,
}

/// What a write came to: why it failed, in words for anybody.
pub type WriteResult = Result<(), &'static str>;

/// What this process knows about writing.
#[derive(Default)]
pub struct WriteHealth(Mutex<Option<LastWrite>>);

impl WriteHealth {
    /// A write has come to this.
    pub fn note(&self, outcome: WriteResult) {
        let last = LastWrite { at: Instant::now(), outcome };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// Good where the last write succeeded and is not long ago; else the reason.
    pub fn can_write(&self) -> WriteResult {
        self.could_write(Instant::now())
    }

    fn could_write(&self, now: Instant) -> WriteResult {
        match self.last() {
            Some(LastWrite { outcome: Err(why), .. }) => Err(why),
            Some(last) if now - last.at < KNOWN_FOR => Ok(()),
            _ => Err(NO_ANSWER),
        }
    }

    fn last(&self) -> Option<LastWrite> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes beside the rest a write is to have that is tried now; `None` where none is due.
    fn due(&self, now: Instant) -> Option<usize> {
        match self.last() {
            Some(last) if last.outcome.is_ok() => (now - last.at >= TRY_AFTER).then_some(0),
            Some(_) => Some(PADDING_BYTES),
            None => Some(0),
        }
    }
}

/// Tries to write where nothing was written for a while, until `stop`.
pub async fn run_write_health(
    store: Store,
    health: Arc<WriteHealth>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let process = clock.fresh_id();
    let mut was_told = false;
    loop {
        if let Some(padding_bytes) = health.due(Instant::now()) {
            let beat = timeout(TRY_TIMEOUT, store.beat(&process, padding_bytes)).await;
            health.note(match &beat {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.why_no_writes()),
                Err(_) => Err(NO_ANSWER),
            });
            match (beat, was_told) {
                (Ok(Ok(())), true) => {
                    info!("the database takes writes again");
                    was_told = false;
                }
                (Ok(Err(error)), false) => {
                    warn!("the database takes no writes, so that this process is not ready: {error}");
                    was_told = true;
                }
                (Err(_), false) => {
                    warn!("the database does not answer a write, so that this process is not ready");
                    was_told = true;
                }
                _ => {}
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_of_late_that_succeeded_says_that_one_can_write() {
        let health = WriteHealth::default();
        assert_eq!(health.can_write(), Err(NO_ANSWER), "nothing is known yet");
        assert_eq!(health.due(Instant::now()), Some(0));
        health.note(Ok(()));
        let now = Instant::now();
        assert_eq!(health.can_write(), Ok(()));
        assert_eq!(health.due(now), None);
        assert_eq!(health.could_write(now + TRY_AFTER), Ok(()));
        assert_eq!(health.due(now + TRY_AFTER), Some(0));
        assert_eq!(health.could_write(now + KNOWN_FOR), Err(NO_ANSWER), "that was long ago");
        health.note(Err("the disk is full"));
        assert_eq!(health.can_write(), Err("the disk is full"));
        assert_eq!(health.due(now), Some(PADDING_BYTES), "a small write may fit where a delivery does not");
    }
}
