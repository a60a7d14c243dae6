//! The way to a provider's API: at the pace that all replicas share, with patience for its refusals and none for an
//! outage.

use super::ResyncError;
use crate::clock::Clock;
use crate::core::layout::Layout;
use crate::core::rate::Pace;
use crate::core::retry_policy::{BREAKER, BREAKER_FAILURES, REQUEST, RetryPolicy, THROTTLED_REQUEST};
use crate::core::timestamp::Timestamp;
use crate::retry::Backoff;
use crate::source::api_error::ApiError;
use crate::source::directory::{Answer, Directory, Entry, Malformed};
use crate::source::http::Api;
use crate::source::{Kept, Source};
use crate::store::{Grant, Store};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Longer than this nobody waits in a run; it fails, and the next one comes when the time is over.
const PATIENCE_MS_MAX: i64 = 300_000;
/// A grant that was not used for so long is given up: requests do not save up.
const GRANT_IDLE_MAX: Duration = Duration::from_millis(500);
/// After so long the same list that fails counts once more.
const COUNTED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Paths that are remembered as failing.
const FAILING_MAX: usize = 1_000;
/// A block is looked at again after so long at the most: somebody may have lifted it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub struct Gate {
    store: Store,
    source: String,
    keep: Arc<Kept>,
    api: Api,
    pace: Pace,
    granted: Mutex<Option<Granted>>,
    clock: Arc<dyn Clock>,
    requests: AtomicU64,
    throttled: AtomicU64,
    stop: CancellationToken,
    /// What has failed since the last success, and when it was counted.
    failing: StdMutex<HashMap<String, Instant>>,
}

/// What is left of a grant.
struct Granted {
    left: i64,
    next_at: Instant,
    /// The database's time, and ours when we were told it: from there on ours runs along.
    now: Timestamp,
    told_at: Instant,
    failures: i64,
}

/// What a request is about.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// One account: its path.
    One(&'a str),
    /// A list, a count, or the source itself.
    Several(&'a str),
}

impl<'a> Asked<'a> {
    fn path(self) -> &'a str {
        match self {
            Asked::One(path) | Asked::Several(path) => path,
        }
    }
}

/// Leave for one request.
struct Permit {
    at: Instant,
    now: Timestamp,
    told_at: Instant,
    failures: i64,
}

impl Permit {
    /// The read mark. The database told its time before we read ours, so this is never late.
    fn mark(&self) -> Timestamp {
        let since = i64::try_from(self.told_at.elapsed().as_millis()).unwrap_or(0);
        Timestamp::clamped(self.now.ms() + since)
    }
}

/// A policy without jitter, as the limiter's row counts time.
fn delay_ms(policy: &RetryPolicy, failures: u32) -> i64 {
    i64::try_from(policy.delay_ms(failures, 0.0)).unwrap_or(i64::MAX)
}

