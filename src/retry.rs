//! Waiting between attempts of a process: the only place that names the library `backoff`.
//!
//! `backoff` is unmaintained (RUSTSEC-2025-0012; `deny.toml` says so). Its recommended successor is `backon`; to change
//! over is to change this file. The numbers are `core::retry_policy`'s. Chance comes from the caller's clock and not from
//! the library, so that delays can be repeated.

use crate::clock::Clock;
use crate::core::retry_policy::{Jitter, RetryPolicy};
use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use std::sync::Arc;
use std::time::Duration;

/// Delays that grow until an attempt succeeds. It does not count attempts: whoever gives up does.
pub struct Backoff {
    delays: ExponentialBackoff,
    jitter: Jitter,
    clock: Arc<dyn Clock>,
}

impl Backoff {
    /// The delays of this policy, with jitter from `clock`.
    pub fn new(policy: &RetryPolicy, clock: &Arc<dyn Clock>) -> Self {
        let first = Duration::from_millis(policy.first_delay_ms);
        let delays = ExponentialBackoff {
            initial_interval: first,
            current_interval: first,
            multiplier: policy.factor,
            max_interval: Duration::from_millis(policy.delay_ms_max),
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { delays, jitter: policy.jitter, clock: clock.clone() }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.delays.next_backoff().unwrap_or(self.delays.max_interval);
        delay.mul_f64(self.jitter.factor(self.clock.random()))
    }

    /// After a success: the next delay is a short one again.
    pub fn reset(&mut self) {
        self.delays.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededClock;
    use crate::core::retry_policy::PROCESS;
    use crate::core::timestamp::Timestamp;

    fn delays_of(seed: u64) -> Vec<Duration> {
        let clock: Arc<dyn Clock> = Arc::new(SeededClock::new(seed, Timestamp::clamped(0)));
        let mut backoff = Backoff::new(&PROCESS, &clock);
        (0..20).map(|_| backoff.next_delay()).collect()
    }

    #[test]
    fn delays_grow_within_the_jitter_and_a_seed_repeats_them() {
        let delays = delays_of(7);
        for (failures, delay) in (1..).zip(&delays) {
            let (shortest, longest) = (PROCESS.delay_ms(failures, 0.0), PROCESS.delay_ms(failures, 1.0));
            // The table rounds up to a millisecond.
            assert!(
                delay.as_millis() as u64 + 1 >= shortest && delay.as_millis() as u64 <= longest,
                "{delay:?}"
            );
        }
        assert_eq!(delays, delays_of(7));
        assert_ne!(delays, delays_of(8));
    }

    #[test]
    fn a_success_makes_delays_short_again() {
        let clock: Arc<dyn Clock> = Arc::new(SeededClock::new(1, Timestamp::clamped(0)));
        let mut backoff = Backoff::new(&PROCESS, &clock);
        for _ in 0..30 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(150));
    }
}
