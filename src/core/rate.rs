//! How fast a provider may be asked.

/// What a provider publishes: so many requests in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub requests: u32,
    pub window_ms: u32,
}

/// A [`RateLimit`] with the share of it that headcount may use, as the limiter needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one request to the next, in microseconds.
    pub interval_us: i64,
    /// Requests that are granted at once, so that the limiter's row is not written for each of them.
    pub grant: i64,
}

/// A grant covers so much time at the most: what a process that dies has taken is soon over.
const GRANT_MS_MAX: i64 = 50;

impl RateLimit {
    /// `share` lies in `0.0..=1.0`. The pace is even: a window never holds more than its share.
    pub fn pace(self, share: f64) -> Pace {
        let share = share.clamp(0.001, 1.0);
        let per_request = f64::from(self.window_ms) * 1_000.0 / (f64::from(self.requests.max(1)) * share);
        let interval_us = per_request.ceil() as i64;
        Pace { interval_us, grant: (GRANT_MS_MAX * 1_000 / interval_us).max(1) }
    }
}

impl Pace {
    /// Requests per second.
    pub fn per_second(self) -> f64 {
        1e6 / self.interval_us as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_thousand_in_ten_seconds_is_one_every_twenty_milliseconds() {
        let pace = RateLimit { requests: 1_000, window_ms: 10_000 }.pace(0.5);
        assert_eq!(pace, Pace { interval_us: 20_000, grant: 2 });
        let development = RateLimit { requests: 100, window_ms: 10_000 }.pace(0.5);
        assert_eq!(development, Pace { interval_us: 200_000, grant: 1 });
    }
}
