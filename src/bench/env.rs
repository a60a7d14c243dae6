//! What a benchmark runs on: a folder, a database, and workers that use it.

use super::worker::Worker;
use crate::simulate::WEBHOOK_SECRET;
use crate::source::signature::SigningKey;
use crate::store::{DatabaseUrl, Store};
use anyhow::ensure;
use std::path::PathBuf;
use url::Url;

const KEY: &str = "sk_live_bench";

/// The folder and the database of a run.
pub struct BenchEnv {
    pub folder: PathBuf,
    /// `None` for a new SQLite file for each worker.
    given: Option<String>,
    files: usize,
}

impl BenchEnv {
    /// On the database that `given` names, which has to be empty; else on SQLite files in `folder`.
    pub async fn new(folder: PathBuf, given: Option<String>) -> anyhow::Result<Self> {
        let env = Self { folder, given, files: 0 };
        if let Some(url) = &env.given {
            let store = Store::open(&DatabaseUrl::parse(url)?).await?;
            store.migrate(None).await?;
            let status = store.status(&[]).await?;
            store.close().await;
            ensure!(
                status.users.is_empty() && status.inbox.is_empty(),
                "the database already has users or deliveries; a benchmark fills tables, so give it one of its own"
            );
        }
        Ok(env)
    }

    pub fn kind(&self) -> &'static str {
        match &self.given {
            Some(url) if url.starts_with("postgres") => "postgres",
            _ => "sqlite",
        }
    }

    /// Where the next runs are to write: a new file, or the given database as it is.
    pub fn next_database(&mut self) -> String {
        self.files += 1;
        let file = self.folder.join(format!("bench-{}.db", self.files));
        self.given.clone().unwrap_or_else(|| format!("sqlite://{}", file.display()))
    }

    pub fn key(&self) -> anyhow::Result<SigningKey> {
        Ok(SigningKey::parse(WEBHOOK_SECRET)?)
    }

    /// A worker with these roles.
    pub async fn serve(&self, database: &str, roles: &str) -> anyhow::Result<Worker> {
        let arguments = ["serve", "--listen", "{address}", "--role", roles];
        Worker::start(&self.folder, &arguments, &self.variables(database), "/readyz").await
    }

    /// The server that stores nothing.
    pub async fn ceiling(&self) -> anyhow::Result<Worker> {
        let arguments = ["bench", "ceiling", "--listen", "{address}"];
        Worker::start(&self.folder, &arguments, &[], "/readyz").await
    }

    /// The whole environment of a measured process.
    pub fn variables<'a>(&self, database: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("HEADCOUNT_DATABASE_URL", database),
            ("HEADCOUNT_LOG", "error"),
            ("CLERK_WEBHOOK_SIGNING_SECRET", WEBHOOK_SECRET),
        ]
    }

    /// The same for one that reads the provider at `url`, with a key whose published limit is 100 pages of 500 users a second.
    pub fn reading<'a>(&self, database: &'a str, url: &'a Url) -> Vec<(&'a str, &'a str)> {
        let mut variables = self.variables(database);
        variables.extend([
            ("CLERK_SECRET_KEY", KEY),
            ("CLERK_API_URL", url.as_str().trim_end_matches('/')),
            ("HEADCOUNT_RATE_SHARE", "100%"),
        ]);
        variables
    }

    /// A simulated Clerk that answers at once.
    pub async fn provider(&self, users: u64) -> anyhow::Result<Worker> {
        let users = users.to_string();
        let arguments =
            ["simulate", "--users", &users, "--limit", "0", "--secret-key", KEY, "--listen", "{address}"];
        Worker::start(&self.folder, &arguments, &[], "/simulate").await
    }

    pub async fn store(&self, database: &str) -> anyhow::Result<Store> {
        Ok(Store::open(&DatabaseUrl::parse(database)?).await?)
    }
}
