//! The rate limit, and what was asked of it.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(10);

/// The requests of the last ten seconds.
pub(super) struct Window {
    /// Zero for none.
    limit: u32,
    /// Those that were let through; with the others, for the measure.
    passed: VecDeque<Instant>,
    asked: VecDeque<Instant>,
    asked_max: usize,
    asked_in_all: u64,
}

impl Window {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, passed: VecDeque::new(), asked: VecDeque::new(), asked_max: 0, asked_in_all: 0 }
    }

    /// `Some` with the seconds until there is room.
    pub(super) fn ask(&mut self, now: Instant) -> Option<u64> {
        for requests in [&mut self.passed, &mut self.asked] {
            while requests.front().is_some_and(|first| now.duration_since(*first) >= WINDOW) {
                requests.pop_front();
            }
        }
        self.asked.push_back(now);
        self.asked_max = self.asked_max.max(self.asked.len());
        self.asked_in_all += 1;
        if self.limit > 0 && self.passed.len() >= self.limit as usize {
            let first = self.passed.front().copied().unwrap_or(now);
            let left = WINDOW.saturating_sub(now.duration_since(first));
            return Some(left.as_secs() + 1);
        }
        self.passed.push_back(now);
        None
    }

    /// The most requests that ten seconds have held, refused ones included, and how many there were in all.
    pub(super) fn measured(&self) -> (usize, u64) {
        (self.asked_max, self.asked_in_all)
    }
}
