//! Times that a clock wrote which was ahead. Nothing is put off for longer than its policy allows, so whatever lies further
//! in the future was not meant: it is due now.

use crate::core::retry_policy::{DELIVERY, DELIVERY_PASSED_OVER, POSTPONED, RetryPolicy, UNREADABLE_ACCOUNT};
use crate::store::Store;
use crate::store::engine::driver::Access;
use crate::store::engine::error::StoreError;
use crate::store::runs::postponed::pause_ms_sql;

/// Clocks of one database, and of two processes at one file, may differ by so much, and a pause may be rounded up.
const SLACK_MS: u64 = 5_000;
/// No process takes a lease for longer.
const LEASE_MS_MAX: u64 = 600_000;
/// Nobody waits longer for a turn at a provider.
const TURN_MS_MAX: u64 = 300_000;
/// A provider may say `Retry-After` for so long.
const BLOCK_MS_MAX: u64 = 86_400_000;

impl Store {
    /// Pulls such times back; how many there were. `confirm_after_ms` is how far apart two reads of an account in doubt are.
    pub async fn pull_back_times(&self, confirm_after_ms: i64) -> Result<u64, StoreError> {
        let dialect = self.dialect();
        let clock = dialect.clock();
        let beyond = |column: &str, ms: &str| {
            format!("{column} > {}", dialect.clock_plus_ms(&format!("({ms} + {SLACK_MS})")))
        };
        // A delivery's pauses grow fourfold, so each count of attempts has its own.
        let deliveries = (0..=DELIVERY.attempts_max.unwrap_or(0)).map(|attempts| {
            let pause_ms = DELIVERY.delay_ms(attempts, 0.0).max(DELIVERY_PASSED_OVER.delay_ms_max);
            format!("(attempts = {attempts} AND {})", beyond("next_attempt_at", &pause_ms.to_string()))
        });
        let deliveries = deliveries.collect::<Vec<_>>().join(" OR ");
        let paused = |policy: &RetryPolicy| {
            format!("CASE WHEN failures = 0 THEN 0 ELSE {} END", pause_ms_sql(policy, "failures"))
        };
        let questions = format!(
            "(CASE WHEN {0} > {1} THEN {0} ELSE {1} END)",
            paused(&UNREADABLE_ACCOUNT),
            confirm_after_ms
        );
        let statements = [
            format!(
                "UPDATE headcount.delivery_states SET next_attempt_at = {clock}
                 WHERE status = 'pending' AND ({deliveries})"
            ),
            format!(
                "UPDATE headcount.confirmations SET due_at = {clock} WHERE {}",
                beyond("due_at", &questions)
            ),
            format!(
                "UPDATE headcount.postponed SET due_at = {clock} WHERE {}",
                beyond("due_at", &pause_ms_sql(&POSTPONED, "failures"))
            ),
            format!(
                "UPDATE headcount.limiters SET next_us = {0} WHERE next_us > {0} + {1}",
                dialect.clock_us(),
                TURN_MS_MAX * 1_000
            ),
            format!(
                "UPDATE headcount.limiters SET blocked_until = {clock} WHERE {}",
                beyond("blocked_until", &BLOCK_MS_MAX.to_string())
            ),
            format!("DELETE FROM headcount.leases WHERE {}", beyond("until", &LEASE_MS_MAX.to_string())),
            // The next run is due so long after the last one began.
            format!(
                "UPDATE headcount.runs SET started_at = {clock} WHERE status <> 'running' AND {}",
                beyond("started_at", "0")
            ),
        ];
        let mut tx = self.begin(Access::Write).await?;
        let mut pulled = 0;
        for sql in statements {
            pulled += tx.execute(&dialect.own(&sql), vec![]).await?;
        }
        tx.commit().await?;
        Ok(pulled)
    }
}
