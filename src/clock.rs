//! The only place that asks the operating system for the time, and where fresh ids and chance come from.

use crate::core::timestamp::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// What tells the time, and can be made to tell another.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::clamped(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands where it was set.
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A new user's id: UUIDv7, so that ids sort by when headcount first saw the account.
pub fn fresh_user_id(now: Timestamp) -> String {
    let ms = u64::try_from(now.ms()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid().hyphenated().to_string()
}

/// A number in `0.0..1.0`.
pub fn jitter() -> f64 {
    rand::random()
}
