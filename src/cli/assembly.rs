//! A worker put together from its parts.

use super::descriptors::{Listeners, listeners};
use crate::clock::Clock;
use crate::config::{AdminSettings, Config, OnDelete, PollSetting};
use crate::intake::{Ingest, WriteHealth, run_write_health};
use crate::live::Live;
use crate::reconcile::{Calls, Deliveries, ErasedRow};
use crate::resync::{Ensure, OutboxDrain, Resync, Settings};
use crate::source::Source;
use crate::store::Store;
use crate::web::{Admin, BODY_BYTES_MAX, BodyBudget, Public, Tokens, admin_router, public_router};
use crate::worker::{
    ErasurePolicy, Housekeeping, Refusals, Retired, Times, run_applier, run_calls, run_confirmations,
    run_first_read, run_first_reads, run_held, run_housekeeping, run_outbox, run_retired, run_schedule,
    run_strip_stored, supervised, unread_at_first,
};
use anyhow::Context as _;
use clap::ValueEnum;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How often the newest changes are read where there is no webhook.
const POLL_DEFAULT: Duration = Duration::from_secs(5);

/// A part that a process may play.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Takes deliveries into the inbox
    Ingest,
    /// Applies what is in the inbox, and prunes it
    Apply,
    /// Reads sources that have an API key, on schedule
    Resync,
    /// Answers applications and operators on the admin listener
    Admin,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Ingest, Role::Apply, Role::Resync, Role::Admin];
}

/// A running worker.
pub struct Serving {
    public: Public,
    /// Where this process plays that part.
    admin: Option<Arc<Admin>>,
    limits: Listeners,
    writer: Option<JoinHandle<()>>,
    loops: Vec<JoinHandle<()>>,
    /// Ends the loops, once no delivery comes any more.
    applies: CancellationToken,
    /// Ends reads, which may take long, at once.
    reads: CancellationToken,
    refusals: Arc<Refusals>,
    store: Store,
}

impl Serving {
    /// The tokens of the admin listener, where this process has one.
    pub fn tokens(&self) -> Option<Live<Tokens>> {
        self.admin.as_ref().map(|admin| admin.tokens.clone())
    }

    pub fn start(
        config: &Config,
        store: &Store,
        roles: &[Role],
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let plays = |role| roles.contains(&role);
        let sources = Arc::new(config.sources.clone());
        let stored = Arc::new(Notify::new());
        let refusals = Arc::new(Refusals::default());
        let (applies, reads) = (CancellationToken::new(), CancellationToken::new());
        let writing = roles.iter().any(|role| *role != Role::Admin).then(Arc::<WriteHealth>::default);
        let (ingest, writer) = match (&writing, plays(Role::Ingest)) {
            (Some(writing), true) => Some(Ingest::start(store, &stored, writing)),
            _ => None,
        }
        .unzip();
        let mut loops = Vec::new();
        if let Some(writing) = &writing {
            let (store, writing, of_process, stop) =
                (store.clone(), writing.clone(), clock.clone(), applies.clone());
            loops.push(supervised("heartbeat", clock, move || {
                run_write_health(store.clone(), writing.clone(), of_process.clone(), stop.clone())
            }));
        }
        let unread = unread_at_first(&sources);
        let calls = Calls { store: store.clone(), sources: sources.clone(), clock: clock.clone() };
        let mut admin = None;
        if plays(Role::Admin) {
            admin = Some(Arc::new(self::admin(config, store, calls.clone(), &reads)?));
        }
        if plays(Role::Apply) {
            let deliveries = Arc::new(Deliveries {
                store: store.clone(),
                sources: sources.clone(),
                clock: clock.clone(),
                delete_limit: config.delete_limit,
                batch_max: store.batch_max(),
                unread: unread.clone(),
            });
            let held = deliveries.clone();
            let (calls, erasure, stop) = (calls.clone(), erasure(config), applies.clone());
            loops.push(supervised("calls", clock, move || run_calls(calls.clone(), erasure, stop.clone())));
            let (of_store, all, of_process, stop) =
                (store.clone(), sources.clone(), clock.clone(), applies.clone());
            loops.push(supervised("stored bodies", clock, move || {
                run_strip_stored(of_store.clone(), all.clone(), of_process.clone(), stop.clone())
            }));
            let stop = applies.clone();
            loops.push(supervised("held values", clock, move || run_held(held.clone(), stop.clone())));
            for _ in 0..store.appliers() {
                let (deliveries, stored, stop) = (deliveries.clone(), stored.clone(), applies.clone());
                loops.push(supervised("applier", clock, move || {
                    run_applier(deliveries.clone(), stored.clone(), stop.clone())
                }));
            }
        }
        if plays(Role::Apply) || plays(Role::Resync) {
            loops.extend(first_reads(config, store, clock, unread, &stored, &reads)?);
        }
        if plays(Role::Resync) {
            for source in sources.iter().filter(|source| source.is_readable()) {
                loops.extend(reading(config, store, source, &sources, clock, &reads)?);
                loops.extend(draining(store, source, clock, &stored, &reads)?);
            }
        }
        {
            let (store, refusals, stop) = (store.clone(), refusals.clone(), applies.clone());
            let times = Housekeeping {
                retention_ms: config.inbox_retention_ms,
                confirm_after_ms: config.resync.confirm_after_ms,
                prunes: plays(Role::Apply),
            };
            loops.push(supervised("housekeeping", clock, move || {
                run_housekeeping(store.clone(), refusals.clone(), times, stop.clone())
            }));
        }
        let retired = Retired::default();
        {
            let (store, retired, stop) = (store.clone(), retired.clone(), applies.clone());
            loops.push(supervised("retired sources", clock, move || {
                run_retired(store.clone(), retired.clone(), stop.clone())
            }));
        }
        let bytes_max = config.body_bytes_max;
        let mut public =
            Public::new(sources, ingest, store.clone(), clock.clone(), refusals.clone(), retired, bytes_max);
        public.writing = writing;
        let limits = listeners(config.database.connections_max().into());
        Ok(Self { public, admin, limits, writer, loops, applies, reads, refusals, store: store.clone() })
    }

