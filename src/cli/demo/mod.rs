//! `headcount demo`

mod picture;
mod story;

use super::scratch::Scratch;
use super::{DONE, FAILED};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::simulate::WEBHOOK_SECRET;
use clap::Args;
use std::sync::Arc;
use story::Story;

/// Of the kind whose limit is a hundred requests a second.
const SECRET_KEY: &str = "sk_live_simulated";

/// The whole story on this machine: a simulated provider that loses a third of its deliveries, and the resync that repairs it
///
/// It uses a database of its own, which it removes (or the one that --database names), and nothing that is configured.
/// After the story it serves on, with traffic and a resync every 20 seconds, until Ctrl-C.
///
/// Exit code 1 where source and tables are not equal after the resync.
#[derive(Args)]
pub struct Demo {
    /// Ends after the story
    #[arg(long)]
    exit: bool,
    /// Users that there are at the beginning
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..=100_000))]
    users: u64,
    /// The same seed tells the same story
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(
    command: Demo,
    flags: &[(&'static str, String)],
    log: Option<String>,
    json: bool,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<u8> {
    let scratch = Scratch::new("demo", &*clock)?;
    let given = flags.iter().find(|(key, _)| *key == "database_url").map(|(_, url)| url.clone());
    let database = given.unwrap_or_else(|| format!("sqlite://{}", scratch.path().join("demo.db").display()));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let log = log.as_deref().unwrap_or("error");
        let equal = Story::new(&command, &database, log, json, clock).await?.tell(command.exit).await?;
        Ok(if equal { DONE } else { FAILED })
    })
}

/// The demo's own settings: none of the process's.
fn config(database: &str, log: &str, api_url: &str) -> anyhow::Result<Config> {
    let variables = [
        // Not a headcount.toml that happens to lie here.
        ("HEADCOUNT_CONFIG", "/dev/null"),
        ("HEADCOUNT_DATABASE_URL", database),
        ("HEADCOUNT_LISTEN", "127.0.0.1:0"),
        ("HEADCOUNT_LOG", log),
        ("HEADCOUNT_RESYNC_SCHEDULE", "20s"),
        ("HEADCOUNT_CONFIRM_AFTER", "2s"),
        ("HEADCOUNT_RATE_SHARE", "100%"),
        // Of a few hundred users the default would let ten go in a day.
        ("HEADCOUNT_MAX_DELETE", "25%"),
        ("HEADCOUNT_MAX_DELETE_DELIVERED", "off"),
        ("CLERK_API_URL", api_url),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("CLERK_WEBHOOK_SIGNING_SECRET", WEBHOOK_SECRET),
    ];
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Ok(Config::resolve(&[], &Environment::of(variables.collect()), None)?)
}
