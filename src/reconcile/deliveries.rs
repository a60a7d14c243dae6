//! Deliveries from the inbox, a batch at a time, in one transaction.

use super::account::{FirstSeen, FreshIds, LockedAccount, difference, locked_account, write_each};
use super::finished::{DeliveriesOutcome, cause, elsewhere, ended, failed, held_back, stops_one};
use super::held_values::HeldValuesRetry;
use super::linking::{link, links_any};
use super::partial_write::ConstraintCheck;
use super::write_outcome::{Outcome, feed_change};
use crate::clock::Clock;
use crate::core::brake::DeleteLimit;
use crate::core::decide::{Verdict, decide, identity_after};
use crate::core::event::{Event, EventKind, IdentityKey, Snapshot};
use crate::core::known::{Account, Identity};
use crate::core::words::{Doubt, IdentityState};
use crate::live::Live;
use crate::source::Source;
use crate::store::{
    CausedChange, Claimed, Finished, Pending, Reconciliation, Store, StoreError, StoredAccount,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tracing::warn;

/// How long a batch waits for a lock of another transaction's, at which everybody of the batch waits.
const BATCH_LOCK_WAIT_MS: u32 = 150;

/// Applies what lies in the inbox.
pub struct Deliveries {
    pub store: Store,
    pub sources: Arc<Vec<Source>>,
    pub clock: Arc<dyn Clock>,
    pub delete_limit: DeleteLimit,
    /// How many deliveries one transaction takes.
    pub batch_max: i64,
    /// Sources whose deliveries wait: their API was not read yet, so nobody can tell whose instance they are of.
    pub unread: Live<BTreeSet<String>>,
}

/// An account of the batch: what was known, what is to be, and which deliveries say so.
struct Work {
    account: LockedAccount,
    after: Account,
    /// Of its row, should one have to be made.
    id: Option<String>,
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
    /// Of a row that the database refuses everything is written that it lets in. Where it speaks up only at the commit
    /// (SQLite's deferred foreign keys), or where what is stored of an account cannot be read, the batch is gone through
    /// one delivery at a time.
    pub async fn apply_batch(&self) -> Result<DeliveriesOutcome, StoreError> {
        match self.apply(self.batch_max, ConstraintCheck::OnWrite, BATCH_LOCK_WAIT_MS).await {
            Err((error, claimed)) if stops_one(&error, &claimed) => self.apply_one().await,
            Err((StoreError::LockTimeout(_), claimed)) => self.apply_around(claimed.len()).await,
            result => result.map_err(|(error, _)| error),
        }
    }

    /// One transaction. An error comes with the deliveries that were claimed.
    pub(super) async fn apply(
        &self,
        limit: i64,
        check: ConstraintCheck,
        lock_wait_ms: u32,
    ) -> Result<DeliveriesOutcome, (StoreError, Vec<Claimed>)> {
        let begun = self.store.reconciliation_within(lock_wait_ms).await;
        let mut tx = begun.map_err(|error| (error, Vec::new()))?;
        let mut claimed = Vec::new();
        let decided = self.claim_and_decide(&mut tx, limit, check, &mut claimed).await;
        let outcome = tx.end(decided).await.map_err(|error| (error, claimed))?;
        if outcome.erased > 0
            && let Err(error) = self.store.scrub().await
        {
            warn!("what came of erased accounts is not out of the database's log yet: {error}");
        }
        Ok(outcome)
    }

    /// `claimed` becomes what was claimed, whatever becomes of it.
    async fn claim_and_decide(
        &self,
        tx: &mut Reconciliation,
        limit: i64,
        check: ConstraintCheck,
        claimed: &mut Vec<Claimed>,
    ) -> Result<(DeliveriesOutcome, Vec<CausedChange>), StoreError> {
        let unread = self.unread.get();
        let names = self.sources.iter().map(|source| source.name.clone());
        let names: Vec<String> = names.filter(|name| !unread.contains(name)).collect();
        let pending = tx.claim(&names, limit).await?;
        claimed.extend(pending.iter().map(Claimed::from));
        if pending.is_empty() {
            return Ok((DeliveriesOutcome::default(), Vec::new()));
        }
        check.prepare(tx).await?;
        self.apply_claimed(tx, pending, check).await
    }

    /// Tries again what the application's constraints have kept out, a slice after `after`; where the next one begins,
    /// `None` at the end.
    pub async fn retry_held(&self, after: Option<&IdentityKey>) -> Result<Option<IdentityKey>, StoreError> {
        self.retry().slice(&self.store, after).await
    }

    fn retry(&self) -> HeldValuesRetry<'_> {
        HeldValuesRetry { sources: &self.sources, clock: &self.clock, dry: false }
    }

    async fn apply_claimed(
        &self,
        tx: &mut Reconciliation,
        pending: Vec<Pending>,
        check: ConstraintCheck,
    ) -> Result<(DeliveriesOutcome, Vec<CausedChange>), StoreError> {
        let claimed = pending.len();
        let source_states = tx.source_states().await?;
        let named: HashMap<i64, IdentityKey> =
            pending.iter().filter_map(|pending| Some((pending.seq, named(pending)?))).collect();
        let (events, mut finished, mut asked) = self.normalize(pending, &source_states);
        // Of an erased account not even what cannot be understood is kept.
        let set_aside: Vec<IdentityKey> =
            finished.iter().filter_map(|finished| named.get(&finished.seq).cloned()).collect();
        let mut erased: Vec<IdentityKey> = tx.find_erased(&set_aside).await?.into_iter().collect();
        let known_erased = erased.len();
        let mut keys: Vec<IdentityKey> = events.iter().map(|(_, event)| event.key.clone()).collect();
        keys.sort();
        keys.dedup();
        let locked = tx.lock(&keys).await?;
        let mut budgets = self.budgets(tx, &events, &locked).await?;
        let mut work: BTreeMap<IdentityKey, Work> =
            locked.into_iter().map(|(key, locked)| (key.clone(), self.work(&key, locked))).collect();
        let unseen = match links_any(&self.sources, &source_states) {
            true => first_seen(&events, &mut work),
            false => {
                work.values_mut().for_each(|work| work.account.await_nothing());
                Vec::new()
            }
        };
        let linked_elsewhere = link(tx, &self.sources, &source_states, unseen).await?;
        work.retain(|key, _| !linked_elsewhere.contains(key));
        let mut users = HashSet::new();
        work.retain(|_, work| work.account.is_first_of_its_user(&mut users));
        let is_new = |work: &&mut Work| work.account.known.linked_now || work.account.may_be_linked();
        for work in work.values_mut().filter(is_new) {
            work.after = work.account.known.clone();
        }
        let accounts = work.values().map(|work| &work.account);
        let mut ids = FreshIds::reserve(tx, &self.clock, &self.sources, accounts, false).await?;
        let mut deferred = Vec::new();
        for (pending, event) in &events {
            match work.get_mut(&event.key) {
                Some(work) => {
                    if work.id.is_none() {
                        work.id = Some(ids.next(tx, &work.account).await?);
                    }
                    let budget = budgets.entry(event.key.source.clone()).or_insert(u64::MAX);
                    self.apply_delivery(work, pending, event, budget);
                }
                None if tx.is_erased(&event.key) => erased.push(event.key.clone()),
                None => deferred.push(elsewhere(pending)),
            }
        }
        let mut changes = Vec::new();
        asked.extend(work.iter().filter_map(|(key, work)| Some((key.clone(), work.ask?))));
        let partial = self.write(tx, work, check, &mut finished, &mut changes).await?;
        tx.confirm(&self.questions(asked)).await?;
        // The feed tells things in the order in which they came.
        changes.sort_by_key(|(seq, _)| *seq);
        let changes: Vec<CausedChange> = changes.into_iter().map(|(_, change)| change).collect();
        tx.finish(&finished).await?;
        tx.finish(&deferred).await?;
        tx.forget_deliveries(&erased).await?;
        let count = |status: &str| finished.iter().filter(|finished| finished.status == status).count();
        let outcome = DeliveriesOutcome {
            claimed,
            finished: finished.len() + erased.len() - known_erased,
            dead: count("dead"),
            held: count("held"),
            retried: count("pending"),
            partial,
            erased: erased.len(),
        };
        Ok((outcome, changes))
    }

    fn work(&self, key: &IdentityKey, locked: StoredAccount) -> Work {
        let account = locked_account(&self.sources, self.store.layout(), key, locked);
        let after = account.known.clone();
        let (finished, changes) = (Vec::new(), Vec::new());
        Work { account, after, id: None, finished, changes, synced: false, ask: None }
    }

    fn apply_delivery(&self, work: &mut Work, pending: &Pending, event: &Event, budget: &mut u64) {
        let deleted = |account: &Account| {
            account.identity.as_ref().is_some_and(|identity| identity.state == IdentityState::Deleted)
        };
        // Who is deleted once more was deleted before: that uses up no brake, now or later.
        let is_again = event.kind.ends() && deleted(&work.after);
        let deletes_user = event.kind.ends() && !is_again && work.after.user.is_some();
        if deletes_user && !pending.approved {
            if *budget == 0 {
                work.finished.push(held_back(pending));
                return;
            }
            *budget -= 1;
        }
        let id = work.id.as_deref().unwrap_or_default();
        let decision = decide(self.store.layout(), &work.after, event, pending.received_at, id);
        work.after = decision.account;
        work.synced |= decision.verdict == Verdict::Applied && !is_again;
        work.ask = decision.ask.or(work.ask);
        if let Some(change) = decision.change {
            work.changes.push((pending.seq, CausedChange { change, cause: cause(pending, event) }));
        }
        let status = match decision.verdict {
            Verdict::Applied => "applied",
            Verdict::Stale => "stale",
        };
        let note = event.mended.then(|| "parts of it could not be decoded and were replaced".to_owned());
        work.finished.push(ended(pending, status, note));
    }

    /// Where the database refuses even the identity, its deliveries wait. How many accounts were let in only in part.
    async fn write(
        &self,
        tx: &mut Reconciliation,
        work: BTreeMap<IdentityKey, Work>,
        check: ConstraintCheck,
        finished: &mut Vec<Finished>,
        changes: &mut Vec<(i64, CausedChange)>,
    ) -> Result<usize, StoreError> {
        let (mut writes, mut writing, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for (key, work) in work {
            let linked_by = work.account.linked_by.clone();
            match difference(&key, &work.account.known, &work.after, work.synced, linked_by) {
                Some(write) => {
                    writes.push(check.of(self.store.layout(), write));
                    writing.push(work);
                }
                None => other.push(work),
            }
        }
        let mut outcomes = write_each(tx, writes).await?;
        let retried = self.retry().after(tx, check, &mut outcomes).await?;
        let mut partial = 0;
        for (work, outcome) in writing.into_iter().zip(outcomes) {
            let note = outcome.note();
            partial += usize::from(note.is_some());
            let is_refused = matches!(outcome, Outcome::Refused(_));
            for mut done in work.finished {
                match (&note, done.status) {
                    (Some(reason), status) if is_refused && status != "held" => {
                        done = failed(done.seq, done.attempts, reason, self.clock.random());
                    }
                    (Some(_), "applied") => done.last_error.clone_from(&note),
                    _ => {}
                }
                finished.push(done);
            }
            changes.extend(work.changes.into_iter().filter_map(|(seq, CausedChange { change, cause })| {
                Some((seq, CausedChange { change: feed_change(Some(change), &outcome)?, cause }))
            }));
        }
        changes.extend(retried.into_iter().map(|change| (i64::MAX, change)));
        for work in other {
            finished.extend(work.finished);
            changes.extend(work.changes);
        }
        Ok(partial)
    }
}

/// The account that a delivery is about, as far as a glance could tell.
fn named(pending: &Pending) -> Option<IdentityKey> {
    Some(IdentityKey { source: pending.source.clone(), provider_id: pending.provider_id.clone()? })
}

/// The accounts of the batch that may have a row already, in the order in which they came, each with what will be its
/// latest snapshot: the order of its own deliveries does not matter.
fn first_seen<'a>(
    events: &'a [(Pending, Event)],
    work: &'a mut BTreeMap<IdentityKey, Work>,
) -> Vec<FirstSeen<'a>> {
    let mut of_account: HashMap<&IdentityKey, Vec<&(Pending, Event)>> = HashMap::new();
    let mut in_order = Vec::new();
    for event in events {
        let key = &event.1.key;
        if work.get(key).is_some_and(|work| work.account.may_be_linked()) {
            let of_account = of_account.entry(key).or_default();
            if of_account.is_empty() {
                in_order.push(key);
            }
            of_account.push(event);
        }
    }
    let mut accounts: HashMap<&IdentityKey, &mut LockedAccount> =
        work.iter_mut().map(|(key, work)| (key, &mut work.account)).collect();
    let first_seen = in_order.into_iter().filter_map(|key| {
        let account = accounts.remove(key)?;
        let snapshot = latest_after(account.known.identity.as_ref(), of_account.get(key)?)?;
        Some((key.clone(), snapshot, account))
    });
    first_seen.collect()
}

/// What will be the latest snapshot; `None` where the deliveries are of deletions alone.
fn latest_after<'a>(known: Option<&Identity>, events: &[&'a (Pending, Event)]) -> Option<Cow<'a, Snapshot>> {
    let first = events.iter().find_map(|(_, event)| match &event.kind {
        EventKind::Upsert(snapshot) => Some(snapshot),
        EventKind::Delete => None,
    })?;
    if known.is_none() && events.len() == 1 {
        return Some(Cow::Borrowed(first));
    }
    let mut identity = known.cloned();
    for (pending, event) in events {
        identity = Some(identity_after(identity.as_ref(), event, pending.received_at));
    }
    Some(Cow::Owned(identity?.latest?.snapshot))
}
