//! What follows from calls, and from time: users that the application has made by itself are told to the feed, bans end,
//! and those whose time of keeping is over are erased.

use crate::core::retry_policy::PROCESS;
use crate::reconcile::{Calls, ErasedRow};
use crate::retry::Backoff;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ERASE_EVERY: Duration = Duration::from_secs(5);
/// Users that one look takes up.
const SLICE: i64 = 50;

/// When people are erased who were deleted.
#[derive(Clone, Copy, Debug)]
pub struct ErasurePolicy {
    pub erased_row: ErasedRow,
    pub for_ms: i64,
}

/// Looks until `stop`. Without `keeping` deleted users stay as they are.
pub async fn run_calls(calls: Calls, erasure: Option<ErasurePolicy>, stop: CancellationToken) {
    let mut backoff = Backoff::new(&PROCESS, &calls.clock);
    let mut erased_at: Option<Instant> = None;
    while !stop.is_cancelled() {
        let mut wait = LOOK_EVERY;
        match calls.announce(SLICE).await {
            Ok(_) => backoff.reset(),
            Err(failure) => {
                warn!("users that the application has made could not be told to the feed: {failure}");
                wait = backoff.next_delay();
            }
        }
        if let Err(failure) = calls.end_bans(SLICE).await {
            warn!("bans whose time is over could not be ended: {failure}");
        }
        if let Some(erasure) = erasure.filter(|_| erased_at.is_none_or(|at| at.elapsed() >= ERASE_EVERY)) {
            erased_at = Some(Instant::now());
            erase(&calls, erasure, &stop).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn erase(calls: &Calls, erasure: ErasurePolicy, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match calls.erase_ended(erasure.for_ms, erasure.erased_row, SLICE).await {
            Ok(0) => return,
            Ok(count) => {
                info!(users.count = count, "deleted users whose time of keeping is over were erased")
            }
            Err(failure) => {
                warn!("deleted users could not be erased: {failure}");
                return;
            }
        }
    }
}
