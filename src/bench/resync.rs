//! A full resync: the first one, which fills the tables, and those that find nothing to do.

use super::env::BenchEnv;
use super::report::{BenchReport, Line, Machine, most};
use super::worker::run_to_end;
use crate::store::Store;
use anyhow::ensure;
use serde::Deserialize;

pub struct ResyncBench {
    pub users: u64,
    /// Of those that find nothing to do.
    pub runs: usize,
}

/// What `headcount resync --json` tells of itself.
#[derive(Deserialize)]
struct ResyncLine {
    status: String,
    seen: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    duration_ms: u64,
}

impl ResyncBench {
    pub async fn run(&self, env: &mut BenchEnv, progress: impl Fn(String)) -> anyhow::Result<BenchReport> {
        let provider = env.provider(self.users).await?;
        let url = provider.url("")?;
        let database = env.next_database();
        let variables = env.reading(&database, &url);
        let mut first = Line { work: "first resync".into(), ..Line::default() };
        let mut nothing = Line { work: "resync, nothing to do".into(), ..Line::default() };
        progress("the first resync".into());
        let told = self.resync(env, &variables, &mut first).await?;
        ensure!(told.created == self.users, "{} of {} users were made", told.created, self.users);
        let store = env.store(&database).await?;
        let before = last_change(&store).await?;
        for run in 1..=self.runs {
            progress(format!("nothing to do, run {run} of {}", self.runs));
            let told = self.resync(env, &variables, &mut nothing).await?;
            ensure!(
                told.unchanged == self.users && told.created + told.updated == 0,
                "a run that should find nothing made {} and changed {}",
                told.created,
                told.updated
            );
        }
        ensure!(last_change(&store).await? == before, "a run that found nothing has written to the feed");
        store.close().await;
        Ok(BenchReport {
            bench: "resync",
            machine: Machine::of(env.kind()),
            method: format!(
                "{} users of 1.5 kB at a simulated Clerk without a limit, all of a production key's rate may be used (50,000 \
                 users a second); simulator, headcount and database on this machine; fsync on; what was made, changed and told \
                 was compared",
                self.users
            ),
            lines: vec![first, nothing],
        })
    }

    async fn resync(
        &self,
        env: &BenchEnv,
        variables: &[(&str, &str)],
        line: &mut Line,
    ) -> anyhow::Result<ResyncLine> {
        let (printed, memory_mb) = run_to_end(&env.folder, &["resync", "clerk", "--json"], variables).await?;
        let told: ResyncLine = serde_json::from_str(printed.lines().last().unwrap_or_default())?;
        ensure!(
            told.status == "succeeded" && told.seen == self.users,
            "the run ended {} after {} of {} users",
            told.status,
            told.seen,
            self.users
        );
        line.per_second.push(told.seen as f64 * 1000.0 / told.duration_ms as f64);
        line.peak_memory_mb = most(line.peak_memory_mb, memory_mb);
        Ok(told)
    }
}

/// The number of the newest entry of the feed.
async fn last_change(store: &Store) -> anyhow::Result<i64> {
    Ok(store.feed(None, 1).await?.latest)
}
