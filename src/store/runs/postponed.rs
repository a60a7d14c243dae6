//! What could not be done for one user, and when it is tried again: so that it neither fills every look at what is due nor
//! is tried again at once.

use crate::core::retry_policy::{POSTPONED, RetryPolicy};
use crate::store::Store;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;

/// Something that is done for users one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Erase,
    Announce,
    EndBan,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Task::Erase => "erase",
            Task::Announce => "announce",
            Task::EndBan => "end_ban",
        }
    }
}

impl Store {
    /// It failed for this account once more: it comes again after a pause that doubles.
    pub async fn postpone(
        &self,
        task: Task,
        source: &str,
        provider_id: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        let due = |failures: &str| self.dialect().clock_plus_ms(&pause_ms_sql(&POSTPONED, failures));
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.postponed (task, source, provider_id, failures, due_at, last_error)
             VALUES ($1, $2, $3, 1, {}, $4)
             ON CONFLICT (task, source, provider_id) DO UPDATE SET failures = headcount.postponed.failures + 1,
                 due_at = {}, last_error = excluded.last_error",
            due("1"),
            due("(headcount.postponed.failures + 1)"),
        ));
        let args = [task.name(), source, provider_id, reason].map(Arg::text).to_vec();
        self.write(&sql, args).await.map(|_| ())
    }

    /// It is done, or nothing is left to do.
    pub async fn forget_postponed(
        &self,
        task: Task,
        source: &str,
        provider_id: &str,
    ) -> Result<(), StoreError> {
        let is_it = "task = $1 AND source = $2 AND provider_id = $3";
        let args = || [task.name(), source, provider_id].map(Arg::text).to_vec();
        let there = self.dialect().own(&format!("SELECT task FROM headcount.postponed WHERE {is_it}"));
        if self.read(&there, args()).await?.is_empty() {
            return Ok(());
        }
        let forget = self.dialect().own(&format!("DELETE FROM headcount.postponed WHERE {is_it}"));
        self.write(&forget, args()).await.map(|_| ())
    }

    /// The condition on an account, called `alias` in the statement, that nothing keeps the task from being tried now.
    pub(in crate::store) fn is_due(&self, task: Task, alias: &str) -> String {
        format!(
            "NOT EXISTS (SELECT 1 FROM headcount.postponed p WHERE p.task = '{}' AND p.source = {alias}.source
                 AND p.provider_id = {alias}.provider_id AND p.due_at > {})",
            task.name(),
            self.dialect().clock(),
        )
    }
}

/// The pause of a policy that doubles, in milliseconds, after the number of failures in this expression.
pub(in crate::store) fn pause_ms_sql(policy: &RetryPolicy, failures: &str) -> String {
    // Far beyond that the policy's limit is reached, and a number would overflow.
    const STEPS_MAX: u32 = 30;
    let (first, max) = (policy.first_delay_ms, policy.delay_ms_max);
    let steps = format!("CASE WHEN {failures} > {STEPS_MAX} THEN {STEPS_MAX} ELSE {failures} - 1 END");
    let grown = format!("({first} * (CAST(1 AS bigint) << ({steps})))");
    format!("(CASE WHEN {grown} > {max} THEN {max} ELSE {grown} END)")
}
