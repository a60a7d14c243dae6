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
    /// How far a request that comes late may be made up for, in microseconds.
    pub slack_us: i64,
    /// Requests that are granted at once, so that the limiter's row is not written for each of them.
    pub grant: i64,
}

/// A grant covers so much time at the most: what a process that dies has taken is soon over.
const GRANT_MS_MAX: i64 = 50;
/// What is lost by asking late is made up for, up to this much.
const SLACK_MS: i64 = 50;

impl RateLimit {
    /// `share` lies in `0.0..=1.0`. No window holds more than its share: a window that begins with a request, and with
    /// the slack used up, holds one request and those of a window as long as both.
    pub fn pace(self, share: f64) -> Pace {
        let allowed = f64::from(self.requests.max(1)) * share.clamp(0.001, 1.0);
        let after_the_first = (allowed - 1.0).max(allowed / 2.0);
        let window_us = (i64::from(self.window_ms) + SLACK_MS) * 1_000;
        let interval_us = (window_us as f64 / after_the_first).ceil() as i64;
        let grant = (GRANT_MS_MAX * 1_000 / interval_us).max(1);
        Pace { interval_us, slack_us: SLACK_MS * 1_000, grant }
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
    fn no_window_holds_more_than_its_share() {
        for (requests, share, grant) in [(1_000, 1.0, 4), (1_000, 0.5, 2), (100, 0.5, 1), (100, 0.01, 1)] {
            let pace = RateLimit { requests, window_ms: 10_000 }.pace(share);
            let most = (10_000_000 + pace.slack_us) / pace.interval_us + 1;
            let allowed = (f64::from(requests) * share) as i64;
            assert!(most <= allowed.max(2) && most >= allowed - 1, "{most} of {allowed}");
            assert_eq!(pace.grant, grant);
        }
    }

    #[test]
    fn the_pace_leaves_room_for_the_first_request_and_for_what_is_made_up() {
        let limit = RateLimit { requests: 1_000, window_ms: 10_000 };
        // 10.05 s, over the 999 requests that follow the first.
        let pace = limit.pace(1.0);
        assert_eq!(pace, Pace { interval_us: 10_061, slack_us: 50_000, grant: 4 });
        assert!((pace.per_second() - 99.39).abs() < 0.01, "{}", pace.per_second());
        // A share of one request per window: none follows, so the next one waits for two windows.
        assert_eq!(limit.pace(0.001), Pace { interval_us: 20_100_000, slack_us: 50_000, grant: 1 });
    }
}
