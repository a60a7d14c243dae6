//! What becomes of a delivery, as the inbox keeps it.

use crate::clock::jitter;
use crate::core::attempts::next_delay_ms;
use crate::core::event::Event;
use crate::store::{Finished, Pending};

/// How long a delivery is put off whose account somebody else holds: their transactions are short.
const ELSEWHERE_DELAY_MS: u64 = 100;

pub(super) fn ended(pending: &Pending, status: &'static str, last_error: Option<String>) -> Finished {
    let attempts = pending.attempts + 1;
    Finished { seq: pending.seq, status, attempts, retry_in_ms: None, last_error }
}

pub(super) fn failed(seq: i64, attempts: u32, reason: &str) -> Finished {
    let retry_in_ms = next_delay_ms(attempts, jitter());
    Finished {
        seq,
        status: if retry_in_ms.is_some() { "pending" } else { "dead" },
        attempts,
        retry_in_ms,
        last_error: Some(reason.to_owned()),
    }
}

/// Put off, so that what waits behind it does not wait for it.
pub(super) fn elsewhere(pending: &Pending) -> Finished {
    Finished {
        seq: pending.seq,
        status: "pending",
        attempts: pending.attempts,
        retry_in_ms: Some(ELSEWHERE_DELAY_MS),
        last_error: Some("another transaction holds the account".to_owned()),
    }
}

pub(super) fn held_back(pending: &Pending) -> Finished {
    Finished {
        seq: pending.seq,
        status: "held",
        attempts: pending.attempts,
        retry_in_ms: None,
        last_error: Some(
            "more deletions within an hour than HEADCOUNT_MAX_DELETE_DELIVERED allows; retry it to let it through"
                .to_owned(),
        ),
    }
}

/// Self-contained: the inbox is pruned, the history is not.
pub(super) fn cause(pending: &Pending, event: &Event) -> String {
    serde_json::json!({
        "delivery": {
            "source": pending.source,
            "message_id": pending.message_id,
            "event_type": pending.event_type,
            "seq": pending.seq,
            "occurred_at": event.occurred_at.map(|at| at.to_string()),
            "received_at": pending.received_at.to_string(),
        }
    })
    .to_string()
}
