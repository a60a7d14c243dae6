//! `headcount resync`

use super::assembly::settings;
use super::output::{json_of, print, print_json, table, visible};
use super::{Context, DONE, FAILED, FOUND};
use crate::config::{Config, ConfigError};
use crate::reconcile::Drift;
use crate::resync::{Forecast, Phase, Progress, Report, Resync, Watch};
use crate::source::{Source, provider, providers, setup};
use crate::store::{Run, Store};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Differences that are shown to a person one by one.
const DRIFT_SHOWN_MAX: usize = 50;

/// Reads a source through its API, and repairs what its deliveries missed
///
/// A full run walks all accounts, writes those that differ, and deletes those that the source proves to have no more.
/// It may be interrupted: the next one goes on from there. `serve` does the same on schedule.
///
/// Exit code 1 where the run failed (nobody was deleted), 3 where a dry run found drift, a run is held, or accounts could not
/// be read.
#[derive(Args)]
pub struct ResyncCommand {
    /// Which source, such as `clerk`
    source: String,
    /// The drift report: reads everything, writes nothing
    #[arg(long, conflicts_with_all = ["incremental", "user", "forecast"])]
    dry_run: bool,
    /// Only what changed since the last such read; deletes nobody
    #[arg(long, conflicts_with_all = ["user", "forecast"])]
    incremental: bool,
    /// Only this account
    #[arg(long, value_name = "PROVIDER_ID", conflicts_with = "forecast")]
    user: Option<String>,
    /// How many calls and minutes a full run would cost; reads nothing but the count
    #[arg(long)]
    forecast: bool,
}

pub async fn run(command: ResyncCommand, context: Context) -> anyhow::Result<u8> {
    let source = context.source(&command.source)?.clone();
    check_readable(&source)?;
    let store = context.migrated_store().await?;
    // A clock that was ahead would have this command wait.
    store.pull_back_times(context.config.resync.confirm_after_ms).await?;
    let stop = CancellationToken::new();
    super::serve::stop_on_signals(stop.clone())?;
    let bar = Bar::new(&context);
    let resync = context.resync(&store, &source, bar.watch(), stop)?;
    if command.forecast {
        let forecast = resync.forecast().await?;
        store.close().await;
        show_forecast(&context, &source.name, forecast);
        return Ok(DONE);
    }
    let report = if let Some(user) = &command.user {
        resync.user(user).await
    } else if command.dry_run {
        resync.dry_run().await
    } else if command.incremental {
        resync.incremental("command").await
    } else {
        resync.full("command", true).await
    };
    bar.finish();
    store.close().await;
    let report = report?;
    show(&context, &report, command.dry_run);
    Ok(code(&report.run, command.dry_run))
}

/// Before a database is opened: an error says what to set.
pub fn check_readable(source: &Source) -> Result<(), ConfigError> {
    source.check_readable().map_err(|unreadable| ConfigError(unreadable.to_string()))
}

impl Context {
    /// The source of this name.
    pub fn source(&self, name: &str) -> Result<&Source, ConfigError> {
        self.config.sources.iter().find(|source| source.name == name).ok_or_else(|| {
            let names = match self.config.source_names().join(", ") {
                none if none.is_empty() => ", nor is any other".to_owned(),
                names => format!("; those that are: {names}"),
            };
            ConfigError(format!("source `{name}` is not configured{names}{}", key_advice(name, &self.config)))
        })
    }

    /// What reads the source, as it is configured.
    pub fn resync(
        &self,
        store: &Store,
        source: &Source,
        watch: Watch,
        stop: CancellationToken,
    ) -> anyhow::Result<Resync> {
        let sources = Arc::new(self.config.sources.clone());
        Ok(Resync::new(store, source, &sources, &self.clock, settings(&self.config, source), watch, stop)?)
    }
}

/// What to set so that a source of this name can be read: where a kind has the name its own variables, and where nothing
/// is configured those of every kind.
fn key_advice(name: &str, config: &Config) -> String {
    let advice = match provider(name) {
        Some(provider) => setup::key_advice(&*provider),
        None if config.sources.is_empty() => {
            let each: Vec<String> = providers().filter_map(|one| setup::key_advice(&*one)).collect();
            (!each.is_empty()).then(|| each.join("; or "))
        }
        None => None,
    };
    advice.map(|advice| format!("; {advice}")).unwrap_or_default()
}

