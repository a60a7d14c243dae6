//! What the source's API said about accounts, a batch at a time, in one transaction: the way of a delivery, but that a
//! read has a mark, may be doubted, and belongs to a run.

use super::account::{FreshIds, Held, Outcome, difference, held, told, write_each};
use super::before::Before;
use super::doubts::{doubt, earlier, goes_on, said};
use super::linking::{FirstSeen, link, link_as_planned};
use super::narrow::Care;
use super::outcome::{Applied, count};
use super::retry::Retry;
use super::wanted::Wanted;
use crate::clock::Clock;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::Doubt;
use crate::core::read::{Circumstances, ReadDecision, Reading, Repair, Said, decide_read};
use crate::core::timestamp::Timestamp;
use crate::source::Source;
use crate::store::{
    AccountWrite, CausedChange, Counts, FirstReading, Mirrored, NewConfirmation, Reconciliation, Store,
    StoreError,
};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// An account that another transaction held, or whose row was refused, is read again after so long.
const AGAIN_AFTER_MS: i64 = 1_000;

/// What a batch of readings belongs to.
#[derive(Clone, Debug, Default)]
pub struct Errand {
    /// `None` where a delivery asked.
    pub run: Option<RunRef>,
    /// What the feed gives as the cause.
    pub cause: &'static str,
    /// The run's read mark: of an account about which something was received since, absence says nothing.
    pub since: Option<Timestamp>,
    /// Everything is decided and written, and then rolled back.
    pub dry: bool,
    /// Whether the run waits for what it doubts; otherwise whoever has time reads it again.
    pub waits: bool,
    /// Of an adoption: the rows that these accounts (by provider id) are tied to; nobody gets a row beside them.
    pub plan: Option<Arc<HashMap<String, String>>>,
    /// Of a single reading that a call waits for: what else the row is to hold.
    pub wanted: Wanted,
}

/// A run, as far as a transaction needs it.
#[derive(Clone, Debug)]
pub struct RunRef {
    pub id: String,
    pub holder: String,
}

/// Applies readings of one source.
pub struct Reads {
    pub store: Store,
    pub source: Source,
    /// All of them: what a user's other accounts say is theirs to tell.
    pub sources: Arc<Vec<Source>>,
    pub clock: Arc<dyn Clock>,
    pub confirm_after_ms: i64,
}

impl Reads {
    /// Applies the batch, writes `missing` down as to be read by id, and the run's progress (cursor and counts, those of
    /// this batch added), all in one transaction.
    ///
    /// Of a row that the database refuses everything is written that it lets in. Where it speaks up only at the commit
    /// (SQLite's deferred foreign keys), the batch is gone through one account at a time.
    pub async fn apply(
        &self,
        readings: &[(IdentityKey, Reading)],
        missing: &[IdentityKey],
        errand: &Errand,
        cursor: &str,
        before: impl Into<Before>,
    ) -> Result<Applied, StoreError> {
        let mut before = before.into();
        match self.transact(readings, missing, errand, cursor, &mut before, Care::Usual).await {
            Err(StoreError::Rejected(_) | StoreError::Held(_)) if !readings.is_empty() => {
                // Nothing is locked while this waits.
                before.known().await?;
                let mut all = self.transact(&[], missing, errand, cursor, &mut before, Care::Usual).await?;
                for reading in readings {
                    let mut so_far = before.counts().await?;
                    so_far.add(all.counts);
                    let at = &mut Before::from(so_far);
                    let one = std::slice::from_ref(reading);
                    let mut result = self.transact(one, &[], errand, cursor, at, Care::LookAhead).await;
                    if let Err(StoreError::Rejected(_)) = result {
                        result = self.transact(one, &[], errand, cursor, at, Care::IdentityOnly).await;
                    }
                    all.add(match result {
                        Err(StoreError::Rejected(reason) | StoreError::Held(reason)) => {
                            self.refuse(reading.0.clone(), reason, errand, cursor, so_far).await?
                        }
                        other => other?,
                    });
                }
                Ok(all)
            }
            Err(StoreError::Held(_)) => {
                before.known().await?;
                self.transact(&[], missing, errand, cursor, &mut before, Care::Usual).await
            }
            other => other,
        }
    }

