//! The story of a move: Clerk and a stand-in for Better Auth's table both live, the switch, the way back, and the end of the old
//! provider.

use super::{Demo, SECRET_KEY, move_config};
use crate::cli::assembly::{Role, Serving, settings};
use crate::cli::output::{print, print_json};
use crate::cli::resync::sentence;
use crate::cli::serve::stop_on_signals;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::columns::{Column, Columns};
use crate::core::words::SwitchDirection;
use crate::provider_move::ProviderMove;
use crate::resync::{InstallChange, Resync, outbox_installation};
use crate::simulate::{Options, Simulator, Truth};
use crate::source::Source;
use crate::store::{StandInPerson, StandInTable, Store, UserFilter, UserView};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Users that are read at once.
const PAGE: i64 = 1_000;
const WAIT_STEP: Duration = Duration::from_millis(50);
/// What the worker has to do between two steps of the story takes moments.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every process knows that a source is retired within a second.
const RETIRED_AFTER: Duration = Duration::from_secs(2);

/// Clerk's first attempts at its deliveries.
const ATTEMPTS_WITHIN: Duration = Duration::from_secs(2);

/// State and columns of each user, by its id.
type Everybody = BTreeMap<String, (String, Columns)>;

pub struct MoveStory {
    simulator: Simulator,
    table: StandInTable,
    config: Config,
    sources: Arc<Vec<Source>>,
    store: Store,
    worker: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
    json: bool,
    clock: Arc<dyn Clock>,
    step: u32,
}

