//! What a read from the provider's API may change, and what it takes to believe it (contract, rules 3 and 4).
//!
//! A read is only as fresh as its mark: the database's time just before the request was sent. Whatever was received
//! about the account since then may know more than the read does.

use super::change::Change;
use super::decide::{account_after, deleted};
use super::event::Snapshot;
use super::known::{Account, Deletion, Identity, Latest};
use super::layout::Layout;
use super::timestamp::Timestamp;
use super::words::Doubt;
use super::words::{DeletedBy, IdentityState};
use std::cmp::Ordering;

/// A version further ahead of the read than this is not believed at first sight: 24 hours.
const FUTURE_MS_MAX: i64 = 24 * 3_600_000;

/// Whether a version lies further ahead of the read that brought it than can be believed at first sight.
pub fn is_future(snapshot: &Snapshot, marked_at: Timestamp) -> bool {
    snapshot.versioned_at.is_some_and(|at| at.ms().saturating_sub(marked_at.ms()) > FUTURE_MS_MAX)
}

/// What the source said of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every reading is of an account that is there")]
pub enum Observation {
    Present(Snapshot),
    /// 404, with the provider's own error code.
    Absent,
}

/// One answer of the source about one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub observed: Observation,
    pub marked_at: Timestamp,
    /// The row itself was read by its id, where it is written: what it holds needs no second look.
    pub is_of_the_row: bool,
}

/// An earlier reading of the same account, as far as it matters to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub marked_at: Timestamp,
    /// It found the account.
    pub present: bool,
    /// It said the same: version and content.
    pub same: bool,
}

/// What is known about the circumstances of a reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    pub earlier: Option<Earlier>,
    /// When anything about the account was last received, pending deliveries included.
    pub received_at: Option<Timestamp>,
    /// How far apart two readings must be to confirm what is surprising.
    pub confirm_after_ms: i64,
}

/// What follows from a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "short-lived, and mostly the large one")]
pub enum ReadDecision {
    /// The tables say the same.
    Unchanged,
    Apply(Repair),
    /// Not believed yet: the account is to be read again.
    Again(Again),
    /// Absent twice: a sweep may delete it, a single read never does.
    Gone,
}

impl Doubt {
    /// Whether it is in doubt what the account holds, and not whether it is there.
    pub fn is_of_content(self) -> bool {
        matches!(self, Doubt::Older | Doubt::Future)
    }
}

/// What a reading changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    pub account: Account,
    pub change: Option<Change>,
    /// The source has said nothing new: the row had been edited here.
    pub local_edit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    pub doubt: Doubt,
    /// This reading is the first of the two that must agree: the next one comes after `confirm_after_ms`. Otherwise
    /// it was outrun by what was received meanwhile, and the account is read again at once.
    pub counts: bool,
}

/// Decides one reading. `fresh_id` becomes the id of the user where this reading is the first to need one.
pub fn decide_read(
    layout: &Layout,
    known: &Account,
    reading: &Reading,
    at: Circumstances,
    fresh_id: &str,
) -> ReadDecision {
    let snapshot = match &reading.observed {
        Observation::Present(snapshot) => snapshot,
        Observation::Absent => return absent(known, reading, at),
    };
    let identity = known.identity.as_ref();
    let tombstone = identity.and_then(|identity| identity.deletion).filter(|deletion| !deletion.soft);
    if let Some(deletion) = tombstone {
        return revive(layout, known, snapshot, deletion, reading.marked_at, at, fresh_id);
    }
    let latest = identity.and_then(|identity| identity.latest.as_ref());
    let same = latest.is_some_and(|latest| {
        latest.snapshot.version == snapshot.version && latest.snapshot.profile == snapshot.profile
    });
    if let (true, Some(identity)) = (same, identity) {
        return unchanged_or_edited(layout, known, identity.clone(), fresh_id);
    }
    let replaced = identity.and_then(|identity| identity.replaced_version);
    let order = latest.map_or(Ordering::Greater, |latest| snapshot.version.cmp(&latest.snapshot.version));
    let future = is_future(snapshot, reading.marked_at);
    let outrun = at.received_at.is_some_and(|received_at| received_at >= reading.marked_at);
    let doubt = match order {
        _ if future => Doubt::Future,
        Ordering::Greater => return apply(layout, known, snapshot, reading.marked_at, replaced, fresh_id),
        Ordering::Equal if outrun => return again(Doubt::Contested, false),
        Ordering::Equal => return apply(layout, known, snapshot, reading.marked_at, replaced, fresh_id),
        Ordering::Less => Doubt::Older,
    };
    if outrun {
        return again(doubt, false);
    }
    if !reading.is_of_the_row && !confirmed(reading.marked_at, at, |earlier| earlier.same) {
        return again(doubt, true);
    }
    let behind = latest.map(|latest| latest.snapshot.version).max(replaced);
    apply(layout, known, snapshot, reading.marked_at, behind, fresh_id)
}

