//! Deliveries from the inbox, a batch at a time, in one transaction.

use crate::clock::{Clock, fresh_user_id, jitter};
use crate::core::account::IdentityState;
use crate::core::attempts::next_delay_ms;
use crate::core::brake::DeleteLimit;
use crate::core::decide::{Account, Identity, Latest, Verdict, decide};
use crate::core::event::{Event, EventKind, IdentityKey, Snapshot};
use crate::source::Source;
use crate::store::{
    AccountWrite, CausedChange, Finished, Locked, Pending, Reconciliation, Store, StoreError, UserWrite,
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
        let (events, mut finished) = self.normalize(pending);
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
        self.write(&mut tx, work, &mut finished, &mut changes).await?;
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

    /// What cannot be understood is a dead letter at once.
    fn normalize(&self, pending: Vec<Pending>) -> (Vec<(Pending, Event)>, Vec<Finished>) {
        let mut events = Vec::with_capacity(pending.len());
        let mut dead = Vec::new();
        for pending in pending {
            let Some(source) = self.sources.iter().find(|source| source.name == pending.source) else {
                continue;
            };
            match source.provider.normalize(&pending.source, &pending.body) {
                Ok(event) => events.push((pending, event)),
                Err(reason) => dead.push(Finished {
                    seq: pending.seq,
                    status: "dead",
                    attempts: pending.attempts + 1,
                    retry_in_ms: None,
                    last_error: Some(reason.to_string()),
                }),
            }
        }
        (events, dead)
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
        let provider =
            self.sources.iter().find(|source| source.name == key.source).map(|source| source.provider);
        let latest = locked.latest.zip(provider).map(|((version, occurred_at, profile), provider)| {
            let (columns, suspended) = provider.recall(&profile);
            Latest { snapshot: Snapshot { version, profile, columns, suspended }, occurred_at }
        });
        let identity = Identity { state: locked.state, latest, deleted_at: locked.deleted_at };
        let before = Account { identity: (!locked.unheard).then_some(identity), user: locked.user };
        Work {
            former_id: locked.user_id.filter(|_| before.user.is_none()),
            after: before.clone(),
            before,
            finished: Vec::new(),
            changes: Vec::new(),
            synced: false,
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
                work.finished.push(held(pending));
                return;
            }
            *budget -= 1;
        }
        let id = work.former_id.clone().unwrap_or_else(|| fresh_user_id(self.clock.now()));
        let decision = decide(&work.after, event, pending.received_at, &id);
        work.after = decision.account;
        work.synced |= decision.verdict == Verdict::Applied;
        if let Some(change) = decision.change {
            work.changes.push((pending.seq, CausedChange { change, cause: cause(pending, event) }));
        }
        work.finished.push(Finished {
            seq: pending.seq,
            status: match decision.verdict {
                Verdict::Applied => "applied",
                Verdict::Stale => "stale",
            },
            attempts: pending.attempts + 1,
            retry_in_ms: None,
            last_error: None,
        });
    }

    /// All accounts at once; where the database refuses one of them, each by itself.
    async fn write(
        &self,
        tx: &mut Reconciliation,
        work: BTreeMap<IdentityKey, Work>,
        finished: &mut Vec<Finished>,
        changes: &mut Vec<(i64, CausedChange)>,
    ) -> Result<(), StoreError> {
        let writes: Vec<AccountWrite> = work.iter().filter_map(|(key, work)| work.to_write(key)).collect();
        let together = match tx.write(&writes).await {
            Ok(()) => true,
            Err(StoreError::Rejected(_)) => false,
            Err(error) => return Err(error),
        };
        for (key, work) in work {
            if !together && let Some(write) = work.to_write(&key) {
                match tx.write(&[write]).await {
                    Ok(()) => {}
                    Err(StoreError::Rejected(reason)) => {
                        finished.extend(work.finished.into_iter().map(|finished| match finished.status {
                            "held" => finished,
                            _ => failed(finished.seq, finished.attempts, &reason),
                        }));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            finished.extend(work.finished);
            changes.extend(work.changes);
        }
        Ok(())
    }
}

impl Work {
    /// `None` where nothing has changed: then nothing is written.
    fn to_write(&self, key: &IdentityKey) -> Option<AccountWrite> {
        let identity = self.after.identity.clone()?;
        if self.before == self.after {
            return None;
        }
        Some(AccountWrite {
            key: key.clone(),
            identity,
            user_write: match &self.after.user {
                Some(_) if self.before.user.is_none() => UserWrite::Insert,
                Some(user) if self.before.user.as_ref() != Some(user) => UserWrite::Update,
                _ => UserWrite::None,
            },
            user: self.after.user.clone(),
            synced: self.synced,
        })
    }
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

fn held(pending: &Pending) -> Finished {
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
