//! A provider's own events, read through its API: the deliveries that its webhooks send, under the same ids. So they go
//! the way of deliveries, and what the inbox has already is nothing new.

use super::running::Running;
use super::{Phase, Resync, ResyncError};
use crate::core::timestamp::Timestamp;
use crate::intake::logged;
use crate::live::Live;
use crate::reconcile::Deliveries;
use crate::source::directory::{EventLog, Logged};
use crate::store::{Acceptance, Counts, Ending, NewDelivery};

/// Events appear late, behind younger ones: so far back what was read is read again.
const OVERLAP_MS: i64 = 120_000;
/// Where nothing was ever read: 24 hours. What is older is a full run's.
const FIRST_LOOK_MS: i64 = 86_400_000;
/// Events that one transaction applies.
const BATCH: i64 = 200;

impl Resync {
    /// Whether the events since the last look are all in the inbox.
    pub(super) async fn no_new_events(
        &self,
        log: &dyn EventLog,
        watermark: Option<i64>,
    ) -> Result<bool, ResyncError> {
        let Some(watermark) = watermark else { return Ok(false) };
        let since = Timestamp::clamped(watermark - OVERLAP_MS);
        let (page, marked_at) = self.events(log, since, None).await?;
        let new = self.new_among(&page, marked_at).await?;
        Ok(new.is_empty() && page.after.is_none())
    }

    /// Puts the events since the last look into the inbox, and has them applied.
    pub(super) async fn read_events(
        &self,
        running: &mut Running,
        log: &dyn EventLog,
    ) -> Result<Ending, ResyncError> {
        self.check_instance().await?;
        self.guard_creation(running).await?;
        let watermark = self.store.source(&self.source.name).await?.watermark;
        let since = match watermark {
            Some(watermark) => watermark - OVERLAP_MS,
            None => running.marked_at.ms() - FIRST_LOOK_MS,
        };
        let (mut after, mut highest) = (None, None);
        loop {
            self.check_stopped()?;
            let (page, marked_at) = self.events(log, Timestamp::clamped(since), after.as_deref()).await?;
            running.counts.pages += 1;
            running.counts.seen += page.events.len() as u64;
            highest = page.events.iter().filter_map(|event| event.created_at).max().max(highest);
            let new = self.new_among(&page, marked_at).await?;
            running.counts.unchanged += (page.events.len() - new.len()) as u64;
            self.check_creation(running, count_of(&new, "user.created")).await?;
            self.apply_events(running, new).await?;
            self.count_requests(running);
            self.report(Phase::Walking, running.counts.seen, running.counts.seen);
            match page.after {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                Some(_) => return Err(ResyncError::Walk("its events repeat")),
                None => break,
            }
        }
        // Nothing but events moves it on: their clock is the provider's.
        let reached = highest.map_or(since, Timestamp::ms);
        self.store.raise_watermark(&self.source.name, reached).await?;
        Ok(running.ended())
    }

    async fn events(
        &self,
        log: &dyn EventLog,
        since: Timestamp,
        after: Option<&str>,
    ) -> Result<(Logged, Timestamp), ResyncError> {
        let (page, marked_at) =
            self.gate.ask(&log.page(since, after), |answer| log.read(&answer.body)).await?;
        Ok((page.unwrap_or(Logged { events: Vec::new(), after: None }), marked_at))
    }

    /// Those of the events that the inbox has not.
    async fn new_among(&self, page: &Logged, read_at: Timestamp) -> Result<Vec<NewDelivery>, ResyncError> {
        let events = page.events.iter().filter_map(|event| logged(&self.source, &event.body, read_at));
        let mut events: Vec<NewDelivery> = events.collect();
        let ids: Vec<String> = events.iter().map(|event| event.message_id.clone()).collect();
        let known = self.store.statuses(&self.source.name, &ids).await?;
        events.retain(|event| known.iter().all(|(id, ..)| *id != event.message_id));
        Ok(events)
    }

    async fn apply_events(&self, running: &mut Running, events: Vec<NewDelivery>) -> Result<(), ResyncError> {
        if events.is_empty() {
            return Ok(());
        }
        let accepted = self.store.accept(&events).await?;
        let new: Vec<NewDelivery> = events
            .into_iter()
            .zip(accepted)
            .filter(|(_, acceptance)| *acceptance == Acceptance::Accepted)
            .map(|(event, _)| event)
            .collect();
        let deliveries = Deliveries {
            store: self.store.clone(),
            sources: self.reads.sources.clone(),
            clock: self.reads.clock.clone(),
            delete_limit: self.settings.delete_limit,
            batch_max: BATCH,
            unread: Live::default(),
        };
        let ids: Vec<String> = new.iter().map(|event| event.message_id.clone()).collect();
        let statuses = deliveries.apply_until_done(&self.source.name, &ids).await?;
        let ended = |event: &NewDelivery, wanted: &str| {
            statuses.iter().any(|(id, status)| *id == event.message_id && status == wanted)
        };
        let applied: Vec<NewDelivery> = new.iter().filter(|event| ended(event, "applied")).cloned().collect();
        running.counts.add(Counts {
            created: count_of(&applied, "user.created"),
            updated: count_of(&applied, "user.updated"),
            deleted: count_of(&applied, "user.deleted"),
            unchanged: new.iter().filter(|event| ended(event, "stale")).count() as u64,
            unreadable: new.iter().filter(|event| ended(event, "dead")).count() as u64,
            held_deletes: new.iter().filter(|event| ended(event, "held")).count() as u64,
            ..Counts::default()
        });
        Ok(())
    }
}

fn count_of(events: &[NewDelivery], event_type: &str) -> u64 {
    events.iter().filter(|event| event.event_type == event_type).count() as u64
}
