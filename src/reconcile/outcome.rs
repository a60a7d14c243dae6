//! What a batch of readings has come to.

use super::call_error::NoRoom;
use crate::core::event::IdentityKey;
use crate::core::known::Account;
use crate::core::read::Repair;
use crate::core::words::ChangeKind;
use crate::store::Counts;

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct ReadsOutcome {
    pub counts: Counts,
    /// Accounts that differed: their ids, in what, and since when the tables are right.
    pub drift: Vec<Drift>,
    /// Accounts that are to be read again.
    pub doubted: u64,
    /// Of a single reading: absent twice.
    pub gone: Vec<IdentityKey>,
    pub refusals: Vec<(IdentityKey, String)>,
    /// Accounts that were tied to a row that was there before them.
    pub linked: u64,
    /// Accounts of which the application's constraints let in only a part.
    pub partial: u64,
    /// Of a call that waits: what it wants does not fit, and nothing was kept of the batch.
    pub no_room: Option<NoRoom>,
}

/// One difference between a source and the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub provider_id: String,
    /// `missing` (no row), `outdated`, `edited` (here), `revived`, `gone`
    pub kind: &'static str,
    pub columns: Vec<String>,
}

impl ReadsOutcome {
    pub fn add(&mut self, other: ReadsOutcome) {
        self.counts.add(other.counts);
        self.drift.extend(other.drift);
        self.doubted += other.doubted;
        self.gone.extend(other.gone);
        self.refusals.extend(other.refusals);
        self.linked += other.linked;
        self.partial += other.partial;
        self.no_room = self.no_room.take().or(other.no_room);
    }
}

/// Counts a repair that was written.
pub(super) fn count(applied: &mut ReadsOutcome, key: &IdentityKey, known: &Account, repair: &Repair) {
    let counts = &mut applied.counts;
    let Some(change) = &repair.change else {
        // A version or a detail of the profile that no column shows.
        counts.unchanged += 1;
        return;
    };
    let kind = match change.kind {
        ChangeKind::Revived => {
            counts.revived += 1;
            "revived"
        }
        _ if repair.local_edit => {
            counts.local_edits += 1;
            match known.user {
                None => counts.created += 1,
                Some(_) => counts.updated += 1,
            }
            "edited"
        }
        ChangeKind::Created => {
            counts.created += 1;
            "missing"
        }
        ChangeKind::Updated | ChangeKind::Deleted | ChangeKind::Erased => {
            counts.updated += 1;
            "outdated"
        }
    };
    let columns = change.changed.clone();
    applied.drift.push(Drift { provider_id: key.provider_id.clone(), kind, columns });
}
