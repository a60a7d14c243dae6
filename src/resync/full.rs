//! The full run: walk the whole list, read again what is in doubt, sweep what is proven to be gone. It resumes where its
//! process ended.

use super::compare::{Compared, compare_range, key};
use super::guard::Guard;
use super::lease::Lease;
use super::pages::{AbortOnDrop, UnderWay};
use super::walk::{WalkPlace, page};
use super::{DRIFT_NAMED_MAX, Phase, Report, Resync, ResyncError};
use crate::core::proof::{Walked, prove};
use crate::core::timestamp::Timestamp;
use crate::core::words::RunMode;
use crate::reconcile::{Assignment, Drift, ReadContext, RunRef};
use crate::store::{Counts, Ending, NewConfirmation, NewDelivery, Run, run_lease};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

/// A run that was interrupted longer ago is begun anew: too much has changed since its read mark.
const RESUME_AGE_MS_MAX: i64 = 6 * 3_600_000;
/// Where nothing differs, progress is written down this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// Accounts that are certainly there, kept to ask for them.
const WITNESSES_MAX: usize = 3;
/// Accounts that could not be read and that a run's error names.
const UNREADABLE_NAMED_MAX: usize = 5;
/// What stands for the id of an account that the list could not give.
const UNNAMED: &str = "the account at place";
/// Accounts without a creation time that are looked at together.
const UNDATED_SLICE: i64 = 500;

/// Where a run would go on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    place: WalkPlace,
    walked: bool,
    missing: u64,
    witnesses: Vec<String>,
}

/// A run under way.
pub(super) struct Running {
    pub run: RunRef,
    pub marked_at: Timestamp,
    pub counts: Counts,
    pub drift: Vec<Drift>,
    pub count_after: Option<u64>,
    pub known_before: u64,
    /// By the provider, where it counts.
    pub count_before: Option<u64>,
    /// Refused rows and accounts that never settled, with a reason.
    pub unwritten: Option<(u64, String)>,
    /// Why a run that is not dry would be held.
    pub foreseen: Option<String>,
    pub unsettled: u64,
    /// Accounts that the list lacked and that were there by their ids.
    pub left_out: u64,
    /// Places of the list that cannot be given and whose accounts nobody has named yet.
    pub gaps: u64,
    /// The first of the accounts that could not be read, with the reason.
    pub unreadable: Vec<String>,
    /// A known account has answered 200 before any 404 was believed.
    pub asked_witness: bool,
    pub guard: Option<Guard>,
    mode: RunMode,
    /// The last page, as long as it is being applied: not in the counts yet.
    pub under_way: Option<UnderWay>,
    checkpoint: Checkpoint,
    written_at: Instant,
}

impl Running {
    pub(super) fn new(run: Run, holder: &str, mode: RunMode) -> Self {
        let checkpoint = run.cursor.as_deref().and_then(|cursor| serde_json::from_str(cursor).ok());
        let whole = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        Self {
            marked_at: run.marked_at.unwrap_or(Timestamp::clamped(0)),
            counts: run.counts,
            drift: Vec::new(),
            count_after: None,
            known_before: whole(run.known_before),
            count_before: run.count_before.and_then(|count| u64::try_from(count).ok()),
            foreseen: None,
            unwritten: None,
            unsettled: 0,
            left_out: 0,
            gaps: 0,
            unreadable: Vec::new(),
            asked_witness: false,
            guard: None,
            under_way: None,
            mode,
            checkpoint: checkpoint.unwrap_or_default(),
            written_at: Instant::now(),
            run: RunRef { id: run.id, holder: holder.to_owned() },
        }
    }

    pub(super) fn context(&self) -> ReadContext {
        ReadContext {
            run: Some(self.run.clone()),
            cause: self.mode.name(),
            since: Some(self.marked_at),
            dry: self.is_dry(),
            waits: matches!(self.mode, RunMode::Full | RunMode::User),
            plan: None,
            assignment: Assignment::default(),
        }
    }

    pub(super) fn is_dry(&self) -> bool {
        self.mode == RunMode::DryRun
    }

    pub(super) fn cursor(&self) -> String {
        serde_json::to_string(&self.checkpoint).unwrap_or_default()
    }

    pub(super) fn witnesses(&self) -> &[String] {
        &self.checkpoint.witnesses
    }

    /// Counts an account that could not be read, and remembers the first of them.
    pub(super) fn note_unreadable(&mut self, which: &str, reason: &str) {
        self.counts.unreadable += 1;
        if self.unreadable.len() < UNREADABLE_NAMED_MAX {
            self.unreadable.push(format!("{which} ({reason})"));
        }
    }

    /// One of the places that could not be given has a name now, under which it is counted.
    pub(super) fn forget_a_place(&mut self) {
        self.gaps -= 1;
        self.counts.unreadable -= 1;
        if let Some(place) = self.unreadable.iter().position(|named| named.starts_with(UNNAMED)) {
            self.unreadable.remove(place);
        }
    }

