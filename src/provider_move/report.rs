//! The report before a move, and at any time of it: who is where, what differs, and what is left to do.

use super::activity::Activity;
use super::people::{NamedUsers, People};
use crate::store::RecordedSwitch;

/// What there is to know before a move.
#[derive(Clone, Debug)]
pub struct MoveReport {
    pub from: String,
    pub to: String,
    /// Whether the word of `to` counts before that of `from`, by a switch.
    pub is_switched: bool,
    pub people: People,
    /// Accounts at the new source that wait for an address, and those that collide over one.
    pub awaiting_address: u64,
    pub colliding: u64,
    /// Accounts at the new source that the rules of today tie to another user than their own.
    pub doubled: u64,
    pub unfit_ids: UnfitIds,
    pub activity: Vec<Activity>,
    /// The latest, the newest first.
    pub switches: Vec<RecordedSwitch>,
    pub steps: Vec<MoveStep>,
}

/// Ids of accounts to come that a row at the new source cannot have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnfitIds {
    pub ids: NamedUsers,
    /// The type of the key there; `None` where it is not known.
    pub key_type: Option<String>,
    /// Why it is not known.
    pub unknown_because: Option<String>,
}

/// Something that is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveStep {
    /// Does not change between versions.
    pub code: &'static str,
    pub text: String,
    /// `None` where it is done elsewhere.
    pub command: Option<String>,
}
