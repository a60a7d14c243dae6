//! What becomes of a delivery, as the inbox keeps it.

use crate::core::event::Event;
use crate::core::retry_policy::{DELIVERY, DELIVERY_PASSED_OVER, RetryPolicy};
use crate::source::Source;
use crate::store::{Claimed, Finished, Pending, SourceState, StoreError};
use std::collections::HashMap;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveriesOutcome {
    /// Deliveries that were claimed.
    pub claimed: usize,
    /// Those of them about which something was decided; the rest waits for another process's transaction.
    pub finished: usize,
    pub dead: usize,
    pub held: usize,
    /// Refused by a constraint of the application's and to be tried again.
    pub retried: usize,
    /// Accounts of which the application's constraints let in only a part.
    pub partial: usize,
    /// Deliveries of erased accounts, of which nothing was kept.
    pub erased: usize,
}

impl DeliveriesOutcome {
    pub(super) fn add(&mut self, other: DeliveriesOutcome) {
        self.claimed += other.claimed;
        self.finished += other.finished;
        self.dead += other.dead;
        self.held += other.held;
        self.retried += other.retried;
        self.partial += other.partial;
        self.erased += other.erased;
    }
}

pub(super) fn ended(pending: &Pending, status: &'static str, last_error: Option<String>) -> Finished {
    let attempts = pending.attempts + 1;
    Finished { seq: pending.seq, status, attempts, retry_in_ms: None, last_error }
}

/// `random` lies in `0.0..1.0`: see [`DELIVERY`].
pub(super) fn failed(seq: i64, attempts: u32, reason: &str, random: f64) -> Finished {
    let retry_in_ms = DELIVERY.next_delay_ms(attempts, random);
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
    put_off(pending.into(), &DELIVERY_PASSED_OVER)
}

/// Another transaction holds its account: that is no failure, and does not count as one.
pub(super) fn put_off(claimed: Claimed, policy: &RetryPolicy) -> Finished {
    Finished {
        seq: claimed.seq,
        status: "pending",
        attempts: claimed.attempts,
        retry_in_ms: Some(policy.delay_after_ms(claimed.waited_ms)),
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

/// Why a delivery is not this source's; `None` where it is, or does not say.
pub(super) fn elsewhere_from(
    event: &Event,
    source: &Source,
    source_states: &HashMap<String, SourceState>,
) -> Option<String> {
    let known = || source_states.get(&source.name)?.instance_id.as_ref();
    let pinned = source.instance.as_ref().or_else(known);
    let other = pinned.zip(event.instance.as_ref()).filter(|(pinned, sender)| pinned != sender);
    let Some((pinned, sender)) = other else {
        let example = "it is the example that the provider's dashboard sends, of an account that nobody has";
        return source.provider.is_example(event).then(|| example.to_owned());
    };
    Some(format!(
        "it comes from instance {sender}, and the source is pinned to {pinned}; a sample from the provider's dashboard \
         looks like this (`headcount source repin` where the move is meant)"
    ))
}

/// Whether the error is of one of the claimed deliveries, which the others need not wait for.
pub(super) fn stops_one(error: &StoreError, claimed: &[Claimed]) -> bool {
    error.is_of_one_account() && !claimed.is_empty()
}
