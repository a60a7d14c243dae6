//! Deliveries from the inbox, a batch at a time, in one transaction.

use super::account::{difference, held, write_each};
use super::reads::READ_EVENT;
use crate::clock::{Clock, fresh_user_id, jitter};
use crate::core::account::IdentityState;
use crate::core::attempts::next_delay_ms;
use crate::core::brake::DeleteLimit;
use crate::core::decide::{Account, Doubt, Verdict, decide};
use crate::core::event::{Event, EventKind, IdentityKey};
use crate::source::Source;
use crate::store::{
    CausedChange, Finished, Locked, NewConfirmation, Pending, Reconciliation, Store, StoreError,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How long a delivery is put off whose account somebody else holds: their transactions are short.
const ELSEWHERE_DELAY_MS: u64 = 100;

/// Applies what lies in the inbox.
pub struct Deliveries {
    pub store: Store,
    pub sources: Arc<Vec<Source>>,
    pub clock: Arc<dyn Clock>,
    pub delete_limit: DeleteLimit,
    /// How many deliveries one transaction takes.
    pub batch_max: i64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Deliveries that were claimed.
    pub claimed: usize,
    /// Those of them about which something was decided; the rest waits for another process's transaction.
    pub finished: usize,
    pub dead: usize,
    pub held: usize,
    /// Refused by a constraint of the application's and to be tried again.
    pub retried: usize,
}

/// An account of the batch: what was known, what is to be, and which deliveries say so.
struct Work {
    before: Account,
    after: Account,
    /// The id of a row that the application has removed: should the row be needed again, it keeps its id.
    former_id: Option<String>,
    finished: Vec<Finished>,
    /// With the delivery that made them.
    changes: Vec<(i64, CausedChange)>,
    synced: bool,
    /// The source is to be asked as well.
    ask: Option<Doubt>,
}

impl Deliveries {
    /// Applies one batch.
    ///
    /// A row that the database refuses fails alone. Where it does so only at the commit (SQLite's deferred foreign
    /// keys), the batch is gone through one delivery at a time.
    pub async fn apply_batch(&self) -> Result<Applied, StoreError> {
        match self.apply(self.batch_max).await {
            Err((StoreError::Rejected(_), _)) => self.apply_one().await,
            result => result.map_err(|(error, _)| error),
        }
    }

    async fn apply_one(&self) -> Result<Applied, StoreError> {
        match self.apply(1).await {
            Err((StoreError::Rejected(reason), claimed)) => {
                let mut tx = self.store.reconciliation().await?;
                let finished: Vec<Finished> =
                    claimed.iter().map(|&(seq, attempts)| failed(seq, attempts + 1, &reason)).collect();
                tx.finish(&finished).await?;
                tx.commit(&[]).await?;
                Ok(Applied { claimed: 1, finished: 1, retried: 1, ..Applied::default() })
            }
            result => result.map_err(|(error, _)| error),
        }
    }

    /// One transaction. An error comes with the deliveries that were claimed: seq and attempts.
    async fn apply(&self, limit: i64) -> Result<Applied, (StoreError, Vec<(i64, u32)>)> {
        let mut claimed = Vec::new();
        let result = async {
            let mut tx = self.store.reconciliation().await?;
            let names: Vec<String> = self.sources.iter().map(|source| source.name.clone()).collect();
            let pending = tx.claim(&names, limit).await?;
            claimed = pending.iter().map(|pending| (pending.seq, pending.attempts)).collect();
            if pending.is_empty() {
                return Ok(Applied::default());
            }
            self.apply_claimed(tx, pending).await
        }
        .await;
        result.map_err(|error| (error, claimed))
    }

    async fn apply_claimed(
        &self,
        mut tx: Reconciliation,
        pending: Vec<Pending>,
    ) -> Result<Applied, StoreError> {
        let claimed = pending.len();
        let pins = tx.pins().await?;
        let (events, mut finished, mut asked) = self.normalize(pending, &pins);
        let mut keys: Vec<IdentityKey> = events.iter().map(|(_, event)| event.key.clone()).collect();
        keys.sort();
        keys.dedup();
        let locked = tx.lock(&keys).await?;
        let mut budgets = self.budgets(&mut tx, &events, &locked).await?;
        let mut work: BTreeMap<IdentityKey, Work> =
            locked.into_iter().map(|(key, locked)| (key.clone(), self.work(&key, locked))).collect();
        let mut deferred = Vec::new();
        for (pending, event) in &events {
            match work.get_mut(&event.key) {
                Some(work) => {
                    self.take(
                        work,
                        pending,
                        event,
                        budgets.entry(event.key.source.clone()).or_insert(u64::MAX),
                    );
                }
                None => deferred.push(elsewhere(pending)),
            }
        }
        let mut changes = Vec::new();
        asked.extend(work.iter().filter_map(|(key, work)| Some((key.clone(), work.ask?))));
        self.write(&mut tx, work, &mut finished, &mut changes).await?;
        tx.confirm(&self.questions(asked)).await?;
        // The feed tells things in the order in which they came.
        changes.sort_by_key(|(seq, _)| *seq);
        let changes: Vec<CausedChange> = changes.into_iter().map(|(_, change)| change).collect();
        tx.finish(&finished).await?;
        tx.finish(&deferred).await?;
        tx.commit(&changes).await?;
        let count = |status: &str| finished.iter().filter(|finished| finished.status == status).count();
        Ok(Applied {
            claimed,
            finished: finished.len(),
            dead: count("dead"),
            held: count("held"),
            retried: count("pending"),
        })
    }

    /// What cannot be understood is a dead letter at once; what another instance sent is ignored.
    #[expect(clippy::type_complexity, reason = "three kinds of delivery, told apart once")]
    fn normalize(
        &self,
        pending: Vec<Pending>,
        pins: &HashMap<String, String>,
    ) -> (Vec<(Pending, Event)>, Vec<Finished>, Vec<(IdentityKey, Doubt)>) {
        let mut events = Vec::with_capacity(pending.len());
        let (mut finished, mut asked) = (Vec::new(), Vec::new());
        for pending in pending {
            let Some(source) = self.sources.iter().find(|source| source.name == pending.source) else {
                continue;
            };
            let mut done = |status, last_error| finished.push(ended(&pending, status, last_error));
            if pending.event_type == READ_EVENT {
                // A user of a page that could not be understood: read anew, rather than applied as of then.
                match pending.provider_id.clone() {
                    Some(provider_id) => {
                        let key = IdentityKey { source: source.name.clone(), provider_id };
                        asked.push((key, Doubt::Asked));
                        done("stale", Some("the account is read again".to_owned()));
                    }
                    None => done("dead", Some("it names no account that could be read again".to_owned())),
                }
                continue;
            }
            match source.provider.normalize(&pending.source, &pending.body) {
                Ok(event) => match elsewhere_from(&event, source, pins) {
                    Some(reason) => done("ignored", Some(reason)),
                    None => events.push((pending, event)),
                },
                Err(reason) => done("dead", Some(reason.to_string())),
            }
        }
        (events, finished, asked)
    }

    /// Only where there is a key to ask with.
    fn questions(&self, asked: Vec<(IdentityKey, Doubt)>) -> Vec<NewConfirmation> {
        let asked: BTreeMap<IdentityKey, Doubt> = asked.into_iter().collect();
        let can_ask = |key: &IdentityKey| {
            self.sources.iter().any(|source| source.name == key.source && source.api.is_some())
        };
        let question = |(key, doubt)| NewConfirmation {
            key,
            run_id: None,
            doubt,
            due_in_ms: 0,
            first: None,
            gone: false,
        };
        asked.into_iter().filter(|(key, _)| can_ask(key)).map(question).collect()
    }

    /// How many users each source's deliveries may still delete.
    async fn budgets(
        &self,
        tx: &mut Reconciliation,
        events: &[(Pending, Event)],
        locked: &BTreeMap<IdentityKey, Locked>,
    ) -> Result<HashMap<String, u64>, StoreError> {
        let mut wanted: HashMap<String, u64> = HashMap::new();
        for (_, event) in events {
            let deletes = event.kind == EventKind::Delete
                && locked.get(&event.key).is_some_and(|account| account.state != IdentityState::Deleted);
            if deletes {
                *wanted.entry(event.key.source.clone()).or_default() += 1;
            }
        }
        let mut budgets = HashMap::new();
        for (source, wanted) in wanted {
            let lately = tx.deleted_lately(&source).await?;
            let allowed = match self.delete_limit.without_counting(lately + wanted) {
                Some(allowed) => allowed,
                // Those that are gone within the hour were accounts when it began.
                None => self.delete_limit.allowed(tx.accounts_of(&source).await? + lately),
            };
            budgets.insert(source, allowed.saturating_sub(lately));
        }
        Ok(budgets)
    }

    fn work(&self, key: &IdentityKey, locked: Locked) -> Work {
        let source = self.sources.iter().find(|source| source.name == key.source);
        let held = held(source, locked);
        Work {
            former_id: held.former_id,
            after: held.known.clone(),
            before: held.known,
            finished: Vec::new(),
            changes: Vec::new(),
            synced: false,
            ask: None,
        }
    }

    fn take(&self, work: &mut Work, pending: &Pending, event: &Event, budget: &mut u64) {
        let deleted = |account: &Account| {
            account.identity.as_ref().is_some_and(|identity| identity.state == IdentityState::Deleted)
        };
        let deletes_user =
            event.kind == EventKind::Delete && !deleted(&work.after) && work.after.user.is_some();
        if deletes_user && !pending.approved {
            if *budget == 0 {
                work.finished.push(held_back(pending));
                return;
            }
            *budget -= 1;
        }
        let id = work.former_id.clone().unwrap_or_else(|| fresh_user_id(self.clock.now()));
        let decision = decide(&work.after, event, pending.received_at, &id);
        work.after = decision.account;
        work.synced |= decision.verdict == Verdict::Applied;
        work.ask = decision.ask.or(work.ask);
        if let Some(change) = decision.change {
            work.changes.push((pending.seq, CausedChange { change, cause: cause(pending, event) }));
        }
        let status = match decision.verdict {
            Verdict::Applied => "applied",
            Verdict::Stale => "stale",
        };
        work.finished.push(ended(pending, status, None));
    }

    /// Where the database refuses an account, its deliveries wait.
    async fn write(
        &self,
        tx: &mut Reconciliation,
        work: BTreeMap<IdentityKey, Work>,
        finished: &mut Vec<Finished>,
        changes: &mut Vec<(i64, CausedChange)>,
    ) -> Result<(), StoreError> {
        let (mut writes, mut writing, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for (key, work) in work {
            match difference(&key, &work.before, &work.after, work.synced) {
                Some(write) => {
                    writes.push(write);
                    writing.push(work);
                }
                None => other.push(work),
            }
        }
        let refused = write_each(tx, &writes).await?;
        for (work, refused) in writing.into_iter().zip(refused) {
            match refused {
                None => other.push(work),
                Some(reason) => {
                    finished.extend(work.finished.into_iter().map(|finished| match finished.status {
                        "held" => finished,
                        _ => failed(finished.seq, finished.attempts, &reason),
                    }))
                }
            }
        }
        for work in other {
            finished.extend(work.finished);
            changes.extend(work.changes);
        }
        Ok(())
    }
}

/// Why a delivery is not this source's; `None` where it is, or does not say.
fn elsewhere_from(event: &Event, source: &Source, pins: &HashMap<String, String>) -> Option<String> {
    let pinned = source.instance.as_ref().or_else(|| pins.get(&source.name))?;
    let sender = event.instance.as_ref().filter(|sender| *sender != pinned)?;
    Some(format!(
        "it comes from instance {sender}, and the source is pinned to {pinned}; a sample from the provider's dashboard \
         looks like this (`headcount source repin` where the move is meant)"
    ))
}

fn ended(pending: &Pending, status: &'static str, last_error: Option<String>) -> Finished {
    let attempts = pending.attempts + 1;
    Finished { seq: pending.seq, status, attempts, retry_in_ms: None, last_error }
}

fn failed(seq: i64, attempts: u32, reason: &str) -> Finished {
    let retry_in_ms = next_delay_ms(attempts, jitter());
    Finished {
        seq,
        status: if retry_in_ms.is_some() { "pending" } else { "dead" },
        attempts,
        retry_in_ms,
        last_error: Some(reason.to_owned()),
    }
}

/// Put off, so that what waits behind it does not wait for it.
fn elsewhere(pending: &Pending) -> Finished {
    Finished {
        seq: pending.seq,
        status: "pending",
        attempts: pending.attempts,
        retry_in_ms: Some(ELSEWHERE_DELAY_MS),
        last_error: Some("another transaction holds the account".to_owned()),
    }
}

fn held_back(pending: &Pending) -> Finished {
    Finished {
        seq: pending.seq,
        status: "held",
        attempts: pending.attempts,
        retry_in_ms: None,
        last_error: Some(
            "more deletions within an hour than HEADCOUNT_MAX_DELETE_DELIVERED allows; retry it to let it through"
                .to_owned(),
        ),
    }
}

/// Self-contained: the inbox is pruned, the history is not.
fn cause(pending: &Pending, event: &Event) -> String {
    serde_json::json!({
        "delivery": {
            "source": pending.source,
            "message_id": pending.message_id,
            "event_type": pending.event_type,
            "seq": pending.seq,
            "occurred_at": event.occurred_at.map(|at| at.to_string()),
            "received_at": pending.received_at.to_string(),
        }
    })
    .to_string()
}
