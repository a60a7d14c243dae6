//! End to end: signed POST → row in `users`, by one worker that receives and applies.

use super::env::BenchEnv;
use super::load::{self, Load, LoadResult, Measured, Requests, percentile_ms};
use super::report::{BenchReport, Line, Machine, most};
use super::traffic::Traffic;
use crate::clock::{Clock, SystemClock};
use crate::core::columns::Column;
use crate::store::Store;
use anyhow::{Context as _, ensure};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// More than one worker stores.
const PER_SECOND_MAX: f64 = 40_000.0;
/// Deliveries whose row is looked for at a time: enough for a few hundred a second, few enough to cost nothing.
const WATCHED_MAX: usize = 16;
const LOOK_EVERY: Duration = Duration::from_micros(200);
const BACKLOG_EVERY: Duration = Duration::from_secs(1);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(600);
/// Users compared in one query.
const SLICE: usize = 500;

pub struct ApplyBench {
    pub connections: usize,
    pub seconds: f64,
    pub runs: usize,
    pub accounts: u64,
    /// Deliveries at this pace; as fast as they are taken where there is none.
    pub per_second: Option<f64>,
}

/// What one run saw.
struct Seen {
    measured: Measured,
    /// From the first POST until nothing waited any more.
    seconds: f64,
    /// Deliveries that waited, a second apart, while there was load.
    backlog: Vec<u64>,
    /// POST → row visible to another connection, in microseconds, sorted.
    visible_us: Vec<u32>,
    peak_memory_mb: Option<f64>,
}

impl ApplyBench {
    pub async fn run(&self, env: &mut BenchEnv, progress: impl Fn(String)) -> anyhow::Result<BenchReport> {
        let work = match self.per_second {
            Some(pace) => format!("POST → row, {pace}/s sent"),
            None => "POST → row, all that is taken".to_owned(),
        };
        let mut line = Line { work, connections: Some(self.connections), ..Line::default() };
        let mut visible_us = Vec::new();
        let mut backlogs = Vec::new();
        // One for all runs: on a database that was given, a later run has to be newer than the one before.
        let mut traffic = Arc::new(Traffic::new(env.key()?, &SystemClock.fresh_id(), self.accounts, 0));
        for run in 1..=self.runs {
            progress(format!("run {run} of {}", self.runs));
            let seen = self.once(env, &mut traffic).await?;
            let deliveries = seen.measured.accepted as f64;
            line.per_second.push(deliveries / seen.seconds);
            line.peak_memory_mb = most(line.peak_memory_mb, seen.peak_memory_mb);
            visible_us.extend(seen.visible_us);
            backlogs.push(seen.backlog);
        }
        visible_us.sort_unstable();
        if self.per_second.is_some() {
            line.p50_ms = Some(percentile_ms(&visible_us, 0.5));
            line.p99_ms = Some(percentile_ms(&visible_us, 0.99));
        }
        line.note = Some(backlog_note(&backlogs));
        Ok(BenchReport {
            bench: "apply",
            machine: Machine::of(env.kind()),
            method: format!(
                "{} runs of {} s each; rate from the first POST until nothing waits any more; times from the POST until another \
                 connection sees the row; every account's row is compared in the end; bodies of 2.2 kB about {} accounts; \
                 fsync on",
                self.runs, self.seconds, self.accounts
            ),
            lines: vec![line],
        })
    }

