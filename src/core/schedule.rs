//! When the next full resync is due.

use super::retry_policy::FULL_RUN;
use super::timestamp::Timestamp;
use chrono::{DateTime, Utc};
use croner::Cron;
use std::str::FromStr;

/// `HEADCOUNT_RESYNC_SCHEDULE`.
#[derive(Clone, Debug)]
pub enum Schedule {
    Off,
    /// From one start to the next; up to a tenth is added, so that many installations do not ask at once.
    EveryMs(i64),
    /// In UTC.
    Cron(Box<Cron>),
}

/// What is known of the latest full runs of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When the last run began that came to an end: succeeded, held or rejected.
    pub settled_at: Option<Timestamp>,
    /// When the last run after that was given up, and how many there have been.
    pub failed_at: Option<Timestamp>,
    pub failures: u32,
}

impl Schedule {
    pub fn cron(expression: &str) -> Option<Self> {
        Cron::from_str(expression).ok().map(|cron| Schedule::Cron(Box::new(cron)))
    }

    /// When the next run is due: in the past where a slot was missed. `None` where there will be none.
    ///
    /// `jitter` lies in `0.0..1.0` and should stay the same while the history does.
    pub fn due(&self, history: &History, jitter: f64) -> Option<Timestamp> {
        let slot = match (self, history.settled_at) {
            (Schedule::Off, _) => return None,
            (_, None) => Timestamp::clamped(0),
            (Schedule::EveryMs(every), Some(last)) => {
                Timestamp::clamped(last.ms() + every + (*every as f64 * jitter / 10.0) as i64)
            }
            (Schedule::Cron(cron), Some(last)) => {
                let after = DateTime::<Utc>::from_timestamp_millis(last.ms())?;
                let next = cron.find_next_occurrence(&after, false).ok()?;
                Timestamp::from_ms(next.timestamp_millis())?
            }
        };
        let Some(failed_at) = history.failed_at else { return Some(slot) };
        let delay = i64::try_from(FULL_RUN.delay_ms(history.failures, 0.0)).unwrap_or(i64::MAX);
        let latest = match self {
            Schedule::EveryMs(every) => *every,
            _ => i64::MAX,
        };
        let retry = Timestamp::clamped(failed_at.ms() + delay.min(latest));
        Some(slot.max(retry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn settled(text: &str) -> History {
        History { settled_at: Some(at(text)), ..History::default() }
    }

    #[test]
    fn the_first_run_is_due_at_once_and_the_next_after_the_interval() {
        let six_hours = Schedule::EveryMs(6 * 3_600_000);
        assert_eq!(six_hours.due(&History::default(), 0.5), Some(Timestamp::clamped(0)));
        let last = settled("2026-01-01T00:00:00Z");
        assert_eq!(six_hours.due(&last, 0.0), Some(at("2026-01-01T06:00:00Z")));
        assert_eq!(six_hours.due(&last, 0.5), Some(at("2026-01-01T06:18:00Z")));
        assert_eq!(Schedule::Off.due(&last, 0.0), None);
    }

    #[test]
    fn cron_expressions_are_in_utc_and_a_missed_slot_lies_in_the_past() {
        let nightly = Schedule::cron("30 3 * * *").unwrap();
        assert_eq!(nightly.due(&settled("2026-01-01T03:30:01Z"), 0.9), Some(at("2026-01-02T03:30:00Z")));
        assert!(Schedule::cron("at night").is_none());
    }

    #[test]
    fn after_a_failure_the_next_attempt_comes_soon_and_then_more_slowly() {
        let every = Schedule::EveryMs(6 * 3_600_000);
        let failed = |failures| History {
            failed_at: Some(at("2026-01-01T06:00:30Z")),
            failures,
            ..settled("2026-01-01T00:00:00Z")
        };
        assert_eq!(every.due(&failed(1), 0.0), Some(at("2026-01-01T06:01:30Z")));
        assert_eq!(every.due(&failed(3), 0.0), Some(at("2026-01-01T06:04:30Z")));
        assert_eq!(every.due(&failed(40), 0.0), Some(at("2026-01-01T07:00:30Z")));
    }

    #[test]
    fn no_wait_after_a_failure_is_longer_than_the_interval_or_an_hour() {
        let failed =
            History { failed_at: Some(at("2026-01-01T06:00:00Z")), failures: 40, ..History::default() };
        let often = Schedule::EveryMs(10 * 60_000);
        assert_eq!(often.due(&failed, 0.0), Some(at("2026-01-01T06:10:00Z")));
        let daily = Schedule::cron("0 0 * * *").unwrap();
        assert_eq!(daily.due(&failed, 0.0), Some(at("2026-01-01T07:00:00Z")));
    }

    #[test]
    fn a_failure_long_ago_does_not_bring_the_next_run_forward() {
        let every = Schedule::EveryMs(3_600_000);
        let history = History {
            failed_at: Some(at("2026-01-01T00:01:00Z")),
            failures: 1,
            ..settled("2026-01-01T00:00:00Z")
        };
        assert_eq!(every.due(&history, 0.0), Some(at("2026-01-01T01:00:00Z")));
    }
}
