//! What became of a write, and what the feed says of it.

use crate::core::change::Change;
use crate::core::words::ChangeKind;
use crate::store::{AccountWrite, HELD_STATE};

/// What became of a write.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every outcome is the large one")]
pub(super) enum Outcome {
    /// What is in the tables now: some values may be held back.
    Written(AccountWrite),
    /// Not even that.
    Refused(String),
}

impl Outcome {
    pub fn written(&self) -> Option<&AccountWrite> {
        match self {
            Outcome::Written(write) => Some(write),
            Outcome::Refused(_) => None,
        }
    }

    /// What to tell of it: nothing where all is in its place.
    pub fn note(&self) -> Option<String> {
        match self {
            Outcome::Refused(reason) => Some(reason.clone()),
            Outcome::Written(write) => match (&write.waiting, write.held.as_slice()) {
                (Some(reason), _) => Some(format!("there can be no row for it yet: {reason}")),
                (None, []) => None,
                (None, [first, ..]) => {
                    let columns: Vec<&str> = write.held.iter().map(|held| held.column.as_str()).collect();
                    Some(format!("held back: {} ({})", columns.join(", "), first.reason))
                }
            },
        }
    }
}

/// What the feed says of a change, now that it is known what of it was written.
pub(super) fn feed_change(change: Option<Change>, outcome: &Outcome) -> Option<Change> {
    let Outcome::Written(write) = outcome else { return None };
    let mut change = change?;
    write.user.as_ref()?;
    let state_held = write.held.iter().any(|held| held.column == HELD_STATE);
    change.changed.retain(|name| {
        let is_state = name == HELD_STATE || name == "deleted_at";
        !(is_state && state_held) && write.held.iter().all(|held| held.column != *name)
    });
    if state_held && change.kind != ChangeKind::Created {
        change.kind = ChangeKind::Updated;
    }
    (!change.changed.is_empty() || change.kind == ChangeKind::Created).then_some(change)
}
