//! A batch that fails because of one delivery, gone through one by one: the others do not wait for it.

use super::deliveries::Deliveries;
use super::finished::{DeliveriesOutcome, failed, put_off, stops_one};
use super::partial_write::ConstraintCheck;
use crate::core::retry_policy::DELIVERY_LOCKED;
use crate::store::{Claimed, Finished, StoreError};

/// How long one delivery waits for a lock: its batch has waited for it already.
const LOCK_WAIT_MS: u32 = 20;

impl Deliveries {
    /// One by one, past what somebody's long transaction holds: an account, or a value of a unique column.
    pub(super) async fn apply_around(&self, count: usize) -> Result<DeliveriesOutcome, StoreError> {
        let mut all = DeliveriesOutcome::default();
        for _ in 0..count {
            match self.apply(1, ConstraintCheck::OnWrite, LOCK_WAIT_MS).await {
                Ok(DeliveriesOutcome { claimed: 0, .. }) => break,
                Ok(applied) => all.add(applied),
                Err((StoreError::LockTimeout(_), claimed)) => {
                    all.claimed += claimed.len();
                    self.put_off(&claimed).await?;
                }
                Err((error, claimed)) if stops_one(&error, &claimed) => all.add(self.apply_one().await?),
                Err((error, _)) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Another transaction holds what they need: they come later, and the others need not wait for them.
    async fn put_off(&self, claimed: &[Claimed]) -> Result<(), StoreError> {
        let mut tx = self.store.reconciliation().await?;
        let put_off: Vec<Finished> =
            claimed.iter().map(|claimed| put_off(*claimed, &DELIVERY_LOCKED)).collect();
        tx.finish(&put_off).await?;
        tx.commit(&[]).await
    }

    /// One delivery. Where it cannot be applied, it has failed once more, with the reason.
    pub(super) async fn apply_one(&self) -> Result<DeliveriesOutcome, StoreError> {
        let mut result = self.apply(1, ConstraintCheck::BeforeCommit, LOCK_WAIT_MS).await;
        if matches!(&result, Err((error, _)) if error.refuses_the_row()) {
            result = self.apply(1, ConstraintCheck::SkipUserRow, LOCK_WAIT_MS).await;
        }
        match result {
            Err((StoreError::LockTimeout(_), claimed)) => {
                self.put_off(&claimed).await?;
                Ok(DeliveriesOutcome { claimed: claimed.len(), ..DeliveriesOutcome::default() })
            }
            Err((error, claimed)) if stops_one(&error, &claimed) => {
                let reason = error.to_string();
                let mut tx = self.store.reconciliation().await?;
                let finished: Vec<Finished> = claimed
                    .iter()
                    .map(|claimed| failed(claimed.seq, claimed.attempts + 1, &reason, self.clock.random()))
                    .collect();
                tx.finish(&finished).await?;
                tx.commit(&[]).await?;
                Ok(DeliveriesOutcome { claimed: 1, finished: 1, retried: 1, ..DeliveriesOutcome::default() })
            }
            result => result.map_err(|(error, _)| error),
        }
    }
}
