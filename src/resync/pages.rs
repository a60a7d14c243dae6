//! Pages of a walk as they are applied: two beside each other where the database takes two writers, committed in their
//! order.

use super::running::{AbortOnDrop, Running, UnderWay};
use super::{Resync, ResyncError};
use crate::core::event::IdentityKey;
use crate::core::read::Reading;
use crate::reconcile::PriorCounts;
use tokio::sync::oneshot;

impl Resync {
    /// Has a page applied; its transaction commits behind that of the page before it.
    pub(super) async fn begin_page(
        &self,
        running: &mut Running,
        differing: Vec<(IdentityKey, Reading)>,
        missing: Vec<IdentityKey>,
    ) -> Result<(), ResyncError> {
        if self.store.appliers() == 1 {
            self.end_page(running).await?;
        }
        let mut earlier = running.under_way.take();
        let counted = earlier.as_mut().and_then(|earlier| earlier.counted.take());
        let before = PriorCounts::after(running.counts, counted);
        let (reads, context, cursor) = (self.reads.clone(), running.context(), running.cursor());
        let (notify, counted) = oneshot::channel();
        let applied = AbortOnDrop(tokio::spawn(async move {
            let applied = reads.apply(&differing, &missing, &context, &cursor, before).await?;
            // Nobody listens where no page follows.
            let _ = notify.send(applied.counts);
            Ok(applied)
        }));
        running.under_way = Some(UnderWay { applied, counted: Some(counted) });
        match earlier {
            Some(earlier) => running.note_page(earlier).await,
            None => Ok(()),
        }
    }

    /// Waits for the page that is under way.
    pub(super) async fn end_page(&self, running: &mut Running) -> Result<(), ResyncError> {
        match running.under_way.take() {
            Some(page) => running.note_page(page).await,
            None => Ok(()),
        }
    }
}

impl Running {
    async fn note_page(&mut self, mut page: UnderWay) -> Result<(), ResyncError> {
        let applied = (&mut page.applied.0).await.map_err(|_| ResyncError::Stopped)??;
        self.counts.add(applied.counts);
        if self.is_dry() {
            // No second attempt will be made.
            self.counts.refused += applied.refusals.len() as u64;
        }
        self.note_drift(applied.drift);
        Ok(())
    }
}