    async fn transact(
        &self,
        readings: &[(IdentityKey, Reading)],
        missing: &[IdentityKey],
        errand: &Errand,
        cursor: &str,
        before: &mut Before,
        care: Care,
    ) -> Result<Applied, StoreError> {
        let mut tx = self.store.reconciliation().await?;
        care.prepare(&mut tx).await?;
        let keys: Vec<IdentityKey> = readings.iter().map(|(key, _)| key.clone()).collect();
        let mut accounts = self.lock(&mut tx, &keys, readings, errand).await?;
        let received = tx.received(&keys).await?;
        let firsts = tx.first_readings(&keys).await?;
        let rowless = accounts.values().filter(|held| held.has_no_row()).count();
        let mut ids = FreshIds::take(&mut tx, &self.clock, rowless, errand.dry).await?;
        let mut batch = Batch::default();
        for (key, reading) in readings {
            let Some(held) = accounts.remove(key) else {
                if tx.is_erased(key) {
                    batch.unchanged += 1;
                    batch.settled.push(key.clone());
                    continue;
                }
                batch.doubts.push(doubt(key, Doubt::Unwritten, AGAIN_AFTER_MS, None));
                continue;
            };
            let fresh_id = ids.next(&mut tx, &held).await?;
            let at = Circumstances {
                earlier: firsts.get(key).map(|first| earlier(first, &reading.said)),
                received_at: received.get(key).copied(),
                confirm_after_ms: self.confirm_after_ms,
            };
            let raced = errand.since.is_some() && at.received_at >= errand.since;
            if raced && reading.said == Said::Absent {
                batch.settled.push(key.clone());
                continue;
            }
            self.decide(&mut batch, key, reading, held, at, &fresh_id);
        }
        let (applied, changes) = self.write(&mut tx, batch, errand, missing, care).await?;
        if let (Some(run), false) = (&errand.run, errand.dry) {
            let mut counts = before.counts().await?;
            counts.add(applied.counts);
            tx.progress(&run.id, &run.holder, cursor, counts).await?;
        }
        if !errand.dry && applied.no_room.is_none() {
            tx.commit(&changes).await?;
        }
        Ok(applied)
    }

    /// The accounts that nobody else holds, those without a row tied to the one that was there before them.
    async fn lock(
        &self,
        tx: &mut Reconciliation,
        keys: &[IdentityKey],
        readings: &[(IdentityKey, Reading)],
        errand: &Errand,
    ) -> Result<HashMap<IdentityKey, Held>, StoreError> {
        let layout = self.store.layout();
        let locked = tx.lock(keys).await?;
        let mut accounts: HashMap<IdentityKey, Held> = locked
            .into_iter()
            .map(|(key, locked)| (key.clone(), held(&self.sources, layout, &key, locked)))
            .collect();
        one_of_each_user(&mut accounts);
        if errand.plan.is_none() && accounts.values().all(|held| !held.has_no_row()) {
            return Ok(accounts);
        }
        let said: HashMap<&IdentityKey, &Snapshot> = readings
            .iter()
            .filter_map(|(key, reading)| match &reading.said {
                Said::Present(snapshot) => Some((key, snapshot)),
                Said::Absent => None,
            })
            .collect();
        let unseen: Vec<FirstSeen<'_>> = accounts
            .iter_mut()
            .filter(|(_, held)| held.has_no_row())
            .filter_map(|(key, held)| Some((key.clone(), Cow::Borrowed(*said.get(key)?), held)))
            .collect();
        let left_out = match &errand.plan {
            Some(plan) => link_as_planned(tx, &self.sources, plan, unseen).await?,
            None => {
                let bearings = tx.bearings().await?;
                link(tx, &self.sources, &bearings, unseen).await?
            }
        };
        // Their rows were made for the lock; who reads them again makes them anew.
        let unheard = |key: &&IdentityKey| accounts.get(*key).is_some_and(|held| held.unheard);
        tx.forget_unheard(&left_out.iter().filter(unheard).cloned().collect::<Vec<_>>()).await?;
        let may_stay = |held: &Held| errand.plan.is_none() || held.linked_by.is_some();
        accounts.retain(|key, held| !left_out.contains(key) && may_stay(held));
        one_of_each_user(&mut accounts);
        Ok(accounts)
    }

