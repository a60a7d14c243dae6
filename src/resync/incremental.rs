//! The newest changes first, until what is known: a cheap supplement to full runs. It deletes nobody.

use super::compare::{Compared, compare_ids};
use super::full::Running;
use super::{Report, Resync, ResyncError};
use crate::core::read::FUTURE_MS_MAX;
use crate::core::timestamp::Timestamp;
use crate::source::directory::Entry;
use crate::store::{Counts, Ending, Mode};
use std::collections::HashSet;

/// A poll that finds nothing new costs no more than this.
const FIRST_PAGE: usize = 20;

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
        let (mut running, lease) = self.begin(Mode::Incremental, cause).await?;
        let ending = self.walk_newest(&mut running).await;
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
        let watermark = self.store.source(&self.source.name).await?.watermark;
        if let Some(watermark) = watermark {
            let (entries, marked_at) = self.newest(0, FIRST_PAGE).await?;
            let compared = compare_ids(&self.store, &self.source, &entries, marked_at).await?;
            if compared.differing.is_empty() && is_reached(&entries, watermark) {
                return Ok(Poll::Quiet);
            }
        }
        self.incremental("poll").await.map(|report| Poll::Found(Box::new(report)))
    }

    /// Walks by the provider's update times down to the watermark, the highest version that the last such walk has
    /// seen; without one, until a page says nothing new. Rows that move to the front meanwhile are met twice.
    async fn walk_newest(&self, running: &mut Running) -> Result<Ending, ResyncError> {
        self.check_instance().await?;
        self.guard_creation(running).await?;
        let watermark = self.store.source(&self.source.name).await?.watermark;
        let size = self.gate.directory().page_size();
        let mut seen = HashSet::new();
        let (mut offset, mut highest) = (0, None);
        loop {
            self.check_stopped()?;
            let (entries, marked_at) = self.newest(offset, size).await?;
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
            let known = match watermark {
                Some(watermark) => is_reached(&fresh, watermark),
                None => quiet,
            };
            if known || is_last {
                break;
            }
        }
        // One from next week would hide everything until then.
        let latest = running.marked_at.ms() + FUTURE_MS_MAX;
        if let Some(highest) = highest.filter(|highest| *highest <= latest) {
            self.store.raise_watermark(&self.source.name, highest).await?;
        }
        Ok(Ending { status: "succeeded", error: None })
    }

    async fn take_newest(&self, running: &mut Running, compared: Compared) -> Result<(), ResyncError> {
        running.counts.add(Counts {
            seen: compared.seen,
            unchanged: compared.unchanged,
            dead: compared.odd.len() as u64,
            ..Counts::default()
        });
        self.check_creation(running, compared.unseen).await?;
        self.store.accept_odd(&compared.odd).await?;
        self.count_requests(running);
        if compared.differing.is_empty() {
            return Ok(());
        }
        let errand = running.errand();
        let applied = self.reads.apply(&compared.differing, &[], &errand, "", running.counts).await?;
        running.counts.add(applied.counts);
        running.note_drift(applied.drift);
        Ok(())
    }

    async fn newest(&self, offset: usize, limit: usize) -> Result<(Vec<Entry>, Timestamp), ResyncError> {
        let directory = self.gate.directory();
        let path = directory.newest(offset, limit);
        let (entries, marked_at) =
            self.gate.ask(&path, |body| directory.read_page(body, self.gate.layout())).await?;
        Ok((entries.unwrap_or_default(), marked_at))
    }
}

/// Everything from here on was changed before the watermark.
fn is_reached(entries: &[Entry], watermark: i64) -> bool {
    entries.iter().filter_map(|entry| entry.said.as_ref().ok()).any(|snapshot| snapshot.version < watermark)
        || entries.is_empty()
}
