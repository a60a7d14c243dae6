//! How everything is: users by state, the incomplete, the inbox, sources, what is held back.

use super::RunJson;
use super::refusal::hint;
use crate::core::switch::AuthoritySwitch;
use crate::core::timestamp::Timestamp;
use crate::resync::{NO_WAL, outbox_state};
use crate::source::Source;
use crate::store::{
    HeldGroup, OutboxPosition, OutboxState, RecordedSwitch, SourceReport, SourceRow, Store, StoreError,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::timeout;
use utoipa::ToSchema;

/// Held runs that are named one by one.
const HELD_RUNS_MAX: i64 = 100;
const OUTBOX_TIMEOUT: Duration = Duration::from_secs(2);
/// A worker looks many times a second.
const OUTBOX_STALLED_AFTER_MS: i64 = 60_000;

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusJson {
    /// Users by state.
    pub users: BTreeMap<String, u64>,
    pub missing: Vec<Missing>,
    /// Deliveries by status.
    pub inbox: BTreeMap<String, u64>,
    /// When the longest waiting delivery that is due was received.
    pub oldest_pending: Option<String>,
    pub refused: Vec<RefusedJson>,
    pub sources: Vec<SourceStatusJson>,
    pub held_runs: Vec<RunJson>,
    pub held_back: Vec<HeldBack>,
    /// A switch of authority that is in force, and whose process ended before it had rewritten everybody.
    pub unfinished_switch: Option<UnfinishedSwitch>,
    /// Why nothing can be written to the database now; null where it can.
    pub database_takes_no_writes: Option<String>,
    /// What is wrong with the users table itself: rights, hidden rows, columns that are there no more.
    pub users_table_problems: Vec<String>,
    /// Of a table that was there before headcount: rows that belong to no account.
    pub rows_without_account: Option<u64>,
    /// Of the same table: all rows.
    pub rows: Option<u64>,
}

/// A switch of authority that somebody has to go on with: by the same command.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnfinishedSwitch {
    pub from: String,
    pub to: String,
    /// `switch` or `back`
    pub direction: String,
    pub started_at: String,
}

/// A required field, and how many people lack it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Missing {
    pub field: String,
    pub users: u64,
    /// Since when the one who lacks it longest is incomplete.
    pub oldest_since: Option<String>,
}

/// Deliveries that were refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Refused)]
pub struct RefusedJson {
    pub source: String,
    pub reason: String,
    pub count: u64,
    pub last_at: Option<String>,
    /// What the reason means, and what to do.
    pub hint: String,
}

/// What there is to say about a configured source.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SourceStatus)]
pub struct SourceStatusJson {
    pub name: String,
    pub kind: String,
    pub accounts: u64,
    pub last_delivery: Option<String>,
    pub takes_deliveries: bool,
    pub has_api_key: bool,
    pub instance: Option<String>,
    /// What its deliveries wait for, before its API was read for the first time.
    pub waits_for: Option<WaitsFor>,
    /// The outbox beside its table; null where there is none.
    pub outbox: Option<OutboxJson>,
    pub last_resync: Option<RunJson>,
    pub lag_ms: i64,
    /// Accounts that are in doubt.
    pub to_be_read_again: u64,
    /// Accounts without a user whose address is another user's, until the source has verified it for them.
    pub awaiting_address: u64,
    /// Accounts that had a user when their first snapshot named another user's address: a person links or separates them.
    pub colliding: u64,
    pub loss: LossRate,
    /// The alarm of a source that delivers nothing although its API shows changes.
    pub silence: Option<String>,
    /// The source before which its word counts since a switch of authority (`headcount move --switch`).
    pub supersedes: Option<String>,
    /// Since when it takes no deliveries and is not read.
    pub retired_at: Option<String>,
    pub blocked_until: Option<String>,
    pub blocked_reason: Option<String>,
    pub failures_in_a_row: i64,
}

/// What deliveries wait for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WaitsFor {
    pub what: String,
    /// Why it has not come about yet, where it was tried.
    pub error: Option<String>,
}

/// How an outbox beside a provider's table stands.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Outbox)]
pub struct OutboxJson {
    /// Notes that wait to be taken, up to a million.
    pub waiting: u64,
    pub oldest_age_ms: Option<i64>,
    /// Changes that its trigger could not note.
    pub failures: u64,
    pub last_failure: Option<String>,
    /// Why nothing comes of it, or less than there should be; null where all is well.
    pub problem: Option<String>,
}

/// What webhooks have lost: changes that only a resync found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LossRate {
    pub rate: Option<f64>,
    pub delivered: u64,
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    pub lost: u64,
}

/// Values that the application's own constraints keep out, for one reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HeldBack {
    pub source: String,
    /// Null where there can be no row at all.
    pub column: Option<String>,
    pub reason: String,
    pub count: u64,
    pub oldest_since: Option<String>,
}