/// What a sweep does with an account that is proven to be gone.
pub fn sweep(layout: &Layout, known: &Account, at: Timestamp, fresh_id: &str) -> Repair {
    let deletion = Deletion { at, received_at: at, by: DeletedBy::Sweep, soft: false };
    let (account, change) =
        account_after(layout, known, deleted(known.identity.as_ref(), deletion), fresh_id);
    Repair { account, change, local_edit: false }
}

fn absent(known: &Account, reading: &Reading, at: Circumstances) -> ReadDecision {
    let alive = known.identity.as_ref().is_some_and(|identity| identity.state != IdentityState::Deleted);
    if !alive {
        return ReadDecision::Unchanged;
    }
    if confirmed(reading.marked_at, at, |earlier| !earlier.present) {
        return ReadDecision::Gone;
    }
    again(Doubt::Missing, true)
}

/// Two readings, both marked after the deletion was received, that show the account: what it holds may differ.
fn revive(
    layout: &Layout,
    known: &Account,
    snapshot: &Snapshot,
    deletion: Deletion,
    marked_at: Timestamp,
    at: Circumstances,
    fresh_id: &str,
) -> ReadDecision {
    if deletion.by == DeletedBy::Erase {
        return ReadDecision::Unchanged;
    }
    if deletion.received_at >= marked_at {
        return again(Doubt::Revival, false);
    }
    let after_deletion = |earlier: Earlier| earlier.present && earlier.marked_at > deletion.received_at;
    if !confirmed(marked_at, at, after_deletion) {
        return again(Doubt::Revival, true);
    }
    let identity = known.identity.as_ref();
    let seen = identity.and_then(|identity| identity.latest.as_ref()).map(|latest| latest.snapshot.version);
    let behind = seen.max(identity.and_then(|identity| identity.replaced_version));
    apply(layout, known, snapshot, marked_at, behind, fresh_id)
}

/// An earlier reading that agrees, long enough ago, and nothing received since.
fn confirmed(marked_at: Timestamp, at: Circumstances, agrees: impl Fn(Earlier) -> bool) -> bool {
    at.earlier.is_some_and(|earlier| {
        agrees(earlier)
            && marked_at.ms() - earlier.marked_at.ms() >= at.confirm_after_ms
            && at.received_at.is_none_or(|received_at| received_at < earlier.marked_at)
    })
}

fn unchanged_or_edited(layout: &Layout, known: &Account, identity: Identity, fresh_id: &str) -> ReadDecision {
    let (account, change) = account_after(layout, known, identity, fresh_id);
    match account == *known {
        true => ReadDecision::Unchanged,
        false => ReadDecision::Apply(Repair { account, change, local_edit: true }),
    }
}

fn apply(
    layout: &Layout,
    known: &Account,
    snapshot: &Snapshot,
    marked_at: Timestamp,
    behind: Option<i64>,
    fresh_id: &str,
) -> ReadDecision {
    let latest = Latest { snapshot: snapshot.clone(), occurred_at: None, read_at: Some(marked_at) };
    let (account, change) = account_after(layout, known, latest.into_identity(behind, marked_at), fresh_id);
    ReadDecision::Apply(Repair { account, change, local_edit: false })
}

fn again(doubt: Doubt, counts: bool) -> ReadDecision {
    ReadDecision::Again(Again { doubt, counts })
}

#[cfg(test)]
mod tests;
