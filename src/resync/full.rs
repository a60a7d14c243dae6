//! The full run: walk the whole list, read again what is in doubt, sweep what is proven to be gone. It resumes where its
//! process ended.

use super::compare::{Compared, compare_ids, compare_range, key};
use super::lease::Lease;
use super::outbox::{forgive_unnoted, unnoted_changes};
use super::running::{AbortOnDrop, Running, UNNAMED};
use super::walk::{Page, page};
use super::{Phase, Report, Resync, ResyncError};
use crate::core::proof::{Walked, prove};
use crate::core::words::RunMode;
use crate::source::directory::ListOrder;
use crate::store::{Ending, NewConfirmation, run_lease};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// A run that was interrupted longer ago is begun anew: too much has changed since its read mark.
const RESUME_AGE_MS_MAX: i64 = 6 * 3_600_000;
/// Where nothing differs, progress is written down this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// Accounts that are certainly there, kept to ask for them.
const WITNESSES_MAX: usize = 3;
/// Accounts without a creation time that are looked at together.
const UNDATED_SLICE: i64 = 500;
/// Accounts that are looked at together, at the end of a list in the order of ids.
const UNSEEN_SLICE: i64 = 2_000;

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
        let unnoted = unnoted_changes(&self.source).await;
        let ending = tokio::select! {
            biased;
            () = lease.lost().cancelled() => Err(ResyncError::Stopped),
            ending = self.walk_and_sweep(&mut running, is_new) => ending,
        };
        let report = self.end(running, ending).await;
        lease.release().await?;
        let report = report?;
        if report.run.status == "succeeded"
            && let Err(error) = forgive_unnoted(&self.source, unnoted).await
        {
            warn!(source.name = self.source.name, "the outbox still counts what this run has found: {error}");
        }
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
        if ending.status == "succeeded" && running.mode == RunMode::Full {
            // Where nothing else says whose the accounts are, deliveries wait until the source was read once.
            self.store.note_first_read(&self.source.name, None).await?;
        }
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
        let order = self.gate.directory().list_order();
        if order == ListOrder::Id {
            // Whom an earlier process has met nobody knows any more.
            running.forget_the_walk();
        }
        let mut fetched = page(&self.gate, &running.checkpoint.place).await?;
        loop {
            self.check_stopped()?;
            let next = fetched.next.clone();
            let ahead = (!fetched.is_last).then(|| {
                let (gate, place) = (self.gate.clone(), next.clone());
                AbortOnDrop(tokio::spawn(async move { page(&gate, &place).await }))
            });
            let compared = match order {
                ListOrder::Creation => compare_range(&self.store, &self.source, &fetched).await?,
                ListOrder::Id => self.compare_unordered(running, &mut fetched).await?,
            };
            running.counts.pages += 1;
            for gap in &fetched.gaps {
                // A place that cannot be read counts as seen (contract, rule 5).
                running.counts.seen += 1;
                running.gaps += 1;
                running.note_unreadable(&format!("{UNNAMED} {} of the list", gap.place + 1), &gap.reason);
            }
            running.checkpoint.place = next;
            running.checkpoint.walked = fetched.is_last && order == ListOrder::Creation;
            self.record_page(running, compared, &mut missing).await?;
            let total = running.count_before.unwrap_or(running.known_before);
            self.report(Phase::Walking, running.counts.seen, total);
            let Some(mut ahead) = ahead else { break };
            fetched = (&mut ahead.0).await.map_err(|_| ResyncError::Stopped)??;
        }
        self.end_page(running).await?;
        match order {
            ListOrder::Creation => self.take_undated(running, &mut missing).await?,
            ListOrder::Id => self.take_unseen(running, &mut missing).await?,
        }
        Ok(missing)
    }

    /// A page of a list in the order of ids. Whoever moves in it and is met twice counts once.
    async fn compare_unordered(
        &self,
        running: &mut Running,
        page: &mut Page,
    ) -> Result<Compared, ResyncError> {
        let listed = page.entries.len();
        page.entries.retain(|entry| entry.provider_id.as_ref().is_none_or(|id| running.seen_ids.insert(id)));
        if page.entries.is_empty() && listed > 0 && !page.is_last {
            return Err(ResyncError::Walk("a whole page repeats"));
        }
        Ok(compare_ids(&self.store, &self.source, &page.entries, page.marked_at).await?)
    }

    /// Accounts that a list in the order of ids has not shown.
    async fn take_unseen(&self, running: &mut Running, missing: &mut Vec<String>) -> Result<(), ResyncError> {
        let mut after = String::new();
        loop {
            let known =
                self.store.known_ids(&self.source.name, running.marked_at, &after, UNSEEN_SLICE).await?;
            let is_last = known.last().is_none();
            if let Some(last) = known.last() {
                after.clone_from(last);
            }
            running.checkpoint.walked = is_last;
            let unseen = known.iter().filter(|id| !running.seen_ids.contains(id));
            let missing_here = unseen.map(|id| key(&self.source, id)).collect();
            let compared = Compared { missing: missing_here, ..Compared::default() };
            self.record_page(running, compared, missing).await?;
            if is_last {
                return self.end_page(running).await;
            }
        }
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
