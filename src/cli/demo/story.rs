//! The story: first read, traffic with losses, the drift report, the repair, the check.

use super::picture::picture;
use super::{Demo, SECRET_KEY, config};
use crate::cli::assembly::{Role, Serving, settings};
use crate::cli::output::{print, print_json};
use crate::cli::resync::sentence;
use crate::cli::serve::stop_on_signals;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::columns::Column;
use crate::reconcile::Drift;
use crate::resync::{Report, Resync};
use crate::simulate::{Faults, Options, Simulator, Truth};
use crate::store::{Store, UserFilter, UserView};
use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Changes of the story, for each hundred users.
const CHANGES_PER_HUNDRED: u64 = 60;
/// They come in so many steps.
const STEPS: u64 = 40;
const STEP: Duration = Duration::from_millis(100);
const LOST: f64 = 1.0 / 3.0;
/// Users that are read at once for the check.
const PAGE: i64 = 1_000;
/// While it serves on, a line comes this often.
const NEWS_EVERY: Duration = Duration::from_secs(10);
const WAIT_STEP: Duration = Duration::from_millis(100);

pub struct Story {
    simulator: Simulator,
    config: Config,
    store: Store,
    worker: JoinHandle<anyhow::Result<()>>,
    worker_address: std::net::SocketAddr,
    stop: CancellationToken,
    json: bool,
    clock: Arc<dyn Clock>,
    /// A person is looking.
    paints: bool,
    users: u64,
}

impl Story {
    pub async fn new(
        command: &Demo,
        database: &str,
        log: &str,
        json: bool,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        stop_on_signals(stop.clone())?;
        let options = Options {
            users: command.users,
            seed: command.seed,
            changes_per_second: 2.0,
            secret_key: SECRET_KEY.to_owned(),
            time_compression: 1_000.0,
            ..Options::default()
        };
        let simulator = Simulator::start_by(options, "127.0.0.1:0".parse()?, clock.clone()).await?;
        let config = config(database, log, &simulator.url())?;
        crate::telemetry::init(&config.log, config.log_format)?;
        let store = Store::open(&config.database).await?;
        store.migrate(None).await?;
        let listener = TcpListener::bind(config.listen).await.context("cannot listen on loopback")?;
        let worker_address = listener.local_addr()?;
        let serving = Serving::start(&config, &store, &[Role::Ingest, Role::Apply], &clock)?;
        let worker = tokio::spawn(serving.until(listener, None, stop.clone()));
        simulator.deliver_to(format!("http://{worker_address}/webhooks/clerk").parse()?);
        let paints = std::io::stdout().is_terminal() && !json;
        let users = command.users;
        Ok(Self { simulator, config, store, worker, worker_address, stop, json, clock, paints, users })
    }

    /// Whether source and tables were equal in the end.
    pub async fn tell(mut self, exit: bool) -> anyhow::Result<bool> {
        self.say(&format!(
            "1  A stand-in Clerk with {} users is at {}. A worker takes its deliveries at\n   http://{}/webhooks/clerk, and \
             keeps {}",
            self.users,
            self.simulator.url(),
            self.worker_address,
            self.config.database.redacted()
        ));
        let first = self.resync()?.full("demo", false).await?;
        self.say(&format!("2  The first read fills the table: {}.", sentence(&first.run)));
        succeeded(&first)?;
        self.traffic().await?;
        let tally = self.simulator.tally();
        self.say(&format!(
            "3  {} changes: {} deliveries were lost, {} came twice, and the others in any order.",
            tally.events, tally.dropped, tally.repeated
        ));
        let drift = self.resync()?.dry_run().await?;
        succeeded(&drift)?;
        self.say(&format!("4  The drift report: {}.", in_words(&drift.drift)));
        self.paint(&drift.drift).await?;
        let repair = self.resync()?.full("demo", false).await?;
        self.say(&format!("5  The repair: {}.", sentence(&repair.run)));
        succeeded(&repair)?;
        let differing = self.compare().await?;
        let accounts = self.simulator.truth().len();
        match differing.is_empty() {
            true => {
                self.say(&format!("6  Source and tables are equal: {accounts} accounts, column by column."))
            }
            false => self.say(&format!("6  {} of {accounts} accounts differ.", differing.len())),
        }
        self.paint(&differing).await?;
        let loss = self.store.loss("clerk").await?;
        if self.json {
            print_json(&json!({
                "users": accounts, "changes": tally.events, "dropped": tally.dropped, "repeated": tally.repeated,
                "drift": count(&drift.drift), "created": repair.run.counts.created, "updated": repair.run.counts.updated,
                "deleted": repair.run.counts.deleted, "loss_rate": loss.rate(), "equal": differing.is_empty(),
            }));
        } else if let Some(rate) = loss.rate() {
            print(&format!(
                "   What only the resync found is the loss rate of the webhooks: {:.1} %.",
                rate * 100.0
            ));
        }
        let equal = differing.is_empty();
        if equal && !exit && !self.stop.is_cancelled() {
            self.serve_on().await?;
        }
        self.stop.cancel();
        self.worker.await??;
        self.store.close().await;
        Ok(equal)
    }

    fn say(&self, line: &str) {
        if !self.json {
            print(line);
        }
    }

