//! `headcount replay`

use super::output::{json_of, print, print_json, users_table};
use super::{Context, DONE, FAILED, FOUND};
use crate::config::ConfigError;
use crate::replay::{ReplayCounts, Replayed, collect_paths, replay, send};
use crate::store::{Store, UserView};
use crate::view::UserJson;
use clap::Args;
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;
use url::Url;

/// Users that are shown when it is done.
const USERS_SHOWN_MAX: usize = 50;

/// Applies recorded fixtures in order, and shows the users that result
///
/// Each is verified as of its recorded time, stored in the inbox and applied as a delivery is. What was replayed before
/// is a duplicate. With --to they are signed again, with the source's current secret and the current time, and sent.
///
/// Exit code 1 where a fixture was rejected, 3 where one became a dead letter or was held.
#[derive(Args)]
pub struct Replay {
    /// Fixtures (*.http), or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Sends them to this endpoint instead, such as http://127.0.0.1:8787/webhooks/clerk
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
}

pub async fn run(command: Replay, context: Context) -> anyhow::Result<u8> {
    let paths = collect_paths(&command.paths)?;
    if let Some(to) = &command.to {
        return send_to(&context, &paths, to).await;
    }
    let store = context.migrated_store().await?;
    let total = paths.len();
    let shows_progress = std::io::stderr().is_terminal() && !context.json;
    let progress = |read: u64| {
        if shows_progress {
            eprint!("\r{read} of {total} fixtures");
            if read == total as u64 {
                eprintln!();
            }
        }
    };
    let config = &context.config;
    let replayed =
        replay(&store, &config.sources, context.clock.clone(), config.delete_limit, &paths, progress).await?;
    let users = resulting_users(&store, &replayed).await?;
    store.close().await;
    for (path, reason) in &replayed.rejections {
        eprintln!("rejected: {}: {reason}", path.display());
    }
    show(&context, &replayed.counts, &users);
    Ok(code(&replayed.counts))
}

fn code(counts: &ReplayCounts) -> u8 {
    match counts {
        ReplayCounts { rejected: 1.., .. } => FAILED,
        ReplayCounts { dead: 1.., .. } | ReplayCounts { held: 1.., .. } => FOUND,
        _ => DONE,
    }
}

async fn resulting_users(store: &Store, replayed: &Replayed) -> anyhow::Result<Vec<UserView>> {
    let mut users = Vec::new();
    for (source, ids) in &replayed.accounts {
        let ids: Vec<String> = ids.iter().take(USERS_SHOWN_MAX - users.len()).cloned().collect();
        users.extend(store.users_of(source, &ids).await?);
    }
    Ok(users)
}

fn show(context: &Context, counts: &ReplayCounts, users: &[UserView]) {
    if context.json {
        let mut object = json!(counts);
        object["users"] = users.iter().map(|user| json_of(&UserJson::from(user))).collect();
        print_json(&object);
        return;
    }
    let ReplayCounts { read, applied, duplicate, stale, ignored, held, dead, rejected, pending } = counts;
    print(&users_table(users));
    print(&format!(
        "\n{read} read: {applied} applied, {duplicate} duplicate, {stale} stale, {ignored} ignored, {dead} dead, \
         {rejected} rejected"
    ));
    if held + pending > 0 {
        print(&format!(
            "{held} held and {pending} refused by the database for now: `headcount events list` says why"
        ));
    }
    print(&format!("The users above are in {}", context.config.database.redacted()));
}

async fn send_to(context: &Context, paths: &[PathBuf], to: &Url) -> anyhow::Result<u8> {
    if !matches!(to.scheme(), "http" | "https") {
        return Err(ConfigError("--to must be an http or https URL".into()).into());
    }
    let sent = send(&context.config.sources, &*context.clock, paths, to).await?;
    if context.json {
        print_json(&json!(sent));
    } else {
        print(&format!(
            "{} sent: {} accepted, {} duplicate, {} rejected",
            sent.read, sent.accepted, sent.duplicate, sent.rejected
        ));
    }
    Ok(if sent.rejected > 0 { FAILED } else { DONE })
}
