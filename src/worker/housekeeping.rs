//! What has to be done now and then: forgetting what is old, writing down how much was refused, and a look at the users
//! table, which the application may change.

use crate::core::retention;
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Pruning is gone about every so many flushes: once an hour.
const FLUSHES_PER_PRUNE: u32 = 720;
/// The users table is looked at every so many flushes: once a minute.
const FLUSHES_PER_LOOK: u32 = 12;
/// Between two slices, so that deliveries come first.
const SLICE_PAUSE: Duration = Duration::from_millis(50);

/// Counts of refused deliveries by source and reason, gathered in memory: a flood costs one row.
#[derive(Default)]
pub struct Refusals(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Refusals {
    pub fn count(&self, source: &str, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((source.to_owned(), reason)).or_default() += 1;
    }

    fn drain(&self) -> BTreeMap<(String, &'static str), u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes the counts down and starts anew; where that fails they are kept for the next time.
    pub async fn flush(&self, store: &Store) {
        let counts = self.drain();
        if counts.is_empty() {
            return;
        }
        let rows: Vec<(String, String, u64)> = counts
            .iter()
            .map(|((source, reason), count)| (source.clone(), (*reason).to_owned(), *count))
            .collect();
        for (source, reason, count) in &rows {
            info!(
                source.name = source,
                refusal.reason = reason,
                refusal.count = count,
                "deliveries were refused"
            );
        }
        if let Err(error) = store.add_refusals(&rows).await {
            warn!("the counts of refused deliveries could not be written: {error}");
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, count) in counts {
                *kept.entry(key).or_default() += count;
            }
        }
    }
}

/// How [`run_housekeeping`] goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Housekeeping {
    /// How long bodies of deliveries are kept.
    pub retention_ms: i64,
    /// How far apart two reads of an account in doubt are.
    pub confirm_after_ms: i64,
    /// Whether this process is one that forgets, and puts times right.
    pub prunes: bool,
}

/// Runs until `stop`. Where it prunes, once an hour it forgets what [`retention::ALL`] says is over.
pub async fn run_housekeeping(
    store: Store,
    refusals: Arc<Refusals>,
    times: Housekeeping,
    stop: CancellationToken,
) {
    let Housekeeping { retention_ms, confirm_after_ms, prunes } = times;
    let (mut flushes, mut told) = (0, Vec::new());
    loop {
        if flushes % FLUSHES_PER_LOOK == 0 {
            told = look_at_users_table(&store, told).await;
            if prunes {
                pull_back_times(&store, confirm_after_ms).await;
            }
        }
        if prunes && flushes % FLUSHES_PER_PRUNE == 0 {
            prune(&store, retention_ms, &stop).await;
            prune_changes(&store, &stop).await;
            prune_runs(&store).await;
            prune_heartbeats(&store).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FLUSH_EVERY) => {}
        }
        refusals.flush(&store).await;
        flushes += 1;
    }
}

/// Tells of what is wrong with the users table, once as long as it stays the same; what was told.
async fn look_at_users_table(store: &Store, told: Vec<String>) -> Vec<String> {
    let problems = match store.table_problems().await {
        Ok(problems) => problems,
        // Whoever needs the database tells of it.
        Err(_) => return told,
    };
    for problem in problems.iter().filter(|problem| !told.contains(problem)) {
        error!("{problem}");
    }
    if problems.is_empty() && !told.is_empty() {
        info!("the users table is as it should be again");
    }
    problems
}

async fn pull_back_times(store: &Store, confirm_after_ms: i64) {
    match store.pull_back_times(confirm_after_ms).await {
        Ok(0) => {}
        Ok(count) => {
            warn!(times.count = count, "a clock was ahead: times that lay too far in the future are due now")
        }
        Err(error) => warn!("times that lie in the future could not be put right: {error}"),
    }
}

async fn prune_changes(store: &Store, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match store.prune_changes(retention::CHANGES_MS).await {
            Ok(false) => return,
            Ok(true) => tokio::time::sleep(SLICE_PAUSE).await,
            Err(error) => {
                warn!("the feed could not be pruned: {error}");
                return;
            }
        }
    }
}

async fn prune_runs(store: &Store) {
    if let Err(error) = store.prune_runs(retention::RUNS_MS).await {
        warn!("old runs could not be forgotten: {error}");
    }
}

async fn prune_heartbeats(store: &Store) {
    if let Err(error) = store.prune_heartbeats(retention::HEARTBEATS_MS).await {
        warn!("old heartbeats could not be forgotten: {error}");
    }
}

async fn prune(store: &Store, retention_ms: i64, stop: &CancellationToken) {
    let mut after = 0;
    while !stop.is_cancelled() {
        match store.prune(retention_ms, after).await {
            Ok(None) => return,
            Ok(Some(end)) => {
                after = end;
                tokio::time::sleep(SLICE_PAUSE).await;
            }
            Err(error) => {
                warn!("the inbox could not be pruned: {error}");
                return;
            }
        }
    }
}
