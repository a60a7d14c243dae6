//! A delivery that a transaction has claimed, and what becomes of it.

use crate::core::timestamp::Timestamp;

/// A delivery that waits to be applied, claimed by this transaction.
#[derive(Clone, Debug)]
pub struct Pending {
    pub seq: i64,
    pub source: String,
    pub message_id: String,
    pub event_type: String,
    pub provider_id: Option<String>,
    pub received_at: Timestamp,
    /// How long it has been there, by the database's clock.
    pub waited_ms: u64,
    pub body: String,
    pub attempts: u32,
    /// A person has let this deletion through.
    pub approved: bool,
}

/// A claimed delivery, for whoever has to put it off when its transaction is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub seq: i64,
    pub attempts: u32,
    pub waited_ms: u64,
}

impl From<&Pending> for Claimed {
    fn from(pending: &Pending) -> Self {
        Self { seq: pending.seq, attempts: pending.attempts, waited_ms: pending.waited_ms }
    }
}

/// What becomes of a claimed delivery.
#[derive(Clone, Debug)]
pub struct Finished {
    pub seq: i64,
    pub status: &'static str,
    pub attempts: u32,
    /// For one that stays pending.
    pub retry_in_ms: Option<u64>,
    pub last_error: Option<String>,
}
