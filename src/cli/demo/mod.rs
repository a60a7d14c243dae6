//! `headcount demo`

mod moving;
mod picture;
mod story;

use super::scratch::Scratch;
use super::{DONE, FAILED};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::simulate::WEBHOOK_SECRET;
use clap::Args;
use moving::MoveStory;
use std::path::Path;
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
    /// The story of a move instead: from Clerk to a stand-in for Better Auth's table, with both live
    #[arg(long = "move")]
    is_move: bool,
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
        let equal = match command.is_move {
            true => {
                let story = MoveStory::new(&command, scratch.path(), &database, log, json, clock).await?;
                story.tell(command.exit).await?
            }
            false => Story::new(&command, &database, log, json, clock).await?.tell(command.exit).await?,
        };
        Ok(if equal { DONE } else { FAILED })
    })
}

/// The demo's own settings: none of the process's.
fn config(database: &str, log: &str, api_url: &str) -> anyhow::Result<Config> {
    // Not a headcount.toml that happens to lie here.
    let own = [("HEADCOUNT_CONFIG", "/dev/null"), ("HEADCOUNT_RESYNC_SCHEDULE", "20s")];
    resolved(&[common(database, log, api_url).as_slice(), &own].concat())
}

/// The same for a move to the table in this file, with a configuration of its own in the folder.
fn move_config(
    folder: &Path,
    database: &str,
    log: &str,
    api_url: &str,
    table: &Path,
) -> anyhow::Result<Config> {
    let (file, table) = (folder.join("headcount.toml"), format!("sqlite://{}", table.display()));
    std::fs::write(&file, MOVE_CONFIG)?;
    let file = file.display().to_string();
    // The story itself says when a source is read.
    let own = [
        ("HEADCOUNT_CONFIG", file.as_str()),
        ("BETTER_AUTH_TABLE", &table),
        ("HEADCOUNT_RESYNC_SCHEDULE", "off"),
    ];
    resolved(&[common(database, log, api_url).as_slice(), &own].concat())
}

const MOVE_CONFIG: &str = "\
[sources.better-auth]
kind = \"better-auth\"
database_url_env = \"BETTER_AUTH_TABLE\"
link_verified_emails = true
share_ids = true
poll = \"off\"

[users.authority]
default = [\"clerk\", \"better-auth\"]
created_at = [\"clerk\"]
";

fn common<'a>(database: &'a str, log: &'a str, api_url: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("HEADCOUNT_DATABASE_URL", database),
        ("HEADCOUNT_LISTEN", "127.0.0.1:0"),
        ("HEADCOUNT_LOG", log),
        ("HEADCOUNT_CONFIRM_AFTER", "2s"),
        ("HEADCOUNT_RATE_SHARE", "100%"),
        // Of a few hundred users the default would let ten go in a day.
        ("HEADCOUNT_MAX_DELETE", "25%"),
        ("HEADCOUNT_MAX_DELETE_DELIVERED", "off"),
        ("CLERK_API_URL", api_url),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("CLERK_WEBHOOK_SIGNING_SECRET", WEBHOOK_SECRET),
    ]
}

fn resolved(variables: &[(&str, &str)]) -> anyhow::Result<Config> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Ok(Config::resolve(&[], &Environment::of(variables.collect()), None)?)
}