    fn decide(
        &self,
        batch: &mut Batch,
        key: &IdentityKey,
        reading: &Reading,
        held: Held,
        at: Circumstances,
        fresh_id: &str,
    ) {
        let decision = decide_read(self.store.layout(), &held.known, reading, at, fresh_id);
        if held.unheard && !matches!(decision, ReadDecision::Apply(_)) {
            batch.unheard.push(key.clone());
        }
        match decision {
            ReadDecision::Unchanged => {
                batch.unchanged += 1;
                batch.settled.push(key.clone());
            }
            ReadDecision::Apply(repair) => batch.repairs.push((key.clone(), held, repair)),
            ReadDecision::Again(again) if !again.counts => {
                batch.doubts.push(doubt(key, again.doubt, 0, None));
            }
            ReadDecision::Again(again) => {
                let first = FirstReading { marked_at: reading.marked_at, said: said(&reading.said) };
                let (wait_ms, first) = match at.earlier {
                    // An earlier reading that says the same goes on waiting for its time.
                    Some(earlier) if goes_on(earlier, &reading.said, again.doubt, at) => {
                        let over_ms = reading.marked_at.ms() - earlier.marked_at.ms();
                        let first = FirstReading { marked_at: earlier.marked_at, ..first };
                        (self.confirm_after_ms - over_ms, first)
                    }
                    _ => (self.confirm_after_ms, first),
                };
                batch.doubts.push(doubt(key, again.doubt, wait_ms.max(0), Some(first)));
            }
            ReadDecision::Gone => batch.gone.push(key.clone()),
        }
    }

