//! Trying again while another transaction holds what is wanted: the one loop of that kind.

use super::call_error::CallError;
use crate::core::retry_policy::RetryPolicy;
use std::time::Duration;

/// Attempts of one thing, with the policy's delay between them.
pub(super) struct Attempts {
    policy: &'static RetryPolicy,
    made: u32,
}

impl Attempts {
    pub(super) fn of(policy: &'static RetryPolicy) -> Self {
        Self { policy, made: 0 }
    }

    /// Waits until it is time for the next attempt; `false` where none is left. The first one comes at once.
    pub(super) async fn next(&mut self) -> bool {
        if self.policy.is_spent(self.made) {
            return false;
        }
        if self.made > 0 {
            // Policies of locks have no jitter: whoever holds one does not come in crowds.
            tokio::time::sleep(Duration::from_millis(self.policy.delay_ms(self.made, 0.0))).await;
        }
        self.made += 1;
        true
    }
}

/// Attempts until one comes to anything but [`CallError::Busy`]; that, where none does.
pub(super) async fn while_busy<T, F>(
    policy: &'static RetryPolicy,
    attempt: impl Fn() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut attempts = Attempts::of(policy);
    while attempts.next().await {
        match attempt().await {
            Err(CallError::Busy) => {}
            result => return result,
        }
    }
    Err(CallError::Busy)
}
