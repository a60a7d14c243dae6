//! The loop that reads a source when it is time: full runs on schedule, the newest changes where there is no webhook,
//! accounts that deliveries have asked about, and what a person has approved.

use super::pause;
use crate::core::retry_policy::PROCESS;
use crate::core::schedule::Schedule;
use crate::core::timestamp::Timestamp;
use crate::resync::{Poll, Report, Resync, ResyncError};
use crate::retry::Backoff;
use crate::store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);

/// When a source is read.
#[derive(Clone)]
pub struct Times {
    pub schedule: Schedule,
    /// `None` for no polls.
    pub poll_every: Option<Duration>,
    pub silence_after_ms: i64,
}

/// Full runs and polls, until `stop`.
pub async fn run_schedule(store: Store, resync: Arc<Resync>, times: Times, stop: CancellationToken) {
    let name = resync.source().name.clone();
    let jitter = resync.clock().random();
    // Pinned before any delivery is judged by it, whenever the first run may be.
    if !is_retired(&resync).await
        && let Err(failure) = resync.check_instance().await
    {
        log(&name, "could not be asked which instance it is", &failure);
    }
    let mut backoff = Backoff::new(&PROCESS, resync.clock());
    let mut poll_due = Instant::now();
    let mut polls_failing = false;
    while !stop.is_cancelled() {
        if is_retired(&resync).await {
            pause(TICK, &stop).await;
            continue;
        }
        match is_due(&store, &name, &times.schedule, jitter).await {
            Ok(true) => match resync.full("schedule", false).await {
                Ok(report) => {
                    log_report(&name, &report);
                    warn_of_silence(&store, &name, times.silence_after_ms).await;
                }
                Err(ResyncError::Busy { .. }) => debug!(source.name = name, "another process runs it"),
                Err(ResyncError::Retired(_)) => {}
                Err(failure) => log(&name, "could not be read in full", &failure),
            },
            Ok(false) => backoff.reset(),
            Err(failure) => {
                warn!(source.name = name, "the schedule cannot be read: {failure}");
                pause(backoff.next_delay(), &stop).await;
            }
        }
        if let Some(every) = times.poll_every.filter(|_| Instant::now() >= poll_due) {
            poll_due = Instant::now() + every;
            polls_failing = poll(&resync, &name, polls_failing).await;
        }
        pause(TICK.min(times.poll_every.unwrap_or(TICK)), &stop).await;
    }
}

/// Whether the polls fail; the first failure is told, and the end of them.
async fn poll(resync: &Resync, name: &str, were_failing: bool) -> bool {
    match resync.poll().await {
        Ok(found) => {
            if were_failing {
                info!(source.name = name, "the newest changes can be read again");
            }
            if let Poll::Found(report) = found {
                log_report(name, &report);
            }
            false
        }
        Err(failure) => {
            if !were_failing {
                log(name, "has newest changes that could not be read", &failure);
            }
            true
        }
    }
}

/// Accounts that deliveries have asked about, and runs that a person has approved, until `stop`.
pub async fn run_confirmations(store: Store, resync: Arc<Resync>, stop: CancellationToken) {
    let name = resync.source().name.clone();
    let mut backoff = Backoff::new(&PROCESS, resync.clock());
    while !stop.is_cancelled() {
        if is_retired(&resync).await {
            pause(TICK, &stop).await;
            continue;
        }
        let wait = match confirm(&store, &resync, &name).await {
            Ok(0) => {
                backoff.reset();
                TICK
            }
            Ok(_) => {
                backoff.reset();
                continue;
            }
            Err(ResyncError::Stopped) => return,
            Err(failure) => {
                log(&name, "has accounts that could not be read again", &failure);
                backoff.next_delay()
            }
        };
        pause(wait, &stop).await;
    }
}

async fn confirm(store: &Store, resync: &Resync, name: &str) -> Result<usize, ResyncError> {
    for run in store.approved_runs(name).await? {
        let Some(report) = resync.carry_out(&run).await? else { continue };
        info!(
            source.name = name,
            run.id = run,
            run.deleted = report.run.counts.deleted,
            "an approved run was carried out"
        );
    }
    resync.confirm_asked().await
}

/// Where that cannot be told, whatever is tried next tells why.
async fn is_retired(resync: &Resync) -> bool {
    resync.is_retired().await.unwrap_or(false)
}

async fn is_due(store: &Store, name: &str, schedule: &Schedule, jitter: f64) -> Result<bool, StoreError> {
    let history = store.run_history(name).await?;
    let Some(due) = schedule.due(&history, jitter) else { return Ok(false) };
    Ok(due <= store.now().await?)
}

fn log_report(name: &str, report: &Report) {
    let run = &report.run;
    let counts = &run.counts;
    match run.status.as_str() {
        "failed" => error!(
            source.name = name,
            run.id = run.id,
            "a {} run failed: {}",
            run.mode,
            run.error.clone().unwrap_or_default()
        ),
        "held" => warn!(
            source.name = name,
            run.id = run.id,
            run.held_deletes = counts.held_deletes,
            "a run is held: {}",
            run.error.clone().unwrap_or_default()
        ),
        status => info!(
            source.name = name,
            run.id = run.id,
            run.seen = counts.seen,
            run.created = counts.created,
            run.updated = counts.updated,
            run.deleted = counts.deleted,
            run.revived = counts.revived,
            run.requests = counts.requests,
            "a {} run {status}",
            run.mode
        ),
    }
}

/// Observation once a run, so that whoever reads the log hears of it again and again.
async fn warn_of_silence(store: &Store, name: &str, silence_after_ms: i64) {
    let report = match store.loss(name).await {
        Ok(report) => report,
        Err(failure) => {
            warn!(source.name = name, "whether the source is silent cannot be told: {failure}");
            return;
        }
    };
    let now = store.now().await.unwrap_or(Timestamp::clamped(0));
    if let Some(alarm) = report.silence(now, silence_after_ms) {
        error!(source.name = name, "{alarm}");
    }
}

fn log(name: &str, what: &str, failure: &ResyncError) {
    match failure {
        ResyncError::Stopped => {}
        _ if failure.is_transient() => warn!(source.name = name, "the source {what}, for now: {failure}"),
        _ => error!(source.name = name, "the source {what}: {failure}"),
    }
}