/// Asks for all of it.
pub async fn status(
    store: &Store,
    sources: &[Source],
    silence_after_ms: &HashMap<String, i64>,
) -> Result<StatusJson, StoreError> {
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let report = store.status(&names).await?;
    let mut of_sources = Vec::new();
    for (source, report) in sources.iter().zip(report.sources) {
        of_sources
            .push(source_status(store, source, report, silence_after_ms.get(&source.name).copied()).await?);
    }
    let held = store.runs("", "held", HELD_RUNS_MAX).await?;
    let unlinked = match store.users_table().is_adopted() {
        true => Some(store.count_unlinked().await?),
        false => None,
    };
    let missing = report.missing.into_iter();
    let refused = report.refusals.into_iter();
    Ok(StatusJson {
        users: report.users,
        missing: missing
            .map(|missing| Missing {
                field: missing.field,
                users: missing.users,
                oldest_since: missing.oldest_since,
            })
            .collect(),
        inbox: report.inbox,
        oldest_pending: report.oldest_pending,
        refused: refused
            .map(|refusal| RefusedJson {
                hint: hint(&refusal.reason, &refusal.source),
                source: refusal.source,
                reason: refusal.reason,
                count: refusal.count,
                last_at: refusal.last_at,
            })
            .collect(),
        sources: of_sources,
        held_runs: held.iter().map(RunJson::from).collect(),
        unfinished_switch: store.unfinished_switch().await?.map(UnfinishedSwitch::from),
        held_back: store.held_groups().await?.into_iter().map(HeldBack::from).collect(),
        database_takes_no_writes: store.why_no_writes().await.map(str::to_owned),
        users_table_problems: store.table_problems().await?,
        rows_without_account: unlinked.map(|(_, unlinked)| unlinked),
        rows: unlinked.map(|(rows, _)| rows),
    })
}

async fn source_status(
    store: &Store,
    source: &Source,
    report: SourceReport,
    silence_after_ms: Option<i64>,
) -> Result<SourceStatusJson, StoreError> {
    let loss = store.loss(&source.name).await?;
    let now = store.now().await?;
    let takes_deliveries = source.takes_deliveries();
    let waiting_since = report.oldest_pending.as_deref().and_then(Timestamp::parse);
    let limiter = store.limiter(&source.name).await?;
    let row = store.source(&source.name).await?;
    let alarm = silence_after_ms.and_then(|after_ms| loss.silence(now, after_ms));
    Ok(SourceStatusJson {
        name: source.name.clone(),
        kind: source.provider.kind().to_owned(),
        accounts: report.accounts,
        last_delivery: report.last_delivery,
        takes_deliveries,
        has_api_key: source.is_readable(),
        waits_for: waits_for(source, &row),
        outbox: outbox(source, row.drained.as_ref()).await,
        instance: source.instance.clone().or(row.instance_id),
        last_resync: store.last_full_run(&source.name).await?.as_ref().map(RunJson::from),
        lag_ms: waiting_since.map_or(0, |since| (now.ms() - since.ms()).max(0)),
        to_be_read_again: report.doubted,
        awaiting_address: report.address_conflicts.awaiting,
        colliding: report.address_conflicts.colliding,
        silence: alarm.filter(|_| takes_deliveries && row.retired_at.is_none()),
        retired_at: row.retired_at,
        supersedes: row.supersedes,
        loss: LossRate {
            rate: loss.rate(),
            delivered: loss.delivered,
            created: loss.created,
            updated: loss.updated,
            deleted: loss.deleted,
            lost: loss.lost(),
        },
        blocked_until: limiter.blocked_until,
        blocked_reason: limiter.blocked_reason,
        failures_in_a_row: limiter.failures,
    })
}

/// Deliveries of a source that has a key wait until it was read, unless the configuration says which instance it is.
fn waits_for(source: &Source, row: &SourceRow) -> Option<WaitsFor> {
    if !source.is_readable() || source.instance.is_some() || row.read_at.is_some() || row.retired_at.is_some()
    {
        return None;
    }
    let what = "the first read of its API, which tells whose instance they are of".to_owned();
    Some(WaitsFor { what, error: row.read_error.clone() })
}

/// Asks the database that has it.
async fn outbox(source: &Source, drained: Option<&OutboxPosition>) -> Option<OutboxJson> {
    let problem = |problem: String| Some(OutboxJson { problem: Some(problem), ..OutboxJson::default() });
    let state = match timeout(OUTBOX_TIMEOUT, outbox_state(source, drained)).await {
        Ok(Ok(state)) => state?,
        Ok(Err(error)) => return problem(format!("whether there is an outbox cannot be told: {error}")),
        Err(_) => {
            return problem(format!("its database gave no answer within {} s", OUTBOX_TIMEOUT.as_secs()));
        }
    };
    let OutboxState { waiting, oldest_age_ms, failures, last_failure, is_concurrent } = state;
    let stalled_ms = oldest_age_ms.filter(|age_ms| *age_ms > OUTBOX_STALLED_AFTER_MS);
    let problem = match (is_concurrent, stalled_ms) {
        (false, _) => Some(NO_WAL.to_owned()),
        (true, Some(age_ms)) => {
            Some(format!("{waiting} notes wait, the oldest for {} s: nobody drains it", age_ms / 1_000))
        }
        (true, None) if failures > 0 => {
            let last = last_failure.clone().unwrap_or_default();
            Some(format!("its trigger could not note {failures} changes ({last}); a full run finds them"))
        }
        (true, None) => None,
    };
    Some(OutboxJson { waiting, oldest_age_ms, failures, last_failure, problem })
}

impl From<HeldGroup> for HeldBack {
    fn from(group: HeldGroup) -> Self {
        let HeldGroup { source, column, reason, count, oldest_since } = group;
        Self { source, column, reason, count, oldest_since }
    }
}

impl From<RecordedSwitch> for UnfinishedSwitch {
    fn from(recorded: RecordedSwitch) -> Self {
        let AuthoritySwitch { from, to, direction } = recorded.switch;
        let started_at = recorded.started_at.to_string();
        Self { from, to, direction: direction.name().to_owned(), started_at }
    }
}
