//! What the source's API said about accounts, a batch at a time, in one transaction: the way of a delivery, but that a
//! read has a mark, may be doubted, and belongs to a run.

use super::account::{Held, difference, held, write_each};
use super::outcome::{Applied, count};
use super::short_digest;
use crate::clock::{Clock, fresh_user_id};
use crate::core::decide::{Account, Doubt};
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::read::{Circumstances, Earlier, ReadDecision, Reading, Repair, Said, decide_read, sweep};
use crate::core::timestamp::Timestamp;
use crate::source::Source;
use crate::store::{
    ABSENT, AccountWrite, CausedChange, Counts, FirstReading, NewConfirmation, Reconciliation, Store,
    StoreError,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The type under which the inbox keeps a user of a page that cannot be understood.
pub const READ_EVENT: &str = "headcount.read";

/// An account that another transaction held, or whose row was refused, is read again after so long.
const AGAIN_AFTER_MS: i64 = 1_000;

/// What a batch of readings belongs to.
#[derive(Clone, Debug)]
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
    pub clock: Arc<dyn Clock>,
    pub confirm_after_ms: i64,
}

impl Reads {
    /// Applies the batch, writes `missing` down as to be read by id, and the run's progress (cursor and counts, those of
    /// this batch added), all in one transaction.
    ///
    /// A row that the database refuses is counted, and to be read again. Where it is refused only at the commit
    /// (SQLite's deferred foreign keys), the batch is gone through one account at a time.
    pub async fn apply(
        &self,
        readings: &[(IdentityKey, Reading)],
        missing: &[IdentityKey],
        errand: &Errand,
        cursor: &str,
        before: Counts,
    ) -> Result<Applied, StoreError> {
        match self.transact(readings, missing, errand, cursor, before).await {
            Err(StoreError::Rejected(_)) if !readings.is_empty() => {
                let mut all = self.transact(&[], missing, errand, cursor, before).await?;
                for reading in readings {
                    let mut so_far = before;
                    so_far.add(all.counts);
                    let one = std::slice::from_ref(reading);
                    all.add(match self.transact(one, &[], errand, cursor, so_far).await {
                        Err(StoreError::Rejected(reason)) => {
                            self.refuse(reading.0.clone(), reason, errand, cursor, so_far).await?
                        }
                        other => other?,
                    });
                }
                Ok(all)
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
        before: Counts,
    ) -> Result<Applied, StoreError> {
        let mut tx = self.store.reconciliation().await?;
        let keys: Vec<IdentityKey> = readings.iter().map(|(key, _)| key.clone()).collect();
        let mut locked = tx.lock(&keys).await?;
        let received = tx.received(&keys).await?;
        let firsts = tx.first_readings(&keys).await?;
        let mut batch = Batch::default();
        for (key, reading) in readings {
            let Some(locked) = locked.remove(key) else {
                batch.doubts.push(doubt(key, Doubt::Unwritten, AGAIN_AFTER_MS, None));
                continue;
            };
            let held = held(Some(&self.source), locked);
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
            self.decide(&mut batch, key, reading, held, at);
        }
        let (applied, changes) = self.write(&mut tx, batch, errand, missing).await?;
        let mut counts = before;
        counts.add(applied.counts);
        if let (Some(run), false) = (&errand.run, errand.dry) {
            tx.progress(&run.id, &run.holder, cursor, counts).await?;
        }
        if !errand.dry {
            tx.commit(&changes).await?;
        }
        Ok(applied)
    }

    fn decide(&self, batch: &mut Batch, key: &IdentityKey, reading: &Reading, held: Held, at: Circumstances) {
        if held.unheard {
            // Forgotten again unless this very batch has written it.
            batch.unheard.push(key.clone());
        }
        let fresh_id = held.former_id.clone().unwrap_or_else(|| fresh_user_id(self.clock.now()));
        match decide_read(&held.known, reading, at, &fresh_id) {
            ReadDecision::Unchanged => {
                batch.unchanged += 1;
                batch.settled.push(key.clone());
            }
            ReadDecision::Apply(repair) => batch.repairs.push((key.clone(), held.known, repair)),
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
    ) -> Result<(Applied, Vec<CausedChange>), StoreError> {
        let mut applied = Applied::default();
        let writes: Vec<AccountWrite> = batch
            .repairs
            .iter()
            .filter_map(|(key, known, repair)| difference(key, known, &repair.account, true))
            .collect();
        let refused = write_each(tx, &writes).await?;
        let refused: HashMap<&IdentityKey, String> = writes
            .iter()
            .zip(refused)
            .filter_map(|(write, reason)| reason.map(|reason| (&write.key, reason)))
            .collect();
        let cause = self.cause(errand);
        let mut changes = Vec::new();
        for (key, known, repair) in std::mem::take(&mut batch.repairs) {
            if let Some(reason) = refused.get(&key) {
                batch.doubts.push(doubt(&key, Doubt::Unwritten, AGAIN_AFTER_MS, None));
                applied.refusals.push((key, reason.clone()));
                continue;
            }
            count(&mut applied, &key, &known, &repair);
            changes.extend(repair.change.map(|change| CausedChange { change, cause: cause.clone() }));
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

    /// Deletes those of the accounts, all proven to be gone, about which nothing was received since `marked_at`. Those
    /// that were deleted.
    pub async fn sweep(
        &self,
        tx: &mut Reconciliation,
        keys: &[IdentityKey],
        marked_at: Timestamp,
        errand: &Errand,
    ) -> Result<(Vec<IdentityKey>, Vec<CausedChange>), StoreError> {
        let locked = tx.lock(keys).await?;
        let received = tx.received(keys).await?;
        let now = tx.now().await?;
        let (mut writes, mut changes) = (Vec::new(), Vec::new());
        let mut unheard = Vec::new();
        for (key, locked) in locked {
            let raced = received.get(&key).is_some_and(|received_at| *received_at >= marked_at);
            let held = held(Some(&self.source), locked);
            if held.unheard {
                unheard.push(key);
                continue;
            }
            if raced || held.known.identity.as_ref().is_none_or(|identity| identity.deletion.is_some()) {
                continue;
            }
            let id = held.former_id.clone().unwrap_or_else(|| fresh_user_id(self.clock.now()));
            let repair = sweep(&held.known, now, &id);
            if let Some(write) = difference(&key, &held.known, &repair.account, true) {
                writes.push(write);
                changes.push(repair.change);
            }
        }
        tx.forget_unheard(&unheard).await?;
        let refused = write_each(tx, &writes).await?;
        let cause = self.cause(errand);
        let mut deleted = Vec::new();
        let mut caused = Vec::new();
        for ((write, change), refused) in writes.into_iter().zip(changes).zip(refused) {
            if refused.is_none() {
                deleted.push(write.key);
                caused.extend(change.map(|change| CausedChange { change, cause: cause.clone() }));
            }
        }
        Ok((deleted, caused))
    }

    /// Self-contained: runs are pruned, the history is not.
    fn cause(&self, errand: &Errand) -> String {
        let run = errand.run.as_ref().map(|run| run.id.as_str());
        serde_json::json!({"read": {"source": self.source.name, "run": run, "by": errand.cause}}).to_string()
    }
}

impl Errand {
    fn waiting_run(&self) -> Option<String> {
        self.run.as_ref().filter(|_| self.waits).map(|run| run.id.clone())
    }
}

#[derive(Default)]
struct Batch {
    repairs: Vec<(IdentityKey, Account, Repair)>,
    doubts: Vec<NewConfirmation>,
    gone: Vec<IdentityKey>,
    settled: Vec<IdentityKey>,
    unheard: Vec<IdentityKey>,
    unchanged: u64,
}

fn doubt(key: &IdentityKey, doubt: Doubt, due_in_ms: i64, first: Option<FirstReading>) -> NewConfirmation {
    NewConfirmation { key: key.clone(), run_id: None, doubt, due_in_ms, first, gone: false }
}

/// A first reading that this one repeats before its time.
fn goes_on(earlier: Earlier, now: &Said, doubt: Doubt, at: Circumstances) -> bool {
    let agrees = match doubt {
        Doubt::Missing => !earlier.present,
        Doubt::Revival => earlier.present,
        _ => earlier.same && matches!(now, Said::Present(_)),
    };
    agrees && at.received_at.is_none_or(|received_at| received_at < earlier.marked_at)
}

fn earlier(first: &FirstReading, now: &Said) -> Earlier {
    Earlier { marked_at: first.marked_at, present: first.said != ABSENT, same: first.said == said(now) }
}

/// What a reading said, in short: equal exactly where version and content are.
fn said(said: &Said) -> String {
    match said {
        Said::Absent => ABSENT.to_owned(),
        Said::Present(Snapshot { version, profile, .. }) => {
            format!("{version}:{}", short_digest(profile))
        }
    }
}