fn code(run: &Run, dry_run: bool) -> u8 {
    match run.status.as_str() {
        "succeeded"
            if dry_run
                && run.counts.repaired()
                    + run.counts.unreadable
                    + run.counts.refused
                    + run.counts.held_creates
                    > 0 =>
        {
            FOUND
        }
        "succeeded" => DONE,
        "held" | "partial" => FOUND,
        _ => FAILED,
    }
}

/// A run as programs read it.
pub fn run_json(run: &Run) -> Value {
    json_of(&crate::view::RunJson::from(run))
}

fn show(context: &Context, report: &Report, dry_run: bool) {
    if context.json {
        let mut object = run_json(&report.run);
        if dry_run {
            object["drift"] = report.drift.iter().map(drift_json).collect();
        }
        print_json(&object);
    } else {
        if dry_run {
            show_drift(&report.drift);
        }
        print(&sentence(&report.run));
    }
    if let Some(error) = &report.run.error {
        eprintln!("headcount: {error}");
    }
}

fn drift_json(drift: &Drift) -> Value {
    json!({"provider_id": drift.provider_id, "kind": drift.kind, "columns": drift.columns})
}

pub fn show_drift(drift: &[Drift]) {
    let rows = drift
        .iter()
        .take(DRIFT_SHOWN_MAX)
        .map(|drift| vec![drift.provider_id.clone(), drift.kind.to_owned(), drift.columns.join(", ")]);
    if !drift.is_empty() {
        print(&table(&["account", "drift", "in"], rows.collect()));
    }
    if drift.len() > DRIFT_SHOWN_MAX {
        print(&format!("… and more; --json names the first {}", crate::resync::DRIFT_NAMED_MAX));
    }
}

/// What a run did, in a sentence.
pub fn sentence(run: &Run) -> String {
    let counts = &run.counts;
    let is_held = run.status == "held";
    let mut parts = Vec::new();
    for (count, word) in [
        (counts.created, "created"),
        (counts.updated, "updated"),
        (counts.deleted, "deleted"),
        (counts.revived, "revived"),
        (if is_held { counts.held_deletes } else { 0 }, "held for a person to decide"),
        (
            if is_held || run.mode == "dry-run" { counts.held_creates } else { 0 },
            "new ones held for a person to decide",
        ),
        (counts.unreadable, "could not be read"),
        (counts.refused, "refused by the database"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    let seconds = run.duration_ms().unwrap_or(0) as f64 / 1_000.0;
    let what = match (parts.is_empty(), run.mode.as_str()) {
        (true, _) => "nothing differed".to_owned(),
        (false, "dry-run") => format!("it would be: {}", parts.join(", ")),
        (false, _) => parts.join(", "),
    };
    format!(
        "{} run {} {}: {} accounts seen, {what} ({} requests, {seconds:.1} s)",
        run.mode,
        visible(&run.id),
        run.status,
        counts.seen,
        counts.requests
    )
}

fn show_forecast(context: &Context, source: &str, forecast: Forecast) {
    let Forecast { accounts, requests, requests_per_second, minutes } = forecast;
    if context.json {
        print_json(&json!({
            "source": source, "accounts": accounts, "requests": requests,
            "requests_per_second": requests_per_second, "minutes": minutes,
        }));
        return;
    }
    print(&format!(
        "{source} has {accounts} accounts. A full run asks its API about {requests} times, {requests_per_second:.1} times a \
         second at the most (HEADCOUNT_RATE_SHARE), and takes {minutes:.1} minutes; each account that has gone asks twice more."
    ));
}

/// Progress on a terminal; elsewhere nothing, for the log has it.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    pub fn new(context: &Context) -> Self {
        let shown = std::io::stderr().is_terminal() && !context.json;
        Self(shown.then(|| {
            let style =
                ProgressStyle::with_template("{msg} {bar:30} {human_pos}/{human_len} {elapsed}, {eta} left");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style).with_message("asking the source")
        }))
    }

    pub fn watch(&self) -> Watch {
        let bar = self.0.clone();
        Arc::new(move |Progress { phase, done, total }| {
            let Some(bar) = &bar else { return };
            bar.set_length(total.max(done));
            bar.set_position(done);
            bar.set_message(match phase {
                Phase::Walking => "reading the list".to_owned(),
                Phase::Confirming { wait_ms: 0 } => "reading accounts again".to_owned(),
                Phase::Confirming { wait_ms } => format!("reading again in {} s", wait_ms / 1_000 + 1),
                Phase::Linking => "writing users".to_owned(),
                Phase::Sweeping => "deleting what is gone".to_owned(),
            });
        })
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
