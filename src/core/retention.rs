//! How long headcount keeps what nobody needs for ever: every period of the program, as data.
//!
//! To add a retention, add its period and its line in [`ALL`]; `headcount config` shows it then, and a test asks
//! docs/operating.md for it. `worker/housekeeping.rs` is what forgets, once an hour.

const DAY_MS: i64 = 24 * 3_600_000;

/// Message ids of deliveries: longer than any provider's replay window, so that no replay is taken for a new delivery.
pub const MESSAGE_IDS_MS: i64 = 120 * DAY_MS;
/// The feed of changes. Whoever has been away for longer begins anew.
pub const CHANGES_MS: i64 = 120 * DAY_MS;
/// Runs that have ended.
pub const RUNS_MS: i64 = 120 * DAY_MS;
/// Signs of life of processes that are not there any more.
pub const HEARTBEATS_MS: i64 = DAY_MS;

/// Where a period comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// The same in every installation, in milliseconds.
    Fixed(i64),
    /// The setting of this key says it.
    Setting(&'static str),
}

/// Something that is kept for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub name: &'static str,
    pub period: Period,
    /// What goes once the period is over, and what stays.
    pub goes: &'static str,
}

/// Everything that is kept for a while.
pub const ALL: [Retention; 6] = [
    Retention {
        name: "bodies",
        period: Period::Setting("inbox_retention"),
        goes: "bodies of applied and stale deliveries; dead letters and held deliveries keep theirs",
    },
    Retention {
        name: "message ids",
        period: Period::Fixed(MESSAGE_IDS_MS),
        goes: "deliveries as a whole, but for those that wait, are held or are dead letters",
    },
    Retention {
        name: "feed",
        period: Period::Fixed(CHANGES_MS),
        goes: "changes, but for the latest of each column of a user",
    },
    Retention { name: "runs", period: Period::Fixed(RUNS_MS), goes: "runs, but for held ones" },
    Retention {
        name: "heartbeats",
        period: Period::Fixed(HEARTBEATS_MS),
        goes: "signs of life of processes that have ended",
    },
    Retention {
        name: "deleted users",
        period: Period::Setting("erase_after"),
        goes: "personal data of deleted users, unless HEADCOUNT_ON_DELETE is keep",
    },
];

/// A fixed period as people read it, such as `120d`.
pub fn in_days(period_ms: i64) -> String {
    format!("{}d", period_ms / DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_whole_days() {
        for retention in ALL {
            if let Period::Fixed(ms) = retention.period {
                assert!(ms > 0 && ms % DAY_MS == 0, "{}", retention.name);
            }
        }
        assert_eq!(in_days(MESSAGE_IDS_MS), "120d");
        assert_eq!(HEARTBEATS_MS, 86_400_000, "a day has so many milliseconds");
    }
}
