//! How many people were active at a source lately, by what it says itself.

use crate::core::timestamp::Timestamp;
use crate::resync::Resync;
use std::time::Duration;
use tokio::time::timeout;

const DAY_MS: i64 = 24 * 3_600_000;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What a source says of its people's activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    pub source: String,
    pub last_7_days: Option<u64>,
    pub last_30_days: Option<u64>,
    /// Why it says nothing.
    pub unknown_because: Option<String>,
}

impl Activity {
    /// Of a source that is not read.
    pub fn unknown(source: &str, because: &str) -> Self {
        let unknown_because = Some(because.to_owned());
        Self { source: source.to_owned(), last_7_days: None, last_30_days: None, unknown_because }
    }

    /// Asks the source.
    pub async fn of(source: &str, resync: &Resync, now: Timestamp) -> Self {
        let mut counts = [None, None];
        for (days, count) in [7, 30].into_iter().zip(&mut counts) {
            let since = Timestamp::clamped(now.ms() - days * DAY_MS);
            match timeout(ANSWER_WITHIN, resync.active_since(since)).await {
                Ok(Ok(Some(active))) => *count = Some(active),
                Ok(Ok(None)) => return Self::unknown(source, "its interface does not say"),
                Ok(Err(error)) => return Self::unknown(source, &error.to_string()),
                Err(_) => return Self::unknown(source, "it gave no answer in time"),
            }
        }
        let [last_7_days, last_30_days] = counts;
        Self { source: source.to_owned(), last_7_days, last_30_days, unknown_because: None }
    }
}