    pub(super) fn note_odd(&mut self, odd: &NewDelivery) {
        let which = odd.provider_id.as_deref().unwrap_or("an account without an id");
        self.note_unreadable(which, odd.dead_because.as_deref().unwrap_or_default());
    }

    /// How the run ends where nothing else is in its way.
    pub(super) fn ended(&self) -> Ending {
        match self.counts.unreadable {
            0 => Ending { status: "succeeded", error: None },
            count => Ending {
                status: "partial",
                error: Some(format!(
                    "{count} accounts could not be read, the others were compared; nobody of them was deleted: {}",
                    self.unreadable.join("; ")
                )),
            },
        }
    }

    pub(super) fn note_drift(&mut self, drift: Vec<Drift>) {
        let room = DRIFT_NAMED_MAX.saturating_sub(self.drift.len());
        self.drift.extend(drift.into_iter().take(room));
    }
}

impl Resync {
    /// One full run, or the rest of one that was interrupted. However it ends, it is in `runs`; an error is one that
    /// kept it from beginning.
    ///
    /// `waits` says whether to wait for the lease of a process that may have died.
    pub async fn full(&self, cause: &str, waits: bool) -> Result<Report, ResyncError> {
        self.check_retired().await?;
        let holder = self.clock.fresh_id();
        let name = run_lease(&self.source.name);
        let lease = match waits {
            true => Lease::acquire_patiently(&self.store, &name, &holder, &self.stop).await?,
            false => Lease::acquire(&self.store, &name, &holder).await?,
        };
        let Some(lease) = lease else {
            return Err(ResyncError::Busy { source_name: self.source.name.clone() });
        };
        let resumed = self.store.resume_run(&self.source.name, &holder, RESUME_AGE_MS_MAX).await?;
        let is_new = resumed.is_none();
        let run = match resumed {
            Some(run) => {
                info!(run.id = run.id, source.name = self.source.name, "a run that was interrupted goes on");
                run
            }
            None => {
                let id = self.clock.fresh_id();
                self.store.begin_run(&id, &self.source.name, RunMode::Full, cause, &holder).await?
            }
        };
        self.store.close_runs_before(&self.source.name, &run.id).await?;
        self.store.adopt_confirmations(&self.source.name, &run.id).await?;
        let mut running = Running::new(run, &holder, RunMode::Full);
        let ending = tokio::select! {
            biased;
            () = lease.lost().cancelled() => Err(ResyncError::Stopped),
            ending = self.walk_and_sweep(&mut running, is_new) => ending,
        };
        let report = self.end(running, ending).await;
        lease.release().await?;
        let report = report?;
        if matches!(report.run.status.as_str(), "succeeded" | "partial" | "held") {
            self.store.overtake_held(&self.source.name, &report.run.id).await?;
        }
        Ok(report)
    }

    /// The drift report: a walk that decides everything and keeps nothing.
    pub async fn dry_run(&self) -> Result<Report, ResyncError> {
        let (mut running, lease) = self.begin(RunMode::DryRun, "command").await?;
        let ending = self.walk_dry(&mut running).await;
        let report = self.end(running, ending).await;
        lease.release().await?;
        report
    }

    /// Begins a run beside which others may run; its lease says that its process is alive.
    pub(super) async fn begin(&self, mode: RunMode, cause: &str) -> Result<(Running, Lease), ResyncError> {
        self.check_retired().await?;
        let (id, holder) = (self.clock.fresh_id(), self.clock.fresh_id());
        let lease = Lease::acquire(&self.store, &format!("read/{id}"), &holder).await?;
        let lease = lease.ok_or_else(|| ResyncError::Busy { source_name: self.source.name.clone() })?;
        let run = self.store.begin_run(&id, &self.source.name, mode, cause, &holder).await?;
        Ok((Running::new(run, &holder, mode), lease))
    }

    /// Writes the run's end down, and reads it back.
    pub(super) async fn end(
        &self,
        mut running: Running,
        ending: Result<Ending, ResyncError>,
    ) -> Result<Report, ResyncError> {
        let last_page = self.end_page(&mut running).await;
        let ending = ending.and_then(|ending| last_page.map(|()| ending)).unwrap_or_else(|failure| Ending {
            status: match failure {
                ResyncError::Stopped => "interrupted",
                ResyncError::WouldDouble { .. } | ResyncError::WouldDoublePeople { .. } => "held",
                _ => "failed",
            },
            error: Some(failure.to_string()),
        });
        self.count_requests(&mut running);
        let id = &running.run.id;
        self.store.end_run(id, &running.run.holder, running.counts, running.count_after, &ending).await?;
        let run = self.store.run(id).await?.unwrap_or_default();
        Ok(Report { run, drift: running.drift })
    }

    async fn walk_and_sweep(&self, running: &mut Running, is_new: bool) -> Result<Ending, ResyncError> {
        self.check_instance().await?;
        if is_new {
            self.count_before(running).await?;
            self.store.set_run_counts(&running.run.id, running.known_before, running.count_before).await?;
        }
        self.guard_creation(running).await?;
        if !running.checkpoint.walked {
            self.walk(running).await?;
        }
        self.prove_walk(running).await?;
        self.confirm(running).await?;
        self.sweep(running).await
    }