    /// Listens until `stop`, then ends everything in its order.
    pub async fn until(
        self,
        listener: TcpListener,
        admin: Option<TcpListener>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let public =
            crate::web::serve(listener, public_router(self.public.clone()), self.limits.public, stop.clone());
        match (admin, self.admin.clone()) {
            (Some(listener), Some(admin)) => {
                tokio::spawn(admin.ensure.clone().check_instances());
                tokio::join!(
                    public,
                    crate::web::serve(listener, admin_router(admin), self.limits.admin, stop)
                );
            }
            _ => public.await,
        }
        info!("stopping");
        self.finish().await
    }

    /// Ends what runs. No request is left: the writer ends when its queue is empty, the loops after what they are at.
    pub async fn finish(self) -> anyhow::Result<()> {
        drop(self.public);
        self.reads.cancel();
        if let Some(writer) = self.writer {
            writer.await.context("a writer of the inbox failed")?;
        }
        self.applies.cancel();
        for running in self.loops {
            running.await.context("a loop failed")?;
        }
        self.refusals.flush(&self.store).await;
        Ok(())
    }
}

/// What becomes of the rows of people who are erased.
pub fn erased_row(config: &Config) -> ErasedRow {
    match config.on_delete {
        OnDelete::Keep | OnDelete::Anonymize => ErasedRow::Emptied,
        OnDelete::Remove => ErasedRow::Removed,
    }
}

fn erasure(config: &Config) -> Option<ErasurePolicy> {
    let erasure = ErasurePolicy { erased_row: erased_row(config), for_ms: config.erase_after_ms };
    (config.on_delete != OnDelete::Keep).then_some(erasure)
}

fn admin(config: &Config, store: &Store, calls: Calls, stop: &CancellationToken) -> anyhow::Result<Admin> {
    let read = |source: &Source| {
        let clock = &calls.clock;
        let settings = settings(config, source);
        Resync::new(store, source, &calls.sources, clock, settings, Arc::new(|_| {}), stop.clone())
    };
    let with_key = || config.sources.iter().filter(|source| source.is_readable());
    let asking = with_key().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut reading = HashMap::new();
    for source in with_key() {
        reading.insert(source.name.clone(), Arc::new(read(source)?));
    }
    let timeout = Duration::from_millis(config.admin.ensure_timeout_ms.unsigned_abs());
    Ok(Admin {
        store: store.clone(),
        ensure: Ensure::new(calls, asking, timeout),
        reading,
        tokens: Live::new(tokens(&config.admin)),
        hosts: config.admin.hosts.clone(),
        erased_row: erased_row(config),
        silence_after_ms: silence_after_ms(config),
        budget: BodyBudget::new(BODY_BYTES_MAX),
    })
}

