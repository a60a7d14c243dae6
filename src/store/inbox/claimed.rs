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
    pub body: String,
    pub attempts: u32,
    /// A person has let this deletion through.
    pub approved: bool,
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