    async fn walk_dry(&self, running: &mut Running) -> Result<Ending, ResyncError> {
        self.check_instance().await?;
        self.count_before(running).await?;
        self.guard_creation(running).await?;
        let missing = self.walk(running).await?;
        self.prove_walk(running).await?;
        self.look_for(running, &missing).await?;
        let foreseen = running.foreseen.take();
        let ending = running.ended();
        Ok(Ending { error: foreseen.or(ending.error), ..ending })
    }

    async fn count_before(&self, running: &mut Running) -> Result<(), ResyncError> {
        running.known_before = self.store.count_accounts(&self.source.name).await?;
        running.count_before = self.gate.count().await?;
        Ok(())
    }

    /// Page by page; the next one is under way while one is compared. The ids that are missing, in a dry run.
    async fn walk(&self, running: &mut Running) -> Result<Vec<String>, ResyncError> {
        let mut missing = Vec::new();
        let mut fetched = page(&self.gate, &running.checkpoint.place).await?;
        loop {
            self.check_stopped()?;
            let next = fetched.next.clone();
            let ahead = (!fetched.is_last).then(|| {
                let (gate, place) = (self.gate.clone(), next.clone());
                AbortOnDrop(tokio::spawn(async move { page(&gate, &place).await }))
            });
            let compared = compare_range(&self.store, &self.source, &fetched).await?;
            running.counts.pages += 1;
            for gap in &fetched.gaps {
                // A place that cannot be read counts as seen (contract, rule 5).
                running.counts.seen += 1;
                running.gaps += 1;
                running.note_unreadable(&format!("{UNNAMED} {} of the list", gap.place + 1), &gap.reason);
            }
            running.checkpoint.place = next;
            running.checkpoint.walked = fetched.is_last;
            self.record_page(running, compared, &mut missing).await?;
            let total = running.count_before.unwrap_or(running.known_before);
            self.report(Phase::Walking, running.counts.seen, total);
            let Some(mut ahead) = ahead else { break };
            fetched = (&mut ahead.0).await.map_err(|_| ResyncError::Stopped)??;
        }
        self.end_page(running).await?;
        self.take_undated(running, &mut missing).await?;
        Ok(missing)
    }

    /// Writes down what a page has brought, in one transaction; nothing, where it has brought nothing.
    async fn record_page(
        &self,
        running: &mut Running,
        compared: Compared,
        missing: &mut Vec<String>,
    ) -> Result<(), ResyncError> {
        running.counts.seen += compared.seen;
        running.counts.unchanged += compared.unchanged;
        let odd = self.store.without_erased(compared.odd).await?;
        for odd in &odd {
            running.note_odd(odd);
        }
        self.check_creation(running, compared.unseen).await?;
        let checkpoint = &mut running.checkpoint;
        checkpoint.missing += compared.missing.len() as u64;
        if checkpoint.witnesses.len() < WITNESSES_MAX {
            checkpoint.witnesses.extend(compared.witness);
        }
        let dry = running.is_dry();
        if dry {
            missing.extend(compared.missing.iter().map(|key| key.provider_id.clone()));
        } else if !odd.is_empty() {
            self.store.accept(&odd).await?;
        }
        self.count_requests(running);
        let quiet = compared.differing.is_empty() && compared.missing.is_empty();
        if quiet && (dry || (running.written_at.elapsed() < CHECKPOINT_EVERY && !running.checkpoint.walked)) {
            return Ok(());
        }
        running.written_at = Instant::now();
        self.begin_page(running, compared.differing, compared.missing).await
    }

    /// Accounts of which no snapshot has told when they were created: no page's times cover them.
    async fn take_undated(
        &self,
        running: &mut Running,
        missing: &mut Vec<String>,
    ) -> Result<(), ResyncError> {
        let mut after = String::new();
        loop {
            let ids = self.store.known_undated(&self.source.name, &after, UNDATED_SLICE).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after.clone_from(last);
            if running.is_dry() {
                missing.extend(ids);
                continue;
            }
            let asked: Vec<NewConfirmation> = ids
                .iter()
                .map(|id| NewConfirmation::asked(key(&self.source, id), Some(running.run.id.clone())))
                .collect();
            let mut tx = self.store.reconciliation().await?;
            tx.confirm(&asked).await?;
            tx.commit(&[]).await?;
        }
    }

    async fn prove_walk(&self, running: &mut Running) -> Result<(), ResyncError> {
        running.count_after = self.gate.count().await?;
        prove(&Walked {
            seen: running.counts.seen,
            count_before: running.count_before,
            count_after: running.count_after,
            deleted_meanwhile: self.store.count_deleted_since(&self.source.name, running.marked_at).await?,
            known_before: running.known_before,
            missing: running.checkpoint.missing,
        })?;
        Ok(())
    }

    pub(super) fn count_requests(&self, running: &mut Running) {
        let (requests, throttled) = self.gate.take_counts();
        running.counts.requests += requests;
        running.counts.throttled += throttled;
    }
}
