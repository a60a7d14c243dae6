//! Waiting between attempts of a process: the only place that names `backoff`.
//!
//! `backoff` is unmaintained (RUSTSEC-2025-0012; `deny.toml` says so). Its recommended successor is `backon`; to change
//! over is to change this file. Delays that outlive the process are `core::attempts`, without it.

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Growing, jittered delays without an end.
pub struct Retry(ExponentialBackoff);

impl Retry {
    pub fn new() -> Self {
        Self(ExponentialBackoff {
            initial_interval: FIRST_DELAY,
            current_interval: FIRST_DELAY,
            max_interval: DELAY_MAX,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(DELAY_MAX)
    }

    /// After a success: the next delay is a short one again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}
