//! Reading a source through its API to repair what deliveries missed: full runs with their sweep, incremental reads,
//! single accounts, confirmations.
//!
//! Everything that is read ends in `reconcile::Reads`, the same decision and the same commit as a delivery's.

mod adopt;
mod compare;
mod confirm;
mod ensure;
mod events;
mod full;
mod gate;
mod guard;
mod incremental;
mod instance;
mod lease;
mod matching;
mod outbox;
mod pages;
mod parts;
mod running;
mod single;
mod sweep;
mod table;
mod walk;

pub use adopt::Adoption;
pub use ensure::{Ensure, EnsureError, Signup};
pub use incremental::Poll;
pub use lease::Lease;
pub use matching::{ColumnEffect, Matching};
pub use outbox::{Drained, InstallChange, NO_WAL, OutboxDrain, outbox_installation, outbox_state, unfit_ids};

use crate::clock::Clock;
use crate::core::brake::DeleteLimit;
use crate::core::proof::{SweepLimit, Unproven};
use crate::core::timestamp::Timestamp;
use crate::reconcile::{Drift, Reads};
use crate::source::Source;
use crate::source::api_error::ApiError;
use crate::source::directory::Position;
use crate::source::directory::Unreadable;
use crate::source::http::{Api, ClientError};
use crate::store::{Run, Store, StoreError};
use gate::Gate;
use std::sync::Arc;
use table::table_of;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// Differences that a report names one by one.
pub const DRIFT_NAMED_MAX: usize = 1_000;

/// How sources are read.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of the provider's limit: `0.0..=1.0`.
    pub rate_share: f64,
    pub confirm_after_ms: i64,
    pub max_delete: SweepLimit,
    /// Of the events that an incremental run reads.
    pub delete_limit: DeleteLimit,
}

/// Reads one source.
pub struct Resync {
    store: Store,
    source: Source,
    clock: Arc<dyn Clock>,
    gate: Arc<Gate>,
    reads: Arc<Reads>,
    settings: Settings,
    watch: Watch,
    stop: CancellationToken,
}

/// Is told how far a run has come.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    pub done: u64,
    /// As far as is known.
    pub total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Going through the source's list.
    Walking,
    /// Tying rows to accounts.
    Linking,
    /// Reading accounts by their id; so many milliseconds until the next is due.
    Confirming {
        wait_ms: i64,
    },
    Sweeping,
}

/// A run that has come to an end.
#[derive(Clone, Debug)]
pub struct Report {
    pub run: Run,
    /// The first [`DRIFT_NAMED_MAX`] differences between source and tables.
    pub drift: Vec<Drift>,
}

/// What a full run would cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    pub accounts: u64,
    pub requests: u64,
    pub requests_per_second: f64,
    pub minutes: f64,
}

/// Why a read came to nothing. Nobody is deleted by a run that ends so.
#[derive(Debug, Error)]
pub enum ResyncError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{0}; nobody was deleted")]
    Unproven(#[from] Unproven),
    #[error("the list cannot be walked: {0}; nobody was deleted")]
    Walk(&'static str),
    #[error(
        "the list leaves out {0} accounts that the API has under their ids: it is incomplete, so nothing can be concluded \
         from what it lacks; nobody was deleted"
    )]
    LeftOut(u64),
    #[error(
        "no account that is known to be there answers 200 by its id: answers of 404 cannot be trusted, so nobody was deleted"
    )]
    Canary,
    #[error(
        "the key belongs to instance {found}, and source {source_name} is pinned to {pinned}; nothing was changed. \
         `headcount source repin {source_name}` where the move is meant"
    )]
    OtherInstance { source_name: String, pinned: String, found: String },
    #[error("the source may not be asked for another {} s: {reason}", .for_ms / 1_000)]
    Blocked { for_ms: i64, reason: String },
    #[error("the API asked for patience {0} times in a row; the next attempt comes later")]
    ThrottledToDeath(u32),
    #[error(
        "{count} accounts could not be written ({reason}); make room in the users table, then run the resync again"
    )]
    Refused { count: u64, reason: String },
    #[error(
        "{unlinked} of {rows} rows of the users table belong to no account yet, and this run would create {count} new users \
         beside them; nobody was created. `headcount adopt {source_name}` links the rows, `headcount runs show {run_id}` names \
         the accounts, `headcount runs approve {run_id}` creates them all the same"
    )]
    WouldDouble { count: u64, rows: u64, unlinked: u64, run_id: String, source_name: String },
    #[error(
        "{count} of the {new} accounts for which this run would create users are of people who are here already, by {by}; \
         nobody was created. `{setting} = true` in [sources.{source_name}] of headcount.toml links them; \
         `headcount runs show {run_id}` names the accounts, `headcount runs approve {run_id}` creates users for all of them"
    )]
    WouldDoublePeople {
        count: u64,
        new: u64,
        by: String,
        setting: &'static str,
        run_id: String,
        source_name: String,
    },
    #[error("{0} accounts kept changing while they were read; the next run settles them")]
    Unsettled(u64),
    #[error("a resync of {source_name} is under way in another process; `headcount runs list` shows it")]
    Busy { source_name: String },
    #[error(transparent)]
    Unreadable(Unreadable),
    #[error("source {source_name} cannot be read: {error}")]
    Client { source_name: String, error: ClientError },
    #[error("source {0} is retired; `headcount source retire {0} --undo` takes it up again")]
    Retired(String),
    #[error(
        "none of the accounts known of source {0} is at its API: the key looks like another environment's; nothing was \
         changed. `headcount source repin {0}` where the move is meant"
    )]
    OtherEnvironment(String),
    #[error("neither the source nor the tables know account {0}")]
    Unknown(String),
    #[error("stopped; the next run goes on from here")]
    Stopped,
}

