//! What the source's API said about accounts, a batch at a time, in one transaction: the way of a delivery, but that a
//! read has a mark, may be doubted, and belongs to a run.

use super::account::{FreshIds, LockedAccount, difference, locked_account, one_of_each_user, write_each};
use super::doubts::{digest, doubt, earlier, goes_on};
use super::held_values::HeldValuesRetry;
use super::outcome::{ReadsOutcome, count};
use super::partial_write::ConstraintCheck;
use super::prior_counts::PriorCounts;
use super::read_context::ReadContext;
use super::write_outcome::{Outcome, feed_change};
use crate::clock::Clock;
use crate::core::event::IdentityKey;
use crate::core::read::{Circumstances, Observation, ReadDecision, Reading, Repair, decide_read};
use crate::core::words::Doubt;
use crate::source::Source;
use crate::store::{
    AccountWrite, CausedChange, Counts, FirstReading, Mirrored, NewConfirmation, Reconciliation, Store,
    StoreError,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An account that another transaction held, or whose row was refused, is read again after so long.
const AGAIN_AFTER_MS: i64 = 1_000;

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
    /// (SQLite's deferred foreign keys), or where what is stored of an account cannot be read, the batch is gone through
    /// one account at a time.
    pub async fn apply(
        &self,
        readings: &[(IdentityKey, Reading)],
        missing: &[IdentityKey],
        context: &ReadContext,
        cursor: &str,
        before: impl Into<PriorCounts>,
    ) -> Result<ReadsOutcome, StoreError> {
        let mut before = before.into();
        match self.transact(readings, missing, context, cursor, &mut before, ConstraintCheck::OnWrite).await {
            Err(error) if stops_one(&error) && !readings.is_empty() => {
                // Nothing is locked while this waits.
                before.known().await?;
                let mut all = self
                    .transact(&[], missing, context, cursor, &mut before, ConstraintCheck::OnWrite)
                    .await?;
                for reading in readings {
                    let mut so_far = before.counts().await?;
                    so_far.add(all.counts);
                    let at = &mut PriorCounts::from(so_far);
                    let one = std::slice::from_ref(reading);
                    let mut result =
                        self.transact(one, &[], context, cursor, at, ConstraintCheck::BeforeCommit).await;
                    if result.as_ref().is_err_and(StoreError::refuses_the_row) {
                        result =
                            self.transact(one, &[], context, cursor, at, ConstraintCheck::SkipUserRow).await;
                    }
                    all.add(match result {
                        Err(error) if stops_one(&error) => {
                            self.refuse(reading.0.clone(), error.to_string(), context, cursor, so_far).await?
                        }
                        other => other?,
                    });
                }
                Ok(all)
            }
            Err(StoreError::LockTimeout(_)) => {
                before.known().await?;
                self.transact(&[], missing, context, cursor, &mut before, ConstraintCheck::OnWrite).await
            }
            other => other,
        }
    }

    async fn transact(
        &self,
        readings: &[(IdentityKey, Reading)],
        missing: &[IdentityKey],
        context: &ReadContext,
        cursor: &str,
        before: &mut PriorCounts,
        check: ConstraintCheck,
    ) -> Result<ReadsOutcome, StoreError> {
        let mut tx = self.store.reconciliation().await?;
        let decided = self.decide_all(&mut tx, readings, missing, context, cursor, before, check).await;
        match decided {
            Ok((outcome, _)) if context.dry || outcome.no_room.is_some() => {
                tx.rollback().await;
                Ok(outcome)
            }
            decided => tx.end(decided).await,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what one transaction is given")]
    async fn decide_all(
        &self,
        tx: &mut Reconciliation,
        readings: &[(IdentityKey, Reading)],
        missing: &[IdentityKey],
        context: &ReadContext,
        cursor: &str,
        before: &mut PriorCounts,
        check: ConstraintCheck,
    ) -> Result<(ReadsOutcome, Vec<CausedChange>), StoreError> {
        check.prepare(tx).await?;
        let keys: Vec<IdentityKey> = readings.iter().map(|(key, _)| key.clone()).collect();
        let mut accounts = self.lock(tx, &keys).await?;
        let received = tx.received(&keys).await?;
        let firsts = tx.first_readings(&keys).await?;
        let circumstances = |key: &IdentityKey, reading: &Reading| Circumstances {
            earlier: firsts.get(key).map(|first| earlier(first, &reading.observed)),
            received_at: received.get(key).copied(),
            confirm_after_ms: self.confirm_after_ms,
        };
        self.tie(tx, &mut accounts, readings, circumstances, context).await?;
        let mut ids =
            FreshIds::reserve(tx, &self.clock, &self.sources, accounts.values(), context.dry).await?;
        let mut batch = Batch::default();
        for (key, reading) in readings {
            let Some(account) = accounts.remove(key) else {
                if tx.is_erased(key) {
                    batch.unchanged += 1;
                    batch.resolved.push(key.clone());
                    continue;
                }
                batch.doubts.push(doubt(key, Doubt::Unwritten, AGAIN_AFTER_MS, None));
                continue;
            };
            let fresh_id = ids.next(tx, &account).await?;
            let at = circumstances(key, reading);
            let raced = context.since.is_some() && at.received_at >= context.since;
            if raced && reading.observed == Observation::Absent {
                batch.resolved.push(key.clone());
                continue;
            }
            self.decide(&mut batch, key, reading, account, at, &fresh_id);
        }
        let (applied, changes) = self.write(tx, batch, context, missing, check).await?;
        if let (Some(run), false) = (&context.run, context.dry) {
            let mut counts = before.counts().await?;
            counts.add(applied.counts);
            tx.progress(&run.id, &run.holder, cursor, counts).await?;
        }
        Ok((applied, changes))
    }

    /// The accounts that nobody else holds.
    async fn lock(
        &self,
        tx: &mut Reconciliation,
        keys: &[IdentityKey],
    ) -> Result<BTreeMap<IdentityKey, LockedAccount>, StoreError> {
        let layout = self.store.layout();
        let locked = tx.lock(keys).await?;
        let mut accounts: BTreeMap<IdentityKey, LockedAccount> = locked
            .into_iter()
            .map(|(key, locked)| (key.clone(), locked_account(&self.sources, layout, &key, locked)))
            .collect();
        one_of_each_user(&mut accounts);
        Ok(accounts)
    }

    fn decide(
        &self,
        batch: &mut Batch,
        key: &IdentityKey,
        reading: &Reading,
        account: LockedAccount,
        at: Circumstances,
        fresh_id: &str,
    ) {
        let decision = decide_read(self.store.layout(), &account.known, reading, at, fresh_id);
        if account.is_placeholder && !matches!(decision, ReadDecision::Apply(_)) {
            batch.placeholders.push(key.clone());
        }
        match decision {
            ReadDecision::Unchanged => {
                batch.unchanged += 1;
                batch.resolved.push(key.clone());
            }
            ReadDecision::Apply(repair) => batch.repairs.push((key.clone(), account, repair)),
            ReadDecision::Again(again) if !again.counts => {
                batch.doubts.push(doubt(key, again.doubt, 0, None));
            }
            ReadDecision::Again(again) => {
                let first = FirstReading { marked_at: reading.marked_at, said: digest(&reading.observed) };
                let (wait_ms, first) = match at.earlier {
                    // An earlier reading that says the same goes on waiting for its time.
                    Some(earlier) if goes_on(earlier, &reading.observed, again.doubt, at) => {
                        let over_ms = reading.marked_at.ms() - earlier.marked_at.ms();
                        let first = FirstReading { marked_at: earlier.marked_at, ..first };
                        (self.confirm_after_ms - over_ms, first)
                    }
                    // The row itself is asked, and decides: there is nothing to wait for.
                    _ if self.source.table.is_some() && again.doubt.is_of_content() => (0, first),
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
        context: &ReadContext,
        missing: &[IdentityKey],
        check: ConstraintCheck,
    ) -> Result<(ReadsOutcome, Vec<CausedChange>), StoreError> {
        let mut applied = ReadsOutcome::default();
        let (mut writes, mut written, mut same) = (Vec::new(), Vec::new(), Vec::new());
        for (key, account, repair) in std::mem::take(&mut batch.repairs) {
            match difference(&key, &account.known, &repair.account, true, account.linked_by.clone()) {
                Some(write) => {
                    let write = context.assignment.put_into(self.store.layout(), write);
                    writes.push(check.of(self.store.layout(), write));
                    written.push((key, account, repair));
                }
                None => same.push((key, account, repair)),
            }
        }
        let ids = writes.iter().filter_map(|write| Some(write.before.as_ref()?.id.clone()));
        let mirrored = match context.plan {
            Some(_) => tx.mirrored(&ids.collect::<Vec<_>>()).await?,
            None => Mirrored::new(),
        };
        let mut outcomes = write_each(tx, writes).await?;
        if !context.assignment.is_empty() {
            let layout = self.store.layout();
            applied.no_room = outcomes.iter().find_map(|outcome| context.assignment.unmet(layout, outcome));
        }
        let retry = HeldValuesRetry { sources: &self.sources, clock: &self.clock, dry: context.dry };
        let mut changes = retry.after(tx, check, &mut outcomes).await?;
        if context.plan.is_some() {
            // Who is not tied to their row now will be by the next call, or by a full run.
            batch.doubts.clear();
            let written: Vec<&AccountWrite> = outcomes.iter().filter_map(Outcome::written).collect();
            tx.note_adopted(&written, &mirrored).await?;
        }
        let cause = self.cause(context);
        for ((key, account, mut repair), outcome) in written.into_iter().zip(&outcomes) {
            if let Outcome::Refused(reason) = outcome {
                if account.is_placeholder {
                    batch.placeholders.push(key.clone());
                }
                batch.doubts.push(doubt(&key, Doubt::Unwritten, AGAIN_AFTER_MS, None));
                applied.refusals.push((key, reason.clone()));
                continue;
            }
            applied.linked += u64::from(account.linked_by.is_some());
            applied.partial += u64::from(outcome.note().is_some());
            repair.change = feed_change(repair.change, outcome);
            count(&mut applied, &key, &account.known, &repair);
            changes.extend(repair.change.map(|change| CausedChange { change, cause: cause.clone() }));
            batch.resolved.push(key);
        }
        for (key, account, repair) in same {
            if account.is_placeholder {
                batch.placeholders.push(key.clone());
            }
            count(&mut applied, &key, &account.known, &repair);
            batch.resolved.push(key);
        }
        applied.counts.unchanged += batch.unchanged;
        applied.doubted = batch.doubts.len() as u64;
        if !context.dry {
            batch.doubts.extend(missing.iter().map(|key| doubt(key, Doubt::Missing, 0, None)));
            batch.doubts.extend(
                batch
                    .gone
                    .iter()
                    .map(|key| NewConfirmation { gone: true, ..doubt(key, Doubt::Missing, 0, None) }),
            );
            for doubt in &mut batch.doubts {
                doubt.run_id = context.waiting_run();
            }
            tx.confirm(&batch.doubts).await?;
        }
        tx.resolve_confirmations(&batch.resolved).await?;
        tx.delete_placeholders(&batch.placeholders).await?;
        applied.gone = batch.gone;
        Ok((applied, changes))
    }

    /// An account that cannot even be tried is to be read again.
    async fn refuse(
        &self,
        key: IdentityKey,
        reason: String,
        context: &ReadContext,
        cursor: &str,
        counts: Counts,
    ) -> Result<ReadsOutcome, StoreError> {
        if !context.dry {
            let mut tx = self.store.reconciliation().await?;
            let again = doubt(&key, Doubt::Unwritten, AGAIN_AFTER_MS, None);
            tx.confirm(&[NewConfirmation { run_id: context.waiting_run(), ..again }]).await?;
            if let Some(run) = &context.run {
                tx.progress(&run.id, &run.holder, cursor, counts).await?;
            }
            tx.commit(&[]).await?;
        }
        Ok(ReadsOutcome { doubted: 1, refusals: vec![(key, reason)], ..ReadsOutcome::default() })
    }

    /// Self-contained: runs are pruned, the history is not.
    pub(super) fn cause(&self, context: &ReadContext) -> String {
        let run = context.run.as_ref().map(|run| run.id.as_str());
        serde_json::json!({"read": {"source": self.source.name, "run": run, "by": context.cause}}).to_string()
    }
}

/// Whether the error is of one account, which the others need not wait for.
fn stops_one(error: &StoreError) -> bool {
    error.is_of_one_account() || matches!(error, StoreError::LockTimeout(_))
}

#[derive(Default)]
struct Batch {
    repairs: Vec<(IdentityKey, LockedAccount, Repair)>,
    doubts: Vec<NewConfirmation>,
    gone: Vec<IdentityKey>,
    resolved: Vec<IdentityKey>,
    /// Of whom nothing was written: their rows were made for the lock.
    placeholders: Vec<IdentityKey>,
    unchanged: u64,
}
