//! A delivery as an engine stores it. Every sender waits for this statement, so each engine has its own, with its own
//! parameters, instead of [`super::driver::Arg`]; what the two have in common stands here.

use crate::core::timestamp::Timestamp;

/// A verified delivery, about to be stored.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub source: String,
    pub message_id: String,
    pub event_type: String,
    pub provider_id: Option<String>,
    pub occurred_at: Option<Timestamp>,
    /// The time of the attempt that was signed.
    pub signed_at: Timestamp,
    /// The signature header, so that the delivery can be recorded and verified once more.
    pub signature: String,
    /// The bytes as signed; `None` stores the delivery as ignored.
    pub body: Option<String>,
    /// Why it is a dead letter from the beginning.
    pub dead_because: Option<String>,
}

/// The texts that the inbox has of a delivery, as [`TEXTS`] names them.
pub(in crate::store) type Texts<'a> = [Option<&'a str>; TEXTS.len()];

pub(in crate::store) const TEXTS: [&str; 7] =
    ["source", "message_id", "event_type", "provider_id", "signature", "body", "dead_because"];

/// Beside them: when it happened and when it was signed. When it was received is the database's to say.
pub(in crate::store) const TIMES: [&str; 2] = ["occurred_at", "signed_at"];

/// What a delivery is when it comes, of its own columns.
pub(in crate::store) const FIRST_STATUS: &str =
    "CASE WHEN dead_because IS NOT NULL THEN 'dead' WHEN body IS NULL THEN 'ignored' ELSE 'pending' END";

/// The insert of states, of deliveries with [`FIRST_STATUS`] as `status`, at the time `now`.
pub(in crate::store) fn first_states(deliveries: &str, now: &str) -> String {
    format!(
        "INSERT INTO headcount.delivery_states (seq, status, next_attempt_at, last_error, finished_at)
         SELECT n.seq, n.status, CASE WHEN n.status = 'pending' THEN {now} END, n.dead_because,
             CASE WHEN n.status <> 'pending' THEN {now} END FROM {deliveries} AS n"
    )
}

impl NewDelivery {
    pub(in crate::store) fn texts(&self) -> Texts<'_> {
        [
            Some(&self.source),
            Some(&self.message_id),
            Some(&self.event_type),
            self.provider_id.as_deref(),
            Some(&self.signature),
            self.body.as_deref(),
            self.dead_because.as_deref(),
        ]
    }

    pub(in crate::store) fn times(&self) -> [Option<Timestamp>; TIMES.len()] {
        [self.occurred_at, Some(self.signed_at)]
    }
}
