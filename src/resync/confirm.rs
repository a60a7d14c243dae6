//! Accounts that are read by their ids: those that a run doubts, and those that a delivery has asked about.

use super::running::Running;
use super::{Phase, Resync, ResyncError};
use crate::core::event::IdentityKey;
use crate::core::read::{Observation, Reading};
use crate::core::retry_policy::CONFIRMATION;
use crate::core::words::Doubt;
use crate::intake::odd_user;
use crate::reconcile::{Drift, ReadContext, ReadsOutcome};
use crate::store::{Confirmation, Counts, StoreError};
use std::collections::HashSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// Accounts that are read at the same time.
const READERS: usize = 8;
/// Accounts that are taken up together.
const BATCH: i64 = 64;
/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Known accounts that are asked for, until one is there.
const SOMEBODY: i64 = 10;
/// Missing accounts that a drift report asks for one by one.
const LOOKED_FOR_MAX: usize = 200;

/// What reading some accounts has brought.
struct Read {
    readings: Vec<(IdentityKey, Reading)>,
    /// Accounts that cannot be given or understood, and why.
    unreadable: Vec<(IdentityKey, String)>,
}

impl Resync {
    /// Reads what the run doubts until nothing is open: twice, `HEADCOUNT_CONFIRM_AFTER` apart, where that is needed.
    pub(super) async fn confirm(&self, running: &mut Running) -> Result<(), ResyncError> {
        let run_id = running.run.id.clone();
        let total = self.store.open_confirmations(&run_id).await?;
        let total = total.open + total.gone;
        loop {
            self.check_stopped()?;
            let open = self.store.open_confirmations(&run_id).await?;
            let wait_ms = open.next_in_ms;
            self.report(Phase::Confirming { wait_ms }, total.saturating_sub(open.open), total);
            if open.open == 0 {
                break;
            }
            if wait_ms > 0 {
                let wait = Duration::from_millis(wait_ms.unsigned_abs()).min(LOOK_EVERY);
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
            let due = self.store.due_confirmations(&self.source.name, Some(&run_id), BATCH).await?;
            let (due, given_up): (Vec<_>, Vec<_>) =
                due.into_iter().partition(|confirmation| !CONFIRMATION.is_spent(confirmation.attempts));
            self.give_up(running, &given_up).await?;
            self.read_due(running, due).await?;
        }
        if running.left_out > 0 {
            return Err(ResyncError::LeftOut(running.left_out));
        }
        // Before and after: the answers of 404 lie between.
        if self.store.open_confirmations(&run_id).await?.gone > 0 {
            self.ask_witnesses(running).await?;
        }
        Ok(())
    }

    async fn read_due(&self, running: &mut Running, due: Vec<Confirmation>) -> Result<(), ResyncError> {
        let missing: HashSet<IdentityKey> = due
            .iter()
            .filter(|confirmation| confirmation.doubt == Doubt::Missing)
            .map(|confirmation| confirmation.key.clone())
            .collect();
        if !missing.is_empty() && !running.asked_witness {
            self.ask_witnesses(running).await?;
            running.asked_witness = true;
        }
        let Read { readings, unreadable } = self.read_each(due).await?;
        for (key, reason) in &unreadable {
            if missing.contains(key) && running.gaps > 0 {
                // It is what lies at a place that the list could not give, and is counted.
                running.forget_a_place();
            }
            running.note_unreadable(&key.provider_id, reason);
        }
        // The run does not wait for them: they are read again by and by.
        self.postpone(&unreadable).await?;
        let there = |(key, reading): &&(IdentityKey, Reading)| {
            reading.observed != Observation::Absent && missing.contains(key)
        };
        running.left_out += readings.iter().filter(there).count() as u64;
        self.count_requests(running);
        let context = running.context();
        let applied = self.reads.apply(&readings, &[], &context, &running.cursor(), running.counts).await?;
        self.note(running, applied);
        Ok(())
    }

    fn note(&self, running: &mut Running, applied: ReadsOutcome) {
        running.counts.add(applied.counts);
        running.note_drift(applied.drift);
        for (key, reason) in applied.refusals {
            warn!(account.id = key.provider_id, "the database refuses the row: {reason}");
            let count = running.unwritten.as_ref().map_or(0, |(count, _)| *count);
            running.unwritten = Some((count, reason));
        }
    }

    async fn give_up(&self, running: &mut Running, given_up: &[Confirmation]) -> Result<(), ResyncError> {
        if given_up.is_empty() {
            return Ok(());
        }
        let keys: Vec<IdentityKey> = given_up.iter().map(|confirmation| confirmation.key.clone()).collect();
        let count = keys.len() as u64;
        match &mut running.unwritten {
            Some((unwritten, _)) => {
                *unwritten += count;
                running.counts.refused += count;
            }
            None => running.unsettled += count,
        }
        self.forget(running, &keys).await?;
        Ok(())
    }

    /// Forgets the questions, unless somebody else has taken the run over.
    async fn forget(&self, running: &Running, keys: &[IdentityKey]) -> Result<(), StoreError> {
        let mut tx = self.store.reconciliation().await?;
        let crate::reconcile::RunRef { id, holder } = &running.run;
        tx.progress(id, holder, &running.cursor(), running.counts).await?;
        tx.resolve_confirmations(keys).await?;
        tx.commit(&[]).await
    }

    /// A known account must answer 200, or answers of 404 mean nothing.
    async fn ask_witnesses(&self, running: &Running) -> Result<(), ResyncError> {
        match running.witnesses() {
            [] => self.ask_somebody().await,
            witnesses => self.ask_any(witnesses).await,
        }
    }

    /// The same where no walk has named anybody: of those known here, whoever is in no doubt.
    pub(super) async fn ask_somebody(&self) -> Result<(), ResyncError> {
        let ids = self.store.undoubted_accounts(&self.source.name, SOMEBODY).await?;
        self.ask_any(&ids).await
    }

    async fn ask_any(&self, ids: &[String]) -> Result<(), ResyncError> {
        for id in ids {
            match self.gate.one(id).await {
                Ok((Some(_), _)) => return Ok(()),
                Ok((None, _)) => {}
                Err(error) if error.is_of_one_account() => {}
                Err(error) => return Err(error),
            }
        }
        Err(ResyncError::Canary)
    }

    /// Reads these accounts now.
    pub(super) async fn read_keys(
        &self,
        keys: &[IdentityKey],
    ) -> Result<Vec<(IdentityKey, Reading)>, ResyncError> {
        let asked = |key: &IdentityKey| Confirmation { key: key.clone(), doubt: Doubt::Asked, attempts: 0 };
        Ok(self.read_each(keys.iter().map(asked).collect()).await?.readings)
    }

    /// Reads the accounts, some at a time. One that cannot be given keeps none of the others from being read.
    async fn read_each(&self, due: Vec<Confirmation>) -> Result<Read, ResyncError> {
        let mut due = due.into_iter();
        let mut readers = JoinSet::new();
        let (mut readings, mut unreadable, mut odd) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            while readers.len() < READERS
                && let Some(confirmation) = due.next()
            {
                let gate = self.gate.clone();
                readers.spawn(async move {
                    let answer = gate.one(&confirmation.key.provider_id).await;
                    (confirmation.key, answer)
                });
            }
            let Some(read) = readers.join_next().await else { break };
            let (key, answer) = read.map_err(|_| ResyncError::Stopped)?;
            let (entry, marked_at) = match answer {
                Ok(answer) => answer,
                Err(error) if error.is_of_one_account() => {
                    unreadable.push((key, error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let is_of_the_row = self.gate.directory().reads_the_row();
            match entry {
                None => {
                    readings.push((key, Reading { observed: Observation::Absent, marked_at, is_of_the_row }))
                }
                Some(entry) if entry.provider_id.as_deref().is_some_and(|id| id != key.provider_id) => {
                    return Err(ResyncError::Walk("an account answers under another one's id"));
                }
                Some(entry) => match &entry.snapshot {
                    Ok(snapshot) => {
                        readings.push((
                            key,
                            Reading {
                                observed: Observation::Present(snapshot.clone()),
                                marked_at,
                                is_of_the_row,
                            },
                        ));
                    }
                    Err(reason) => {
                        odd.extend(odd_user(&self.source, &entry, marked_at));
                        unreadable.push((key, reason.to_string()));
                    }
                },
            }
        }
        self.store.accept(&self.store.without_erased(odd).await?).await?;
        readings.sort_by(|(a, _), (b, _)| a.cmp(b));
        unreadable.sort();
        Ok(Read { readings, unreadable })
    }

    /// They are read again after a while, each after a longer one.
    async fn postpone(&self, unreadable: &[(IdentityKey, String)]) -> Result<(), StoreError> {
        if unreadable.is_empty() {
            return Ok(());
        }
        for (key, reason) in unreadable {
            debug!(
                source.name = self.source.name,
                account.id = key.provider_id,
                "it cannot be read: {reason}"
            );
        }
        let mut tx = self.store.reconciliation().await?;
        tx.postpone_confirmations(unreadable).await?;
        tx.commit(&[]).await
    }

    /// Asks for missing accounts by their ids, as a drift report does: once, and only for the first of them.
    pub(super) async fn look_for(
        &self,
        running: &mut Running,
        missing: &[String],
    ) -> Result<(), ResyncError> {
        for (n, id) in missing.iter().enumerate() {
            self.report(Phase::Confirming { wait_ms: 0 }, n as u64, missing.len() as u64);
            let is_gone = n >= LOOKED_FOR_MAX
                || match self.gate.one(id).await {
                    Ok((entry, _)) => entry.is_none(),
                    Err(error) if error.is_of_one_account() => {
                        running.note_unreadable(id, &error.to_string());
                        false
                    }
                    Err(error) => return Err(error),
                };
            if is_gone {
                running.counts.deleted += 1;
                running.note_drift(vec![Drift {
                    provider_id: id.clone(),
                    kind: "gone",
                    columns: Vec::new(),
                }]);
            }
        }
        Ok(())
    }

    /// Reads the accounts that deliveries have asked about and that are due; how many it were.
    pub async fn confirm_asked(&self) -> Result<usize, ResyncError> {
        self.store.free_confirmations(&self.source.name).await?;
        self.store.ask_provisional(&self.source.name, BATCH).await?;
        let due = self.store.due_confirmations(&self.source.name, None, BATCH).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let (due, given_up): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|confirmation| !CONFIRMATION.is_spent(confirmation.attempts));
        let restless = "it kept changing while it was read".to_owned();
        let given_up: Vec<(IdentityKey, String)> =
            given_up.into_iter().map(|confirmation| (confirmation.key, restless.clone())).collect();
        self.postpone(&given_up).await?;
        let count = due.len();
        let Read { readings, unreadable } = self.read_each(due).await?;
        self.postpone(&unreadable).await?;
        let since = readings.iter().map(|(_, reading)| reading.marked_at).min();
        let context = ReadContext { cause: "confirmation", ..ReadContext::default() };
        let applied = self.reads.apply(&readings, &[], &context, "", Counts::default()).await?;
        // Only a full run may conclude anything from absence, but for accounts of which nothing has ever come.
        let mut tx = self.store.reconciliation().await?;
        let since = since.unwrap_or(tx.now().await?);
        let (_, changes) = self.reads.sweep(&mut tx, &applied.gone, since, &context).await?;
        tx.resolve_confirmations(&applied.gone).await?;
        tx.commit(&changes).await?;
        info!(
            source.name = self.source.name,
            read.count = count,
            read.repaired = applied.counts.repaired(),
            "accounts were read again because deliveries left a doubt"
        );
        Ok(count)
    }
}
