//! One account, by its id.

use super::compare::key;
use super::running::Running;
use super::{Report, Resync, ResyncError};
use crate::core::words::RunMode;
use crate::store::{Ending, NewConfirmation};

impl Resync {
    /// Reads one account until it is settled. Where the source has it no more, the run is held: a single read deletes
    /// nobody.
    pub async fn user(&self, provider_id: &str) -> Result<Report, ResyncError> {
        let (mut running, lease) = self.begin(RunMode::User, "command").await?;
        let ending = self.settle_user(&mut running, provider_id).await;
        let report = self.end(running, ending).await;
        lease.release().await?;
        report
    }

    async fn settle_user(&self, running: &mut Running, provider_id: &str) -> Result<Ending, ResyncError> {
        self.check_instance().await?;
        let key = key(&self.source, provider_id);
        let question = NewConfirmation::asked(key.clone(), Some(running.run.id.clone()));
        let mut tx = self.store.reconciliation().await?;
        tx.confirm(&[question]).await?;
        tx.commit(&[]).await?;
        self.confirm(running).await?;
        let counts = &running.counts;
        let is_known =
            !self.store.known_of(&self.source.name, std::slice::from_ref(&key.provider_id)).await?.is_empty();
        if !is_known && counts.unreadable + counts.refused == 0 {
            return Err(ResyncError::Unknown(key.provider_id));
        }
        if self.store.open_confirmations(&running.run.id).await?.gone > 0 {
            running.counts.held_deletes = self.store.hold(&running.run.id, &running.run.holder).await?;
            let run_id = &running.run.id;
            let error = format!(
                "the source has no such account any more; a single read deletes nobody. The next full run will, or \
                 `headcount runs approve {run_id}`"
            );
            return Ok(Ending { status: "held", error: Some(error) });
        }
        running.counts.seen = 1;
        self.sweep(running).await
    }
}
