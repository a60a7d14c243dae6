//! `headcount runs`

use super::output::{confirm, print, print_json, table, users_table, visible};
use super::resync::{Bar, run_json, sentence};
use super::{Context, DONE, FOUND};
use crate::config::ConfigError;
use crate::store::{HeldSet, Run, Store};
use crate::web::APPROVAL_MS;
use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Accounts of a held run that are read at once.
const HELD_MAX: i64 = 100_000;
/// At a run that a worker carries out.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Of those, how many a person is shown.
const HELD_SHOWN_MAX: usize = 100;

/// Reads of sources: what they found, and deletions that wait for a yes
#[derive(Subcommand)]
pub enum Runs {
    /// Lists runs, the newest first; exit code 3 where one is held
    List(RunsList),
    /// Shows one run, and whom it would delete
    Show {
        /// Its id in the list
        run: String,
    },
    /// Deletes whom a held run names: exactly them, each asked for once more
    ///
    /// The yes holds for 24 hours. Where this process has no API key for the source, `serve` carries it out.
    Approve {
        /// Its id in the list
        run: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Ends a run that is under way, wherever its process is; what it has done stays
    Cancel {
        /// Its id in the list
        run: String,
    },
    /// Deletes nobody; a later run may find the same again
    Reject {
        /// Its id in the list
        run: String,
    },
}

#[derive(Args)]
pub struct RunsList {
    #[arg(long)]
    source: Option<String>,
    #[arg(long)]
    status: Option<RunStatusArg>,
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Clone, Copy, ValueEnum)]
enum RunStatusArg {
    Running,
    Succeeded,
    Partial,
    Failed,
    Held,
    Rejected,
    Interrupted,
    Cancelled,
}

pub async fn run(command: Runs, context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let code = match command {
        Runs::List(command) => list(&store, command, context.json).await?,
        Runs::Show { run } => show(&store, &run, context.json).await?,
        Runs::Approve { run, yes } => approve(&store, &run, yes, &context).await?,
        Runs::Cancel { run } => {
            if !store.cancel_run(&run).await? {
                return Err(not_running(&store, &run).await);
            }
            answer(&store, &run, context.json).await?
        }
        Runs::Reject { run } => {
            if !store.reject_run(&run, "rejected by a person").await? {
                return Err(not_held(&store, &run).await);
            }
            answer(&store, &run, context.json).await?
        }
    };
    store.close().await;
    Ok(code)
}

async fn list(store: &Store, command: RunsList, json: bool) -> anyhow::Result<u8> {
    let status = command
        .status
        .and_then(|status| status.to_possible_value())
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default();
    let runs = store.runs(&command.source.unwrap_or_default(), &status, command.limit).await?;
    let held = runs.iter().any(|run| run.status == "held");
    if json {
        print_json(&json!({"runs": runs.iter().map(run_json).collect::<Vec<_>>()}));
    } else {
        print(&table(
            &[
                "run", "source", "mode", "status", "began", "seen", "created", "updated", "deleted", "held",
                "error",
            ],
            runs.into_iter().map(row).collect(),
        ));
    }
    Ok(if held { FOUND } else { DONE })
}

fn row(run: Run) -> Vec<String> {
    let counts = run.counts;
    vec![
        run.id,
        run.source,
        run.mode,
        run.status,
        run.started_at.map(|at| at.to_string()).unwrap_or_default(),
        counts.seen.to_string(),
        counts.created.to_string(),
        counts.updated.to_string(),
        counts.deleted.to_string(),
        counts.held_deletes.to_string(),
        run.error.unwrap_or_default(),
    ]
}

async fn found(store: &Store, id: &str) -> anyhow::Result<Run> {
    match store.run(id).await? {
        Some(run) => Ok(run),
        None => bail!("there is no run {id}; `headcount runs list` shows those that there are"),
    }
}

async fn show(store: &Store, id: &str, json: bool) -> anyhow::Result<u8> {
    let run = found(store, id).await?;
    let ids = held_ids(store, HeldSet::Deletes, id).await?;
    let new = held_ids(store, HeldSet::Creates, id).await?;
    let code = if run.status == "held" { FOUND } else { DONE };
    if json {
        let mut object = run_json(&run);
        object["would_delete"] = json!(ids);
        object["would_create"] = json!(new);
        print_json(&object);
        return Ok(code);
    }
    for (name, value) in
        run_json(&run).as_object().into_iter().flatten().filter(|(_, value)| !value.is_null())
    {
        let text = value.as_str().map_or_else(|| value.to_string(), visible);
        print(&format!("{name:16} {text}"));
    }
    if !ids.is_empty() {
        let shown = ids.len().min(HELD_SHOWN_MAX);
        print(&format!("\nIt would delete {} accounts, of which these are {shown}:\n", ids.len()));
        print(&users_table(&store.users_of(&run.source, &ids[..shown]).await?));
    }
    if !new.is_empty() {
        let shown = new.len().min(HELD_SHOWN_MAX);
        print(&format!("\nIt would create users for {} accounts, of which these are {shown}:\n", new.len()));
        print(&new[..shown].iter().map(|id| visible(id)).collect::<Vec<_>>().join("\n"));
    }
    Ok(code)
}

async fn held_ids(store: &Store, set: HeldSet, run_id: &str) -> anyhow::Result<Vec<String>> {
    let held = store.held_of(set, run_id, "", HELD_MAX).await?;
    Ok(held.into_iter().map(|key| key.provider_id).collect())
}

async fn approve(store: &Store, id: &str, yes: bool, context: &Context) -> anyhow::Result<u8> {
    let run = found(store, id).await?;
    if run.status != "held" {
        return Err(not_held(store, id).await);
    }
    let question = match run.counts.held_creates {
        0 => format!("Delete the {} accounts that run {id} names?", run.counts.held_deletes),
        count => format!("Create users for the {count} accounts that run {id} names?"),
    };
    confirm(&question, yes)?;
    if !store.approve_run(id, APPROVAL_MS).await? {
        return Err(not_held(store, id).await);
    }
    let source = context.config.sources.iter().find(|source| source.name == run.source);
    if let Some(source) = source.filter(|source| source.is_readable()) {
        let bar = Bar::new(context);
        let resync = context.resync(store, source, bar.watch(), CancellationToken::new())?;
        let carried_out = resync.carry_out(id).await;
        bar.finish();
        if carried_out?.is_none() {
            wait_until_carried_out(store, id).await?;
        }
    } else if !context.json {
        print("This process has no API key for the source: `serve` carries it out.");
    }
    answer(store, id, context.json).await
}

/// A worker was faster, and is at it or done.
async fn wait_until_carried_out(store: &Store, id: &str) -> anyhow::Result<()> {
    while found(store, id).await?.status == "held" && store.is_approved(id).await? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn answer(store: &Store, id: &str, json: bool) -> anyhow::Result<u8> {
    let run = found(store, id).await?;
    match json {
        true => print_json(&run_json(&run)),
        false => print(&sentence(&run)),
    }
    Ok(DONE)
}

async fn not_running(store: &Store, id: &str) -> anyhow::Error {
    match found(store, id).await {
        Ok(run) => ConfigError(format!("run {id} is not under way but {}", run.status)).into(),
        Err(error) => error,
    }
}

async fn not_held(store: &Store, id: &str) -> anyhow::Error {
    match found(store, id).await {
        Ok(run) => ConfigError(format!("run {id} is not held but {}", run.status)).into(),
        Err(error) => error,
    }
}
