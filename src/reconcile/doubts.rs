//! Accounts that are to be read again, and what the first of two readings said.

use crate::core::event::{IdentityKey, Snapshot};
use crate::core::read::{Circumstances, Earlier, Observation};
use crate::core::words::Doubt;
use crate::digest::short_digest;
use crate::store::{ABSENT, FirstReading, NewConfirmation};

pub(super) fn doubt(
    key: &IdentityKey,
    doubt: Doubt,
    due_in_ms: i64,
    first: Option<FirstReading>,
) -> NewConfirmation {
    NewConfirmation { key: key.clone(), run_id: None, doubt, due_in_ms, first, gone: false }
}

/// A first reading that this one repeats before its time.
pub(super) fn goes_on(earlier: Earlier, now: &Observation, doubt: Doubt, at: Circumstances) -> bool {
    let agrees = match doubt {
        Doubt::Missing => !earlier.present,
        Doubt::Revival => earlier.present,
        _ => earlier.same && matches!(now, Observation::Present(_)),
    };
    agrees && at.received_at.is_none_or(|received_at| received_at < earlier.marked_at)
}

pub(super) fn earlier(first: &FirstReading, now: &Observation) -> Earlier {
    Earlier { marked_at: first.marked_at, present: first.said != ABSENT, same: first.said == digest(now) }
}

/// What a reading said, in short: equal exactly where version and content are.
pub(super) fn digest(observed: &Observation) -> String {
    match observed {
        Observation::Absent => ABSENT.to_owned(),
        Observation::Present(Snapshot { version, profile, .. }) => {
            format!("{version}:{}", short_digest(profile))
        }
    }
}