    async fn once(&self, env: &mut BenchEnv, traffic: &mut Arc<Traffic>) -> anyhow::Result<Seen> {
        let database = env.next_database();
        let server = env.serve(&database, "ingest,apply").await?;
        let store = env.store(&database).await?;
        let pace = self.per_second.unwrap_or(PER_SECOND_MAX);
        let idle = Arc::get_mut(traffic).context("the run before is still under way")?;
        idle.sign((self.seconds * pace) as u64 + 1, SystemClock.now());
        let load = Load {
            to: server.url("/webhooks/clerk")?,
            connections: self.connections,
            duration: Duration::from_secs_f64(self.seconds),
            per_second: self.per_second,
        };
        let done = CancellationToken::new();
        let (sent, watched) = unbounded_channel();
        // Looking takes a share of the machine, so it is left out where the most is wanted of it.
        let sent = self.per_second.map(|_| sent);
        let watch = tokio::spawn(visible(store.clone(), traffic.clone(), watched, done.clone()));
        let backlog = tokio::spawn(backlog(store.clone(), done.clone()));
        let began = Instant::now();
        let requests: Arc<dyn Requests> = traffic.clone();
        let measured = load::run(load, requests, sent).await?;
        done.cancel();
        ensure!(measured.other == 0, "{} deliveries were not answered with 2xx", measured.other);
        while store.backlog().await? > 0 {
            ensure!(began.elapsed() < DRAIN_TIMEOUT, "the backlog is not applied within {DRAIN_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        compare(&store, traffic).await?;
        let seen = Seen {
            measured,
            seconds,
            backlog: backlog.await??,
            visible_us: watch.await??,
            peak_memory_mb: server.peak_memory_mb(),
        };
        store.close().await;
        Ok(seen)
    }
}

/// How the backlog went: growing is what must not be.
fn backlog_note(backlogs: &[Vec<u64>]) -> String {
    let most = backlogs.iter().flatten().max().unwrap_or(&0);
    let middle: u64 =
        backlogs.iter().map(|run| run.get(run.len() / 2).copied().unwrap_or(0)).max().unwrap_or(0);
    let last = backlogs.iter().filter_map(|run| run.last()).max().unwrap_or(&0);
    format!("backlog at most {most}, half-way {middle}, at the end of the load {last}")
}

async fn backlog(store: Store, done: CancellationToken) -> anyhow::Result<Vec<u64>> {
    let mut seen = Vec::new();
    while !done.is_cancelled() {
        tokio::select! {
            biased;
            () = done.cancelled() => {}
            () = tokio::time::sleep(BACKLOG_EVERY) => seen.push(store.backlog().await?),
        }
    }
    Ok(seen)
}

/// Looks for the rows of some of what is sent until they show it, or something newer.
async fn visible(
    store: Store,
    traffic: Arc<Traffic>,
    mut sent: UnboundedReceiver<LoadResult>,
    done: CancellationToken,
) -> anyhow::Result<Vec<u32>> {
    let mut waiting: HashMap<String, LoadResult> = HashMap::new();
    let mut seen_us = Vec::new();
    while !(done.is_cancelled() || waiting.is_empty() && sent.is_closed() && sent.is_empty()) {
        while let Ok(next) = sent.try_recv() {
            if waiting.len() < WATCHED_MAX {
                waiting.entry(Traffic::provider_id(traffic.account_of(next.number))).or_insert(next);
            }
        }
        let ids: Vec<String> = waiting.keys().cloned().collect();
        for (id, shown) in store.shown("clerk", &ids, Column::LastName).await? {
            let Some(looked_for) = waiting.get(&id) else { continue };
            if shown >= Some(Traffic::last_name(looked_for.number)) {
                seen_us.push(u32::try_from(looked_for.at.elapsed().as_micros()).unwrap_or(u32::MAX));
                waiting.remove(&id);
            }
        }
        // The runtime's own timer counts whole milliseconds.
        tokio::task::spawn_blocking(|| std::thread::sleep(LOOK_EVERY)).await?;
    }
    seen_us.sort_unstable();
    Ok(seen_us)
}

/// Every account has to show the last that was sent of it.
async fn compare(store: &Store, traffic: &Traffic) -> anyhow::Result<()> {
    let outcome: Vec<(String, String)> = traffic.outcome().collect();
    for slice in outcome.chunks(SLICE) {
        let ids: Vec<String> = slice.iter().map(|(id, _)| id.clone()).collect();
        let shown = store.shown("clerk", &ids, Column::LastName).await?;
        for (id, last_name) in slice {
            let shown = shown.get(&**id).with_context(|| format!("account {id} has no row"))?;
            ensure!(
                shown.as_ref() == Some(last_name),
                "account {id} shows {shown:?} where {last_name} was sent last"
            );
        }
    }
    Ok(())
}
