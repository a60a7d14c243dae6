//! The newest changes first, until what is known: a cheap supplement to full runs. It concludes nothing from absence.

use super::compare::{Compared, compare_ids};
use super::running::Running;
use super::{Report, Resync, ResyncError};
use crate::core::timestamp::Timestamp;
use crate::core::words::RunMode;
use crate::source::directory::{Entry, Newest};
use crate::store::{Counts, Ending};
use std::collections::HashSet;

/// A poll that finds nothing new costs no more than this.
const FIRST_PAGE: usize = 20;
/// Accounts that are asked for at once, in the order of changes.
const PAGE: usize = 500;

/// What a poll has found.
#[derive(Clone, Debug)]
pub enum Poll {
    /// Nothing: no run was written down.
    Quiet,
    Found(Box<Report>),
}

impl Resync {
    /// One incremental run.
    pub async fn incremental(&self, cause: &str) -> Result<Report, ResyncError> {
        let (mut running, lease) = self.begin(RunMode::Incremental, cause).await?;
        let ending = match self.gate.directory().newest() {
            Newest::ByUpdate { page, overlap } => {
                self.walk_newest(&mut running, page, PAGE, Some(overlap)).await
            }
            Newest::ByCreation { page, at_once } => self.walk_newest(&mut running, page, at_once, None).await,
            Newest::Events(log) => self.read_events(&mut running, log).await,
        };
        let report = self.end(running, ending).await;
        lease.release().await?;
        report
    }

    /// An incremental run where there is something new.
    ///
    /// None while new users wait for a person to decide about: it would meet the same ones again.
    pub async fn poll(&self) -> Result<Poll, ResyncError> {
        let held = self.store.runs(&self.source.name, "held", 1).await?;
        if held.iter().any(|run| run.counts.held_creates > 0) {
            return Ok(Poll::Quiet);
        }
        if self.is_retired().await? || self.is_quiet().await? {
            return Ok(Poll::Quiet);
        }
        self.incremental("poll").await.map(|report| Poll::Found(Box::new(report)))
    }

    /// Whether a single look finds nothing new.
    async fn is_quiet(&self) -> Result<bool, ResyncError> {
        let watermark = self.store.source(&self.source.name).await?.watermark;
        let (page, limit, by_update) = match self.gate.directory().newest() {
            // Within the overlap there is always somebody: what differs is looked for by comparing.
            Newest::ByUpdate { page, overlap: 0 } => (page, FIRST_PAGE, true),
            Newest::ByUpdate { page, .. } => (page, PAGE, false),
            Newest::ByCreation { page, at_once } => (page, at_once, false),
            Newest::Events(log) => return self.no_new_events(log, watermark).await,
        };
        let Some(watermark) = watermark else { return Ok(false) };
        let (entries, marked_at) = self.newest(page, 0, limit).await?;
        let compared = compare_ids(&self.store, &self.source, &entries, marked_at).await?;
        let is_reached = !by_update || is_reached(&entries, watermark);
        Ok(compared.differing.is_empty() && is_reached)
    }

    /// Walks by the provider's update times down to the watermark, the highest version that the last such walk has
    /// seen; without one, until a page says nothing new. Rows that move to the front meanwhile are met twice.
    async fn walk_newest(
        &self,
        running: &mut Running,
        page: fn(usize, usize) -> String,
        size: usize,
        by_update_within: Option<i64>,
    ) -> Result<Ending, ResyncError> {
        self.check_instance().await?;
        self.guard_creation(running).await?;
        let watermark = self.store.source(&self.source.name).await?.watermark;
        let reach = watermark.zip(by_update_within).map(|(watermark, overlap)| watermark - overlap);
        let mut seen = HashSet::new();
        let (mut offset, mut highest) = (0, None);
        loop {
            self.check_stopped()?;
            let (entries, marked_at) = self.newest(page, offset, size).await?;
            let is_last = entries.len() < size;
            offset += entries.len();
            let fresh: Vec<Entry> = entries
                .into_iter()
                .filter(|entry| entry.provider_id.as_ref().is_none_or(|id| seen.insert(id.clone())))
                .collect();
            let compared = compare_ids(&self.store, &self.source, &fresh, marked_at).await?;
            highest = highest.max(compared.version_max);
            let quiet = compared.differing.is_empty();
            running.counts.pages += 1;
            self.take_newest(running, compared).await?;
            let known = match reach {
                Some(reach) => is_reached(&fresh, reach),
                None => quiet,
            };
            if known || is_last {
                break;
            }
        }
        if let Some(highest) = highest {
            self.store.raise_watermark(&self.source.name, highest).await?;
        }
        Ok(running.ended())
    }

    async fn take_newest(&self, running: &mut Running, compared: Compared) -> Result<(), ResyncError> {
        running.counts.add(Counts {
            seen: compared.seen,
            unchanged: compared.unchanged,
            ..Counts::default()
        });
        let odd = self.store.without_erased(compared.odd).await?;
        for odd in &odd {
            running.note_odd(odd);
        }
        self.check_creation(running, compared.unseen).await?;
        if !odd.is_empty() {
            self.store.accept(&odd).await?;
        }
        self.count_requests(running);
        if compared.differing.is_empty() {
            return Ok(());
        }
        let context = running.context();
        let applied = self.reads.apply(&compared.differing, &[], &context, "", running.counts).await?;
        running.counts.add(applied.counts);
        running.note_drift(applied.drift);
        Ok(())
    }

    async fn newest(
        &self,
        page: fn(usize, usize) -> String,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<Entry>, Timestamp), ResyncError> {
        let directory = self.gate.directory();
        let (listed, marked_at) = self
            .gate
            .ask(&page(offset, limit), |answer| {
                directory.read_page(&answer.body, self.gate.layout(), self.gate.keep())
            })
            .await?;
        Ok((listed.map(|listed| listed.entries).unwrap_or_default(), marked_at))
    }
}

/// Everything from here on was changed before the watermark.
fn is_reached(entries: &[Entry], watermark: i64) -> bool {
    entries
        .iter()
        .filter_map(|entry| entry.snapshot.as_ref().ok())
        .any(|snapshot| snapshot.version < watermark)
        || entries.is_empty()
}