impl Gate {
    pub(super) fn new(
        store: Store,
        source: &Source,
        api: Api,
        pace: Pace,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            source: source.name.clone(),
            keep: source.keep.clone(),
            api,
            pace,
            granted: Mutex::new(None),
            clock,
            requests: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            stop,
            failing: StdMutex::default(),
        }
    }

    pub(super) fn directory(&self) -> &'static dyn Directory {
        self.api.directory()
    }

    /// What of an account may be kept.
    pub(super) fn keep(&self) -> &Kept {
        &self.keep
    }

    /// The columns that accounts are read for.
    pub(super) fn layout(&self) -> &Layout {
        self.store.layout()
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Requests that were sent, and those of them that were told to come later, since the last call.
    pub(super) fn take_counts(&self) -> (u64, u64) {
        (self.requests.swap(0, Ordering::Relaxed), self.throttled.swap(0, Ordering::Relaxed))
    }

    /// Asks until there is an answer that can be read, or no sense in going on. The answer (`None`: the provider says
    /// that there is no such account), and the request's read mark.
    pub(super) async fn ask<T>(
        &self,
        path: &str,
        read: impl Fn(&Answer) -> Result<T, Malformed>,
    ) -> Result<(Option<T>, Timestamp), ResyncError> {
        self.ask_until(None, Asked::Several(path), read).await
    }

    /// One account, by its id.
    pub(super) async fn one(&self, provider_id: &str) -> Result<(Option<Entry>, Timestamp), ResyncError> {
        let path = self.directory().one(provider_id);
        self.ask_until(None, Asked::One(&path), |answer| self.read_one(answer)).await
    }

    fn read_one(&self, answer: &Answer) -> Result<Entry, Malformed> {
        self.directory().read_one(&answer.body, self.layout(), &self.keep)
    }

    /// How many accounts there are; `None` where the API does not count.
    pub(super) async fn count(&self) -> Result<Option<u64>, ResyncError> {
        let directory = self.directory();
        let Some(path) = directory.count() else { return Ok(None) };
        let mut counted = self.ask(&path, |answer| directory.read_count(answer)).await;
        if let (Err(error), Some(path)) = (&counted, directory.count_otherwise())
            && error.is_of_one_account()
        {
            counted = self.ask(&path, |answer| directory.read_count(answer)).await;
        }
        Ok(Some(counted?.0.unwrap_or(0)))
    }

    /// One account for somebody who waits: until `deadline`, and not at all where the source is left alone for longer.
    pub(super) async fn one_by(
        &self,
        deadline: Instant,
        provider_id: &str,
    ) -> Result<(Option<Entry>, Timestamp), ResyncError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let path = self.directory().one(provider_id);
        let asked = self.ask_until(Some(deadline), Asked::One(&path), |answer| self.read_one(answer));
        match tokio::time::timeout(left, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                // Who hangs is left alone as well, in the end.
                self.failed(Asked::One(&path), &ApiError::Hangs).await?;
                Err(ApiError::Hangs.into())
            }
        }
    }

    async fn ask_until<T>(
        &self,
        deadline: Option<Instant>,
        asked: Asked<'_>,
        read: impl Fn(&Answer) -> Result<T, Malformed>,
    ) -> Result<(Option<T>, Timestamp), ResyncError> {
        let mut backoff = Backoff::new(&REQUEST, &self.clock);
        let (mut attempts, mut throttles) = (0, 0);
        loop {
            let permit = self.acquire(deadline).await?;
            let marked_at = permit.mark();
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(ResyncError::Stopped),
                answer = self.api.get(asked.path()) => answer,
            };
            let read = answer.and_then(|answer| match answer {
                Some(answer) => Ok(Some(read(&answer)?)),
                None => Ok(None),
            });
            match read {
                Ok(answer) => {
                    self.failing().clear();
                    if permit.failures > 0 {
                        self.store.forget_failures(&self.source).await?;
                        self.give_up_grant().await;
                    }
                    return Ok((answer, marked_at));
                }
                Err(ApiError::Throttled { retry_after_ms }) => {
                    throttles += 1;
                    self.throttled(retry_after_ms, throttles).await?;
                }
                Err(error) if error.is_transient() => {
                    // Whoever hangs has had time enough.
                    attempts += if matches!(error, ApiError::Hangs) { 2 } else { 1 };
                    debug!(source.name = self.source, "a request failed, attempt {attempts}: {error}");
                    self.failed(asked, &error).await?;
                    if REQUEST.is_spent(attempts) {
                        return Err(error.into());
                    }
                    self.sleep(backoff.next_delay()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Told to come later: so is everybody else.
    async fn throttled(&self, retry_after_ms: Option<i64>, throttles: u32) -> Result<(), ResyncError> {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        // Where the answer does not say how long: the window of the limit.
        let for_ms = retry_after_ms.unwrap_or_else(|| delay_ms(&THROTTLED_REQUEST, throttles)).max(1);
        let reason = "the API answered 429: others use up its limit as well";
        self.store.block(&self.source, for_ms, reason).await?;
        self.give_up_grant().await;
        if THROTTLED_REQUEST.is_spent(throttles) {
            return Err(ResyncError::ThrottledToDeath(throttles));
        }
        Ok(())
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a failure says anything about the source. That one account cannot be given says so once until something
    /// succeeds, however often it is asked for; the list, which may have such an account on it, says so again after a while.
    fn counts(&self, asked: Asked<'_>, error: &ApiError) -> bool {
        let is_of_the_source = match asked {
            Asked::One(_) => !error.is_of_content(),
            Asked::Several(_) => !error.is_of_content() || error.is_unavailable(),
        };
        if is_of_the_source {
            return true;
        }
        let mut failing = self.failing();
        let counted_at = failing.get(asked.path()).copied();
        let is_old = counted_at.is_some_and(|at| at.elapsed() >= COUNTED_AGAIN_AFTER);
        let counts = match asked {
            Asked::One(_) => counted_at.is_none(),
            Asked::Several(_) => counted_at.is_none() || is_old,
        };
        if counts {
            if failing.len() >= FAILING_MAX {
                failing.clear();
            }
            failing.insert(asked.path().to_owned(), Instant::now());
        }
        counts
    }

    async fn failed(&self, asked: Asked<'_>, error: &ApiError) -> Result<(), ResyncError> {
        if !self.counts(asked, error) {
            return Ok(());
        }
        let failures = self.store.count_failure(&self.source).await?;
        if failures >= BREAKER_FAILURES {
            let times = u32::try_from(failures - BREAKER_FAILURES + 1).unwrap_or(u32::MAX);
            let reason = format!("{failures} requests in a row have failed, the last one because: {error}");
            warn!(source.name = self.source, "the source is left alone for a while: {reason}");
            self.store.block(&self.source, delay_ms(&BREAKER, times), &reason).await?;
            self.give_up_grant().await;
        }
        Ok(())
    }

    async fn give_up_grant(&self) {
        *self.granted.lock().await = None;
    }

    /// Waits for its turn. Without the database there is no leave.
    async fn acquire(&self, deadline: Option<Instant>) -> Result<Permit, ResyncError> {
        let mut told = false;
        loop {
            let permit = self.try_acquire().await?;
            match permit {
                Ok(permit) => {
                    let wait = permit.at.saturating_duration_since(Instant::now());
                    if deadline.is_some_and(|deadline| permit.at > deadline) {
                        let for_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                        return Err(ResyncError::Blocked {
                            for_ms,
                            reason: "others are asked for first".into(),
                        });
                    }
                    if !wait.is_zero() {
                        self.sleep(wait).await?;
                    }
                    return Ok(permit);
                }
                Err((for_ms, reason)) => {
                    let patience_ms = deadline.map_or(PATIENCE_MS_MAX, |deadline| {
                        let left = deadline.saturating_duration_since(Instant::now());
                        i64::try_from(left.as_millis()).unwrap_or(PATIENCE_MS_MAX)
                    });
                    if for_ms > patience_ms {
                        return Err(ResyncError::Blocked { for_ms, reason });
                    }
                    if !std::mem::replace(&mut told, true) {
                        warn!(source.name = self.source, "waiting for {} s: {reason}", for_ms / 1_000 + 1);
                    }
                    let wait = Duration::from_millis(for_ms.unsigned_abs());
                    // Not everybody at the same moment.
                    let jitter = Duration::from_secs_f64(self.clock.random() / 4.0);
                    self.sleep(wait.min(LOOK_AGAIN) + jitter).await?;
                }
            }
        }
    }

    /// The next request of the grant, or of a new one; where nobody may ask now, for how long and why.
    async fn try_acquire(&self) -> Result<Result<Permit, (i64, String)>, ResyncError> {
        let mut granted = self.granted.lock().await;
        let stale =
            granted.as_ref().is_none_or(|grant| grant.left == 0 || grant.next_at.elapsed() > GRANT_IDLE_MAX);
        if stale {
            *granted = match self.store.grant(&self.source, self.pace).await? {
                Grant::Blocked { for_ms, reason } => return Ok(Err((for_ms, reason))),
                Grant::Granted { wait_us, count, now, failures } => {
                    let told_at = Instant::now();
                    let next_at = told_at + Duration::from_micros(wait_us.unsigned_abs());
                    Some(Granted { left: count, next_at, now, told_at, failures })
                }
            };
        }
        let Some(grant) = granted.as_mut() else {
            return Ok(Err((1, String::new())));
        };
        let permit =
            Permit { at: grant.next_at, now: grant.now, told_at: grant.told_at, failures: grant.failures };
        grant.left -= 1;
        grant.next_at += Duration::from_micros(self.pace.interval_us.unsigned_abs());
        Ok(Ok(permit))
    }

    async fn sleep(&self, time: Duration) -> Result<(), ResyncError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(ResyncError::Stopped),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }
}