/// Who may come in on the admin listener.
pub fn tokens(admin: &AdminSettings) -> Tokens {
    Tokens::new(admin.token.as_ref(), admin.app_token.as_ref())
}

/// After how long the silence of each source is alarming.
pub fn silence_after_ms(config: &Config) -> HashMap<String, i64> {
    let names = config.source_names().into_iter();
    names
        .map(|name| {
            let after_ms = config.resync_of(&name).silence_after_ms;
            (name, after_ms)
        })
        .collect()
}

/// How a source is read, as it is configured.
pub fn settings(config: &Config, source: &Source) -> Settings {
    let resync = config.resync_of(&source.name);
    Settings {
        rate_share: resync.rate_share,
        confirm_after_ms: resync.confirm_after_ms,
        max_delete: resync.max_delete,
        delete_limit: source.delete_limit.unwrap_or(config.delete_limit),
    }
}

/// The loops for which deliveries wait.
fn first_reads(
    config: &Config,
    store: &Store,
    clock: &Arc<dyn Clock>,
    unread: Live<BTreeSet<String>>,
    applied: &Arc<Notify>,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let all = (*unread.get()).clone();
    let sources = Arc::new(config.sources.clone());
    let mut loops = Vec::new();
    for source in sources.iter().filter(|source| all.contains(&source.name)) {
        let settings = settings(config, source);
        let resync =
            Arc::new(Resync::new(store, source, &sources, clock, settings, Arc::new(|_| {}), stop.clone())?);
        let (store, unread, of_process, stop) = (store.clone(), unread.clone(), clock.clone(), stop.clone());
        loops.push(supervised("first read", clock, move || {
            run_first_read(store.clone(), resync.clone(), unread.clone(), of_process.clone(), stop.clone())
        }));
    }
    let (store, applied, stop) = (store.clone(), applied.clone(), stop.clone());
    loops.push(supervised("first reads", clock, move || {
        run_first_reads(store.clone(), all.clone(), unread.clone(), applied.clone(), stop.clone())
    }));
    Ok(loops)
}

/// The loop that drains the source's outbox, where it has a table beside which one may be.
fn draining(
    store: &Store,
    source: &Source,
    clock: &Arc<dyn Clock>,
    stored: &Arc<Notify>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(outbox) = OutboxDrain::of(store, source, clock)? else { return Ok(None) };
    let (outbox, stored) = (Arc::new(outbox), stored.clone());
    let (of_process, stop) = (clock.clone(), stop.clone());
    Ok(Some(supervised("outbox", clock, move || {
        run_outbox(outbox.clone(), stored.clone(), of_process.clone(), stop.clone())
    })))
}

fn reading(
    config: &Config,
    store: &Store,
    source: &Source,
    sources: &Arc<Vec<Source>>,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) -> anyhow::Result<[JoinHandle<()>; 2]> {
    let make = || {
        let settings = settings(config, source);
        Resync::new(store, source, sources, clock, settings, Arc::new(|_| {}), stop.clone())
    };
    let own = config.resync_of(&source.name);
    // A client each: what one waits for does not hold up the other.
    let (runs, confirmations) = (Arc::new(make()?), Arc::new(make()?));
    let times = Times {
        schedule: own.schedule.clone(),
        poll_every: match own.poll {
            PollSetting::Off => None,
            PollSetting::EveryMs(ms) => Some(Duration::from_millis(ms.unsigned_abs())),
            PollSetting::Default => (!source.takes_deliveries()).then_some(POLL_DEFAULT),
        },
        silence_after_ms: own.silence_after_ms,
    };
    let (store_of_runs, stop_of_runs) = (store.clone(), stop.clone());
    let (store, stop) = (store.clone(), stop.clone());
    Ok([
        supervised("resync", clock, move || {
            run_schedule(store_of_runs.clone(), runs.clone(), times.clone(), stop_of_runs.clone())
        }),
        supervised("confirmations", clock, move || {
            run_confirmations(store.clone(), confirmations.clone(), stop.clone())
        }),
    ])
}
