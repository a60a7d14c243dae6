//! Bans that end by themselves: their sources said until when, and say nothing again when the time has come.

use super::call_error::CallError;
use super::calls::Calls;
use crate::core::decide::ban_over;
use crate::core::event::IdentityKey;
use crate::store::Task;

impl Calls {
    /// Ends the bans whose time is over; how many it were.
    pub async fn end_bans(&self, limit: i64) -> Result<usize, CallError> {
        let keys = self.store.bans_over(limit).await?;
        let mut ended = 0;
        for key in &keys {
            match self.end_ban(key).await {
                Ok(()) => {
                    self.store.forget_postponed(Task::EndBan, &key.source, &key.provider_id).await?;
                    ended += 1;
                }
                // Whoever holds it lets go.
                Err(CallError::Busy) => {}
                Err(CallError::Store(error)) if error.is_transient() => return Err(error.into()),
                // No account waits for another's failure.
                Err(error) => {
                    let reason = error.to_string();
                    self.store.postpone(Task::EndBan, &key.source, &key.provider_id, &reason).await?;
                }
            }
        }
        Ok(ended)
    }

    async fn end_ban(&self, key: &IdentityKey) -> Result<(), CallError> {
        let mut tx = self.store.reconciliation().await?;
        let account = self.lock(&mut tx, key).await?;
        let now = tx.now().await?;
        let called = ban_over(self.store.layout(), &account.known, now);
        let cause = serde_json::json!({"expiry": {"source": key.source, "provider_id": key.provider_id}});
        self.commit_one(tx, &account, called, cause.to_string()).await
    }
}
