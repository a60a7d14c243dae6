//! Durable ingest: signed POST → committed row → 2xx, beside the server that stores nothing and one row a commit.

use super::env::BenchEnv;
use super::load::{self, Load, Measured, Requests};
use super::report::{BenchReport, Line, Machine};
use super::traffic::Traffic;
use super::worker::Worker;
use crate::clock::{Clock, SystemClock};
use crate::store::{DatabaseUrl, one_row_a_commit};
use anyhow::ensure;
use std::sync::Arc;
use std::time::Duration;

/// Clients of the floor, as in pgbench's usual comparison.
const FLOOR_CLIENTS: usize = 16;
/// More than any server of this machine answers; what is left over was signed for nothing.
const PER_SECOND_MAX: f64 = 120_000.0;
/// For a worker: storing costs more than answering.
const STORED_PER_SECOND_MAX: f64 = 60_000.0;

pub struct IngestBench {
    pub connections: Vec<usize>,
    pub seconds: f64,
    pub runs: usize,
    pub accounts: u64,
}

impl IngestBench {
    /// Ceiling, floor and worker take turns, run by run, so that a slow minute of the machine is one of all three. Each
    /// worker is killed as soon as its last answer is there; then what it answered with 2xx is counted in the inbox.
    pub async fn run(&self, env: &mut BenchEnv, progress: impl Fn(String)) -> anyhow::Result<BenchReport> {
        let mut floor =
            Line { work: "one row a commit".into(), connections: Some(FLOOR_CLIENTS), ..Line::default() };
        let mut lines = Vec::new();
        for _ in 0..self.runs {
            progress("one row a commit".into());
            let database = DatabaseUrl::parse(&env.next_database())?;
            let body = String::from_utf8(Traffic::new(env.key()?, "floor", 1, 0).sample())?;
            let duration = Duration::from_secs_f64(self.seconds);
            floor.per_second.push(one_row_a_commit(&database, FLOOR_CLIENTS, duration, &body).await?);
        }
        for &connections in &self.connections {
            let mut ceiling =
                Line { work: "verify only".into(), connections: Some(connections), ..Line::default() };
            let mut stored =
                Line { work: "durable ingest".into(), connections: Some(connections), ..Line::default() };
            for run in 1..=self.runs {
                progress(format!("{connections} connections, run {run} of {}: verify only", self.runs));
                let server = env.ceiling().await?;
                let (measured, _) = self.load(env, &server, connections, PER_SECOND_MAX).await?;
                ceiling.add(&measured, server.peak_memory_mb());
                drop(server);
                progress(format!("{connections} connections, run {run} of {}: durable ingest", self.runs));
                let database = env.next_database();
                let server = env.serve(&database, "ingest").await?;
                let before = inbox(env, &database).await?;
                let (measured, sent) = self.load(env, &server, connections, STORED_PER_SECOND_MAX).await?;
                stored.add(&measured, server.peak_memory_mb());
                drop(server);
                let rows = inbox(env, &database).await? - before;
                ensure!(
                    measured.other == 0 && measured.accepted == sent && rows == sent,
                    "{sent} deliveries were sent, {} answered with 2xx, {} otherwise, and {rows} are in the inbox",
                    measured.accepted,
                    measured.other
                );
            }
            stored.of_ceiling = Some(stored.median() / ceiling.median());
            stored.of_floor = Some(stored.median() / floor.median());
            lines.extend([ceiling, stored]);
        }
        lines.insert(0, floor);
        Ok(BenchReport {
            bench: "ingest",
            machine: Machine::of(env.kind()),
            method: format!(
                "{} runs of {} s each, median and spread; generator, server and database on this machine; bodies of 2.2 kB, \
                 each a change of one of {} accounts; fsync on; every 2xx was counted in the inbox after the worker had been \
                 killed",
                self.runs, self.seconds, self.accounts
            ),
            lines,
        })
    }

    /// What came of it, and how many were sent.
    async fn load(
        &self,
        env: &BenchEnv,
        server: &Worker,
        connections: usize,
        per_second_max: f64,
    ) -> anyhow::Result<(Measured, u64)> {
        let mut traffic = Traffic::new(env.key()?, &SystemClock.fresh_id(), self.accounts, 0);
        traffic.sign((self.seconds * per_second_max) as u64, SystemClock.now());
        let traffic = Arc::new(traffic);
        let load = Load {
            to: server.url("/webhooks/clerk")?,
            connections,
            duration: Duration::from_secs_f64(self.seconds),
            per_second: None,
        };
        let requests: Arc<dyn Requests> = traffic.clone();
        Ok((load::run(load, requests, None).await?, traffic.sent()))
    }
}

async fn inbox(env: &BenchEnv, database: &str) -> anyhow::Result<u64> {
    let store = env.store(database).await?;
    let status = store.status(&[]).await?;
    store.close().await;
    Ok(status.inbox.values().sum())
}