    async fn write(
        &self,
        tx: &mut Reconciliation,
        mut batch: Batch,
        errand: &Errand,
        missing: &[IdentityKey],
        care: Care,
    ) -> Result<(Applied, Vec<CausedChange>), StoreError> {
        let mut applied = Applied::default();
        let (mut writes, mut written, mut same) = (Vec::new(), Vec::new(), Vec::new());
        for (key, held, repair) in std::mem::take(&mut batch.repairs) {
            match difference(&key, &held.known, &repair.account, true, held.linked_by.clone()) {
                Some(write) => {
                    let write = errand.wanted.put_into(self.store.layout(), write);
                    writes.push(care.of(self.store.layout(), write));
                    written.push((key, held, repair));
                }
                None => same.push((key, held, repair)),
            }
        }
        let ids = writes.iter().filter_map(|write| Some(write.before.as_ref()?.id.clone()));
        let mirrored = match errand.plan {
            Some(_) => tx.mirrored(&ids.collect::<Vec<_>>()).await?,
            None => Mirrored::new(),
        };
        let mut outcomes = write_each(tx, writes).await?;
        if !errand.wanted.is_empty() {
            let layout = self.store.layout();
            applied.no_room = outcomes.iter().find_map(|outcome| errand.wanted.unmet(layout, outcome));
        }
        let retry = Retry { sources: &self.sources, clock: &self.clock, dry: errand.dry };
        let mut changes = retry.after(tx, care, &mut outcomes).await?;
        if errand.plan.is_some() {
            // Who is not tied to their row now will be by the next call, or by a full run.
            batch.doubts.clear();
            let written: Vec<&AccountWrite> = outcomes.iter().filter_map(Outcome::written).collect();
            tx.note_adopted(&written, &mirrored).await?;
        }
        let cause = self.cause(errand);
        for ((key, held, mut repair), outcome) in written.into_iter().zip(&outcomes) {
            if let Outcome::Refused(reason) = outcome {
                if held.unheard {
                    batch.unheard.push(key.clone());
                }
                batch.doubts.push(doubt(&key, Doubt::Unwritten, AGAIN_AFTER_MS, None));
                applied.refusals.push((key, reason.clone()));
                continue;
            }
            applied.linked += u64::from(held.linked_by.is_some());
            applied.narrowed += u64::from(outcome.note().is_some());
            repair.change = told(repair.change, outcome);
            count(&mut applied, &key, &held.known, &repair);
            changes.extend(repair.change.map(|change| CausedChange { change, cause: cause.clone() }));
            batch.settled.push(key);
        }
        for (key, held, repair) in same {
            if held.unheard {
                batch.unheard.push(key.clone());
            }
            count(&mut applied, &key, &held.known, &repair);
            batch.settled.push(key);
        }
        applied.counts.unchanged += batch.unchanged;
        applied.doubted = batch.doubts.len() as u64;
        if !errand.dry {
            batch.doubts.extend(missing.iter().map(|key| doubt(key, Doubt::Missing, 0, None)));
            batch.doubts.extend(
                batch
                    .gone
                    .iter()
                    .map(|key| NewConfirmation { gone: true, ..doubt(key, Doubt::Missing, 0, None) }),
            );
            for doubt in &mut batch.doubts {
                doubt.run_id = errand.waiting_run();
            }
            tx.confirm(&batch.doubts).await?;
        }
        tx.settle(&batch.settled).await?;
        tx.forget_unheard(&batch.unheard).await?;
        applied.gone = batch.gone;
        Ok((applied, changes))
    }

    /// An account that cannot even be tried is to be read again.
    async fn refuse(
        &self,
        key: IdentityKey,
        reason: String,
        errand: &Errand,
        cursor: &str,
        counts: Counts,
    ) -> Result<Applied, StoreError> {
        if !errand.dry {
            let mut tx = self.store.reconciliation().await?;
            let again = doubt(&key, Doubt::Unwritten, AGAIN_AFTER_MS, None);
            tx.confirm(&[NewConfirmation { run_id: errand.waiting_run(), ..again }]).await?;
            if let Some(run) = &errand.run {
                tx.progress(&run.id, &run.holder, cursor, counts).await?;
            }
            tx.commit(&[]).await?;
        }
        Ok(Applied { doubted: 1, refusals: vec![(key, reason)], ..Applied::default() })
    }

    /// Self-contained: runs are pruned, the history is not.
    pub(super) fn cause(&self, errand: &Errand) -> String {
        let run = errand.run.as_ref().map(|run| run.id.as_str());
        serde_json::json!({"read": {"source": self.source.name, "run": run, "by": errand.cause}}).to_string()
    }
}

impl Errand {
    fn waiting_run(&self) -> Option<String> {
        self.run.as_ref().filter(|_| self.waits).map(|run| run.id.clone())
    }
}

/// Of two accounts of one user the other one is read again.
fn one_of_each_user(accounts: &mut HashMap<IdentityKey, Held>) {
    let mut users = HashSet::new();
    accounts.retain(|_, held| held.is_first_of_its_user(&mut users));
}

#[derive(Default)]
struct Batch {
    repairs: Vec<(IdentityKey, Held, Repair)>,
    doubts: Vec<NewConfirmation>,
    gone: Vec<IdentityKey>,
    settled: Vec<IdentityKey>,
    /// Of whom nothing was written: their rows were made for the lock.
    unheard: Vec<IdentityKey>,
    unchanged: u64,
}
