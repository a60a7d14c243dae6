//! The only place that asks the operating system for the time, and where fresh ids and chance come from.

use crate::core::timestamp::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::ContextV7;

/// What tells the time, and can be made to tell another.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::clamped(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Keeps the ids of one millisecond in their order.
static ID_ORDER: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A new user's id: UUIDv7, so that ids sort by when headcount first saw the account.
pub fn fresh_user_id(now: Timestamp) -> String {
    let (seconds, ms) = (now.seconds().unsigned_abs(), now.ms().rem_euclid(1000));
    let order = ID_ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let at = uuid::Timestamp::from_unix(&*order, seconds, u32::try_from(ms).unwrap_or(0) * 1_000_000);
    uuid::Uuid::new_v7(at).hyphenated().to_string()
}

/// The id of a run, or of somebody who holds a lease: UUIDv7, so that runs sort by their beginning.
pub fn fresh_run_id() -> String {
    fresh_user_id(SystemClock.now())
}

/// A number in `0.0..1.0`.
pub fn jitter() -> f64 {
    rand::random()
}