impl MoveStory {
    /// `folder` is where the stand-in's table lies.
    pub async fn new(
        command: &Demo,
        folder: &Path,
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
            secret_key: SECRET_KEY.to_owned(),
            time_compression: 1_000.0,
            ..Options::default()
        };
        let simulator = Simulator::start_by(options, "127.0.0.1:0".parse()?, clock.clone()).await?;
        let file = folder.join("better-auth.db");
        let table = StandInTable::create(&file).await?;
        let config = move_config(folder, database, log, &simulator.url(), &file)?;
        crate::telemetry::init(&config.log, config.log_format)?;
        let store = Store::open_on(&config.database, &config.users).await?;
        store.migrate(config.required_fields.as_deref()).await?;
        store.name_sources(&config.named_sources()).await?;
        let sources = Arc::new(config.sources.clone());
        let better_auth = sources.iter().find(|source| source.name == "better-auth");
        outbox_installation(better_auth.context("no second source")?, InstallChange::Apply).await?;
        let listener = TcpListener::bind(config.listen).await.context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let roles = [Role::Ingest, Role::Apply, Role::Resync];
        let worker = tokio::spawn(Serving::start(&config, &store, &roles, &clock)?.until(
            listener,
            None,
            stop.clone(),
        ));
        simulator.deliver_to(format!("http://{address}/webhooks/clerk").parse()?);
        let mut story = Self { simulator, table, config, sources, store, worker, stop, json, clock, step: 0 };
        story.say(&format!(
            "A stand-in Clerk with {} users, and a table as Better Auth makes it, with its outbox, in\n   {}",
            command.users,
            file.display()
        ));
        Ok(story)
    }

    /// Whether everybody was who they were in the end.
    pub async fn tell(mut self, exit: bool) -> anyhow::Result<bool> {
        let first = self.resync("clerk")?.full("demo", false).await?;
        self.say(&format!("The users table before the move: {}.", sentence(&first.run)));
        let before = self.rows().await?;
        let moving = self.sign_up().await?;
        let provider_move = self.provider_move()?;
        let report = provider_move.report(Vec::new()).await?;
        self.say(&format!(
            "`headcount move --from clerk --to better-auth`: {} people are at both, {} at Clerk alone.",
            report.people.both, report.people.only_from
        ));
        let rehearsal = provider_move.rehearse(SwitchDirection::Switch).await?;
        let columns =
            rehearsal.columns.iter().map(|(column, rewrite)| format!("{column} of {}", rewrite.users));
        let columns = columns.collect::<Vec<_>>().join(", ");
        self.say(&format!("--rehearse, which writes nothing: the switch would change {columns}."));
        let unmoved = self.rows().await?;
        let switched = self.switch(&provider_move, SwitchDirection::Switch).await?;
        self.say(&format!("--switch: Better Auth's word counts first now; {switched} rows were rewritten, each told once by the feed."));
        let moved = self.rows().await?;
        self.switch(&provider_move, SwitchDirection::Back).await?;
        let is_back = self.rows().await? == unmoved;
        self.say(match is_back {
            true => "--back: every row is what it was before the switch.",
            false => "--back: some rows are not what they were before the switch.",
        });
        self.switch(&provider_move, SwitchDirection::Switch).await?;
        self.store.retire("clerk", true).await?;
        tokio::time::sleep(RETIRED_AFTER).await;
        let left = self.empty_clerk().await;
        let after = self.rows().await?;
        let deleted = after.values().filter(|(state, _)| state == "deleted").count();
        self.say(&format!("Switched again, and Clerk retired. Then its account is emptied: {left} people go there, {deleted} here."));
        let is_same = after.keys().eq(before.keys()) && after == moved && deleted == 0;
        let linked = self.store.count_at_both("clerk", "better-auth").await?;
        let equal = is_same && is_back && linked == moving as u64;
        self.say(&match equal {
            true => format!(
                "Nobody is lost, nobody is two users, and all {} ids are what they were.",
                after.len()
            ),
            false => "Not everybody is who they were.".to_owned(),
        });
        if self.json {
            print_json(&json!({
                "users": after.len(), "moved": moving, "rewritten": switched, "back_is_as_before": is_back,
                "deleted": deleted, "equal": equal,
            }));
        }
        if equal && !exit && !self.stop.is_cancelled() {
            self.serve_on().await;
        }
        self.stop.cancel();
        self.worker.await??;
        self.store.close().await;
        Ok(equal)
    }

    /// A quarter of the people sign up under the address that they have and confirm it later; another quarter is imported.
    /// How many they are.
    async fn sign_up(&mut self) -> anyhow::Result<usize> {
        let truth = self.simulator.truth();
        let known: Vec<&Truth> =
            truth.iter().filter(|truth| truth.email.is_some() && !truth.banned).collect();
        let is_verified = |user: &UserView| user.columns.get(Column::EmailVerified) == Some("true");
        let users = self.users().await?;
        let verified = users.iter().filter(|user| is_verified(user)).flat_map(|user| &user.identities);
        let verified: BTreeSet<&str> = verified.map(|account| account.provider_id.as_str()).collect();
        let known: Vec<&Truth> =
            known.into_iter().filter(|truth| verified.contains(truth.id.as_str())).collect();
        let quarter = known.len() / 4;
        let person = |truth: &Truth, id: String, is_verified: bool| StandInPerson {
            id,
            name: format!("{} Moved", truth.first_name.as_deref().unwrap_or("Somebody")),
            email: truth.email.as_deref().unwrap_or_default().to_lowercase(),
            is_verified,
            username: truth.username.as_deref().map(str::to_lowercase),
        };
        let signing_up = |is_verified| -> Vec<StandInPerson> {
            let people = known.iter().take(quarter).enumerate();
            people.map(|(n, truth)| person(truth, format!("better{n:05}"), is_verified)).collect()
        };
        self.put(&signing_up(false)).await?;
        self.until(async |store: &Store| {
            Ok(store.count_address_conflicts("better-auth").await?.awaiting == quarter as u64)
        })
        .await?;
        self.say(&format!(
            "{quarter} people sign up at Better Auth under the address that they have: they wait until it is confirmed, and nobody \
             is two users."
        ));
        self.put(&signing_up(true)).await?;
        let imported: Vec<StandInPerson> = known
            .iter()
            .skip(quarter)
            .take(quarter)
            .map(|truth| person(truth, truth.id.clone(), true))
            .collect();
        self.put(&imported).await?;
        let moving = quarter + imported.len();
        self.until(async |store: &Store| {
            Ok(store.count_at_both("clerk", "better-auth").await? == moving as u64)
        })
        .await?;
        self.say(&format!(
            "They confirm it, and are who they were. {} more are imported with Clerk's ids; the outbox tells of them.",
            imported.len()
        ));
        Ok(moving)
    }

    async fn put(&self, people: &[StandInPerson]) -> anyhow::Result<()> {
        Ok(self.table.put(people, &self.clock.now().to_string()).await?)
    }

    async fn until(&self, is_done: impl AsyncFn(&Store) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_done(&self.store).await? {
                ensure!(!self.stop.is_cancelled(), "stopped");
                tokio::time::sleep(WAIT_STEP).await;
            }
            Ok(())
        });
        waited.await.context("the worker has not come to it in time")?
    }

    /// The rows that were rewritten.
    async fn switch(&self, provider_move: &ProviderMove, direction: SwitchDirection) -> anyhow::Result<u64> {
        Ok(provider_move.switch(direction, &|_| {}, &self.stop).await?.counts.updated)
    }

    /// How many people that were.
    async fn empty_clerk(&self) -> usize {
        let people = self.simulator.truth();
        let gone = people.iter().filter(|truth| self.simulator.delete(&truth.id)).count();
        // A retired source refuses them, and Clerk tries again for a day.
        let _ = tokio::time::timeout(ATTEMPTS_WITHIN, self.simulator.delivered()).await;
        gone
    }

    fn provider_move(&self) -> anyhow::Result<ProviderMove> {
        let [clerk, better_auth] = ["clerk", "better-auth"].map(|name| self.source(name));
        Ok(ProviderMove::new(&self.store, &self.sources, &self.clock, clerk?, better_auth?)?)
    }

    fn source(&self, name: &str) -> anyhow::Result<&Source> {
        self.sources.iter().find(|source| source.name == name).context("the demo lacks a source")
    }

    fn resync(&self, name: &str) -> anyhow::Result<Resync> {
        let source = self.source(name)?;
        let settings = settings(&self.config, source);
        let watch = Arc::new(|_| {});
        Ok(Resync::new(&self.store, source, &self.sources, &self.clock, settings, watch, self.stop.clone())?)
    }

    /// State and columns of everybody.
    async fn rows(&self) -> anyhow::Result<Everybody> {
        let users = self.users().await?.into_iter();
        Ok(users.map(|user| (user.id, (user.account_state, user.columns))).collect())
    }

    async fn users(&self) -> anyhow::Result<Vec<UserView>> {
        let mut all = Vec::new();
        let mut filter = UserFilter { limit: PAGE, ..UserFilter::default() };
        loop {
            let users = self.store.users(&filter).await?;
            let Some(last) = users.last() else { return Ok(all) };
            filter.after = Some(last.id.clone());
            all.extend(users);
        }
    }

    async fn serve_on(&mut self) {
        if let crate::store::DatabaseUrl::Sqlite(path) = &self.config.database {
            let path = path.display();
            self.say(&format!(
                "It serves on; Ctrl-C ends it. Look with: headcount --database sqlite://{path} users list"
            ));
        }
        self.stop.cancelled().await;
    }

    fn say(&mut self, line: &str) {
        self.step += 1;
        if !self.json {
            print(&format!("{}  {line}", self.step));
        }
    }
}