impl ResyncError {
    /// Whether the same may succeed in a while, without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            ResyncError::Store(error) => error.is_transient(),
            ResyncError::Api(error) => error.is_transient(),
            ResyncError::Blocked { .. } | ResyncError::ThrottledToDeath(_) | ResyncError::Busy { .. } => true,
            _ => false,
        }
    }

    /// Whether it may be one account's content that cannot be given, while the others can.
    pub fn is_of_one_account(&self) -> bool {
        match self {
            ResyncError::Api(error) => error.is_of_content() || error.is_unprocessable(),
            _ => false,
        }
    }

    /// Whether the configuration has to change before the same can succeed.
    pub fn is_wrong_setup(&self) -> bool {
        matches!(
            self,
            ResyncError::Unreadable(_) | ResyncError::Client { error: ClientError::Key { .. }, .. }
        )
    }
}

impl Resync {
    /// An error where the source cannot be read as it is configured, or no HTTP client can be made.
    pub fn new(
        store: &Store,
        source: &Source,
        sources: &Arc<Vec<Source>>,
        clock: &Arc<dyn Clock>,
        settings: Settings,
        watch: Watch,
        stop: CancellationToken,
    ) -> Result<Self, ResyncError> {
        let api = match table_of(source)? {
            Some(table) => table,
            None => Api::of(source).map_err(|error| match error {
                ClientError::Unreadable(unreadable) => ResyncError::Unreadable(unreadable),
                error => ResyncError::Client { source_name: source.name.clone(), error },
            })?,
        };
        let pace = api.rate_limit().pace(settings.rate_share);
        let gate = Gate::new(store.clone(), source, api, pace, clock.clone(), stop.clone());
        let reads = Reads {
            store: store.clone(),
            source: source.clone(),
            sources: sources.clone(),
            clock: clock.clone(),
            confirm_after_ms: settings.confirm_after_ms,
        };
        let (store, source, clock) = (store.clone(), source.clone(), clock.clone());
        Ok(Self { store, source, clock, gate: Arc::new(gate), reads: Arc::new(reads), settings, watch, stop })
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What a full run would cost, from the source's count and the pace that it may be asked at.
    pub async fn forecast(&self) -> Result<Forecast, ResyncError> {
        self.check_instance().await?;
        // Where the API does not count: as many as are known here.
        let accounts = match self.gate.count().await? {
            Some(count) => count,
            None => self.store.count_accounts(&self.source.name).await?,
        };
        let page_size = self.gate.directory().page(&Position::START).size as u64;
        // Instance, both counts, and the page after the last one where that was full.
        let requests = accounts.div_ceil(page_size) + 4;
        let requests_per_second = self.gate.pace().per_second();
        let minutes = requests as f64 / requests_per_second / 60.0;
        Ok(Forecast { accounts, requests, requests_per_second, minutes })
    }

    /// How many people were active at the source since then; `None` where it does not say.
    pub async fn active_since(&self, since: Timestamp) -> Result<Option<u64>, ResyncError> {
        let directory = self.gate.directory();
        let Some(path) = directory.active_since(since) else { return Ok(None) };
        Ok(self.gate.ask(&path, |answer| directory.read_count(answer)).await?.0)
    }

    fn report(&self, phase: Phase, done: u64, total: u64) {
        (self.watch)(Progress { phase, done, total });
    }

    fn check_stopped(&self) -> Result<(), ResyncError> {
        if self.stop.is_cancelled() { Err(ResyncError::Stopped) } else { Ok(()) }
    }
}
