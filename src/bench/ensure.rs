//! What an application waits for at a sign-in: `POST /v1/users/ensure` of a user that is known.

use super::env::BenchEnv;
use super::load::{self, Load, Requests};
use super::report::{BenchReport, Line, Machine};
use super::worker::{Worker, run_to_end};
use crate::store::UserFilter;
use anyhow::ensure;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const APP_TOKEN: &str = "bench-app-token-0123456";
const ADMIN_TOKEN: &str = "bench-admin-token-01234";

pub struct EnsureBench {
    pub users: u64,
    pub connections: Vec<usize>,
    pub seconds: f64,
    pub runs: usize,
}

/// The same few headers and another account each time.
struct CallLoad {
    provider_ids: Vec<String>,
    next: AtomicU64,
}

impl Requests for CallLoad {
    fn next_index(&self) -> Option<u64> {
        Some(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn write(&self, number: u64, _: &mut Vec<u8>, out: &mut Vec<u8>) {
        // Far apart, so that neighbours on a page do not follow each other.
        let at = number.wrapping_mul(7_919) as usize % self.provider_ids.len();
        let body = format!(r#"{{"source":"clerk","provider_id":"{}"}}"#, self.provider_ids[at]);
        let length = body.len();
        out.extend_from_slice(
            format!("authorization: Bearer {APP_TOKEN}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
        );
    }
}

impl EnsureBench {
    pub async fn run(&self, env: &mut BenchEnv, progress: impl Fn(String)) -> anyhow::Result<BenchReport> {
        let provider = env.provider(self.users).await?;
        let url = provider.url("")?;
        let database = env.next_database();
        let mut variables = env.reading(&database, &url);
        variables.extend([("HEADCOUNT_APP_TOKEN", APP_TOKEN), ("HEADCOUNT_ADMIN_TOKEN", ADMIN_TOKEN)]);
        progress(format!("reading {} users", self.users));
        run_to_end(&env.folder, &["resync", "clerk", "--json"], &variables).await?;
        let provider_ids = self.known(env, &database).await?;
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "{address}", "--role", "apply,admin"];
        let server = Worker::start(&env.folder, &arguments, &variables, "/openapi.json").await?;
        let calls: Arc<dyn Requests> = Arc::new(CallLoad { provider_ids, next: AtomicU64::new(0) });
        let mut lines = Vec::new();
        for &connections in &self.connections {
            let work = "ensure of a known user".to_owned();
            let mut line = Line { work, connections: Some(connections), ..Line::default() };
            for run in 1..=self.runs {
                progress(format!("{connections} connections, run {run} of {}", self.runs));
                let load = Load {
                    to: server.url("/v1/users/ensure")?,
                    connections,
                    duration: Duration::from_secs_f64(self.seconds),
                    per_second: None,
                };
                let measured = load::run(load, calls.clone(), None).await?;
                ensure!(measured.other == 0, "{} calls were not answered with 200", measured.other);
                line.add(&measured, server.peak_memory_mb());
            }
            lines.push(line);
        }
        Ok(BenchReport {
            bench: "ensure",
            machine: Machine::of(env.kind()),
            method: format!(
                "{} runs of {} s each, median and spread; {} users, another one each time, all known: the provider is not asked; \
                 generator, server and database on this machine",
                self.runs, self.seconds, self.users
            ),
            lines,
        })
    }

    /// The provider's ids of those that are there now.
    async fn known(&self, env: &BenchEnv, database: &str) -> anyhow::Result<Vec<String>> {
        let store = env.store(database).await?;
        let limit = i64::try_from(self.users)?;
        let users = store.users(&UserFilter { limit, ..UserFilter::default() }).await?;
        store.close().await;
        ensure!(users.len() as u64 == self.users, "{} of {} users are there", users.len(), self.users);
        Ok(users
            .into_iter()
            .filter_map(|user| Some(user.identities.into_iter().next()?.provider_id))
            .collect())
    }
}
