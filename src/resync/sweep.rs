//! Deleting what is proven to be gone, within the limit; above it, a person decides.

use super::lease::Lease;
use super::running::Running;
use super::{Phase, Report, Resync, ResyncError};
use crate::core::event::IdentityKey;
use crate::core::read::{Observation, Reading};
use crate::core::timestamp::Timestamp;
use crate::reconcile::ReadContext;
use crate::store::{Counts, Ending, HeldSet, Run, StoreError};

/// Accounts that one transaction deletes.
const BATCH: i64 = 100;

impl Resync {
    pub(super) async fn sweep(&self, running: &mut Running) -> Result<Ending, ResyncError> {
        let run_id = running.run.id.clone();
        let gone = self.store.open_confirmations(&run_id).await?.gone;
        if gone > 0 {
            let lately = {
                let mut tx = self.store.reconciliation().await?;
                tx.swept_lately(&self.source.name).await?
            };
            let allowed = self.settings.max_delete.allowed(running.known_before);
            if lately + gone > allowed {
                running.counts.held_deletes = self.store.hold(&run_id, &running.run.holder).await?;
                return Ok(Ending { status: "held", error: Some(too_many(&run_id, gone, lately, allowed)) });
            }
            self.sweep_gone(running, gone).await?;
        }
        if let Some((count, reason)) = running.unwritten.take().filter(|(count, _)| *count > 0) {
            return Err(ResyncError::Refused { count, reason });
        }
        if running.unsettled > 0 {
            return Err(ResyncError::Unsettled(running.unsettled));
        }
        Ok(running.ended())
    }

    async fn sweep_gone(&self, running: &mut Running, total: u64) -> Result<(), ResyncError> {
        let mut after = String::new();
        loop {
            self.check_stopped()?;
            let keys = self.store.gone(&running.run.id, &after, BATCH).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            after.clone_from(&last.provider_id);
            match self.sweep_batch(running, &keys, false).await {
                // A constraint that speaks up only at the commit, or what is stored of one cannot be read: each by itself.
                Err(error) if error.is_of_one_account() => {
                    for key in &keys {
                        match self.sweep_batch(running, std::slice::from_ref(key), true).await {
                            Err(error) if error.is_of_one_account() => {
                                let count = running.unwritten.as_ref().map_or(0, |(count, _)| *count) + 1;
                                running.unwritten = Some((count, error.to_string()));
                            }
                            result => result?,
                        }
                    }
                }
                result => result?,
            }
            self.report(Phase::Sweeping, running.counts.deleted, total);
        }
    }

    async fn sweep_batch(
        &self,
        running: &mut Running,
        keys: &[IdentityKey],
        careful: bool,
    ) -> Result<(), StoreError> {
        let context = running.context();
        let mut tx = self.store.reconciliation().await?;
        if careful {
            tx.look_ahead().await?;
        }
        let (deleted, changes) = self.reads.sweep(&mut tx, keys, running.marked_at, &context).await?;
        tx.resolve_confirmations(keys).await?;
        let mut counts = running.counts;
        counts.deleted += deleted.len() as u64;
        tx.progress(&running.run.id, &running.run.holder, &running.cursor(), counts).await?;
        tx.commit(&changes).await?;
        running.counts = counts;
        Ok(())
    }

    /// Carries out a held run that somebody has said yes to: exactly its set, each account asked for once more. `None` where
    /// another process is at it, or has done it.
    pub async fn carry_out(&self, run_id: &str) -> Result<Option<Report>, ResyncError> {
        self.check_retired().await?;
        self.check_instance().await?;
        let name = format!("approved/{run_id}");
        let Some(lease) = Lease::acquire(&self.store, &name, &self.clock.fresh_id()).await? else {
            return Ok(None);
        };
        let run = self.store.run(run_id).await?.unwrap_or_default();
        let report = match run.status.as_str() {
            "held" => self.carry_out_held(&run).await.map(Some),
            _ => Ok(None),
        };
        lease.release().await?;
        report
    }

    async fn carry_out_held(&self, run: &Run) -> Result<Report, ResyncError> {
        let run_id = run.id.as_str();
        let marked_at = run.marked_at.unwrap_or(Timestamp::clamped(0));
        let context = ReadContext { cause: "approval", since: Some(marked_at), ..ReadContext::default() };
        let created = self.create_held(run_id, &context, run.counts.held_creates).await?;
        let (mut after, mut deleted, mut spared) = (String::new(), run.counts.deleted, 0);
        loop {
            self.check_stopped()?;
            let keys = self.store.held_of(HeldSet::Deletes, run_id, &after, BATCH).await?;
            let Some(last) = keys.last() else { break };
            after.clone_from(&last.provider_id);
            let gone = self.still_gone(&keys).await?;
            let mut tx = self.store.reconciliation().await?;
            tx.approved(run_id).await?;
            let (swept, changes) = self.reads.sweep(&mut tx, &gone, marked_at, &context).await?;
            tx.unhold(run_id, &keys, swept.len() as u64).await?;
            tx.commit(&changes).await?;
            deleted += swept.len() as u64;
            spared += (keys.len() - swept.len()) as u64;
            self.report(Phase::Sweeping, deleted, run.counts.held_deletes);
        }
        let note = match spared {
            0 => String::new(),
            _ => format!(
                "{spared} of the set were there again, or something was received about them: they stay"
            ),
        };
        self.store.end_approved(run_id, created, &note).await?;
        Ok(Report { run: self.store.run(run_id).await?.unwrap_or_default(), drift: Vec::new() })
    }

    /// Users for the accounts that the run was held for; those that find a row by now are linked.
    async fn create_held(&self, run_id: &str, context: &ReadContext, total: u64) -> Result<u64, ResyncError> {
        let (mut after, mut created) = (String::new(), 0);
        loop {
            self.check_stopped()?;
            let keys = self.store.held_of(HeldSet::Creates, run_id, &after, BATCH).await?;
            let Some(last) = keys.last() else { return Ok(created) };
            after.clone_from(&last.provider_id);
            let mut readings = self.read_keys(&keys).await?;
            readings.retain(|(_, reading)| reading.observed != Observation::Absent);
            let mut tx = self.store.reconciliation().await?;
            tx.approved(run_id).await?;
            drop(tx);
            let applied = self.reads.apply(&readings, &[], context, "", Counts::default()).await?;
            created += applied.counts.created;
            self.report(Phase::Linking, created, total);
        }
    }

    async fn still_gone(&self, keys: &[IdentityKey]) -> Result<Vec<IdentityKey>, ResyncError> {
        let mut gone = Vec::new();
        for (key, reading) in self.read_keys(keys).await? {
            if matches!(reading, Reading { observed: Observation::Absent, .. }) {
                gone.push(key);
            }
        }
        // And a known one is there, or the answers mean nothing.
        if !gone.is_empty() {
            self.ask_somebody().await?;
        }
        Ok(gone)
    }
}

fn too_many(run_id: &str, gone: u64, lately: u64, allowed: u64) -> String {
    let before = match lately {
        0 => String::new(),
        _ => format!(" ({lately} were deleted so within 24 hours already)"),
    };
    format!(
        "{gone} accounts are gone from the source, and HEADCOUNT_MAX_DELETE allows {allowed}{before}; nobody was deleted. \
         `headcount runs show {run_id}` names them, `headcount runs approve {run_id}` deletes them"
    )
}