    fn resync(&self) -> anyhow::Result<Resync> {
        let source = self.config.sources.first().context("the demo has no source")?;
        let settings = settings(&self.config, source);
        let sources = Arc::new(vec![source.clone()]);
        Ok(Resync::new(
            &self.store,
            source,
            &sources,
            &self.clock,
            settings,
            Arc::new(|_| {}),
            self.stop.clone(),
        )?)
    }

    /// Changes, some of whose deliveries are lost, repeated and overtaken; then everything on its way arrives.
    async fn traffic(&self) -> anyhow::Result<()> {
        self.simulator.set_faults(|faults| {
            *faults = Faults { drop: LOST, repeat: 0.1, reorder: 0.1, delay_ms: 300, ..Faults::default() };
        });
        let changes = (self.users * CHANGES_PER_HUNDRED / 100).max(STEPS);
        let bar = self.paints.then(|| {
            let style = ProgressStyle::with_template("   {msg} {bar:40} {pos}/{len}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(changes).with_style(style).with_message("people sign up, edit, leave")
        });
        for step in 0..STEPS {
            ensure!(!self.stop.is_cancelled(), "stopped");
            self.simulator.change(changes * (step + 1) / STEPS - changes * step / STEPS);
            if let Some(bar) = &bar {
                bar.set_position(changes * (step + 1) / STEPS);
            }
            tokio::time::sleep(STEP).await;
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        self.simulator.delivered().await;
        while self.store.status(&[]).await?.inbox.get("pending").is_some_and(|pending| *pending > 0) {
            ensure!(!self.stop.is_cancelled(), "stopped");
            tokio::time::sleep(WAIT_STEP).await;
        }
        Ok(())
    }

    async fn paint(&self, drift: &[Drift]) -> anyhow::Result<()> {
        if self.paints {
            let mut accounts: BTreeSet<String> =
                self.simulator.truth().into_iter().map(|truth| truth.id).collect();
            accounts.extend(drift.iter().map(|drift| drift.provider_id.clone()));
            print(&picture(&accounts, drift, true));
        }
        Ok(())
    }

    /// Source and tables, account by account, by nothing that the worker has compared them with.
    async fn compare(&self) -> anyhow::Result<Vec<Drift>> {
        let mut here = BTreeMap::new();
        let mut filter = UserFilter { source: Some("clerk".into()), limit: PAGE, ..UserFilter::default() };
        loop {
            let users = self.store.users(&filter).await?;
            let Some(last) = users.last() else { break };
            filter.after = Some(last.id.clone());
            here.extend(
                users.into_iter().filter(|user| user.account_state != "deleted").filter_map(as_truth),
            );
        }
        let mut differing = Vec::new();
        let mut note = |id: &str, kind: &'static str| {
            differing.push(Drift { provider_id: id.to_owned(), kind, columns: Vec::new() });
        };
        for truth in self.simulator.truth() {
            match here.remove(&truth.id) {
                None => note(&truth.id, "missing"),
                Some(user) if user != truth => note(&truth.id, "outdated"),
                Some(_) => {}
            }
        }
        for id in here.keys() {
            note(id, "gone");
        }
        Ok(differing)
    }

    async fn serve_on(&mut self) -> anyhow::Result<()> {
        self.say(
            "\nIt serves on, with two changes a second, a third of them lost, and a resync every 20 seconds. Ctrl-C ends it.",
        );
        if let crate::store::DatabaseUrl::Sqlite(path) = &self.config.database {
            self.say(&format!(
                "Look at it with: headcount --database sqlite://{} users list",
                path.display()
            ));
        }
        self.simulator.start_traffic();
        let reading = Serving::start(&self.config, &self.store, &[Role::Resync], &self.clock)?;
        let mut shown = String::new();
        while !self.stop.is_cancelled() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(NEWS_EVERY) => {}
            }
            let run = self.store.last_full_run("clerk").await?.filter(|run| run.id != shown);
            if let Some(run) = run.filter(|run| run.status != "running") {
                shown.clone_from(&run.id);
                self.say(&format!("   {}", sentence(&run)));
            }
        }
        reading.finish().await
    }
}

fn succeeded(report: &Report) -> anyhow::Result<()> {
    let run = &report.run;
    ensure!(run.status == "succeeded", "the run {}: {}", run.status, run.error.clone().unwrap_or_default());
    Ok(())
}

fn count(drift: &[Drift]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for drift in drift {
        *counts.entry(drift.kind).or_default() += 1;
    }
    counts
}

fn in_words(drift: &[Drift]) -> String {
    let words: Vec<String> = count(drift)
        .into_iter()
        .map(|(kind, count)| match kind {
            "gone" => format!("{count} still here that are gone there"),
            "missing" => format!("{count} missing here"),
            kind => format!("{count} {kind}"),
        })
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn as_truth(user: UserView) -> Option<(String, Truth)> {
    let identity = user.identities.first()?.clone();
    let text = |column| user.columns.get(column).map(str::to_owned);
    let truth = Truth {
        id: identity.provider_id.clone(),
        version: identity.version?,
        email: text(Column::Email),
        phone: text(Column::Phone),
        username: text(Column::Username),
        first_name: text(Column::FirstName),
        last_name: text(Column::LastName),
        display_name: text(Column::DisplayName),
        banned: user.account_state == "suspended",
    };
    Some((identity.provider_id, truth))
}
