//! Changing the schema beside an application that goes on.

use crate::core::retry_policy::MIGRATION_LOCK;
use crate::store::Store;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::{Access, Tx};
use crate::store::engine::error::StoreError;
use std::time::Duration;
use tracing::warn;

impl Store {
    /// A transaction that changes the schema, and waits for a lock for a moment only: behind it everybody else waits, those
    /// who only read included.
    pub(in crate::store) async fn schema_change(&self) -> Result<Box<dyn Tx>, StoreError> {
        let mut tx = self.begin(Access::Write).await?;
        if self.dialect() == Dialect::Postgres {
            tx.script("SET LOCAL lock_timeout = 500").await?;
        }
        Ok(tx)
    }
}

/// How long a change of the schema has waited for others.
#[derive(Default)]
pub(in crate::store) struct LockWait {
    failures: u32,
}

impl LockWait {
    /// Until the next attempt. An error where there is none any more.
    pub async fn wait(&mut self, reason: String) -> Result<(), StoreError> {
        self.failures += 1;
        let Some(delay_ms) = MIGRATION_LOCK.next_delay_ms(self.failures, 0.0) else {
            return Err(StoreError::LockTimeout(format!(
                "the schema could not be changed, for another transaction used a table all the time ({reason}); \
                 pg_stat_activity shows which one"
            )));
        };
        if self.failures == 1 {
            warn!(
                "the schema is changed as soon as no other transaction uses the table ({reason}); each attempt lasts half a \
                 second, so that nobody waits behind it"
            );
        }
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        Ok(())
    }
}
