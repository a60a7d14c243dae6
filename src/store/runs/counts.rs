//! What a run counts.

/// What a run has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub seen: u64,
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    pub revived: u64,
    pub unchanged: u64,
    /// Of the created and updated: the source had said nothing new, the row had been edited here.
    pub local_edits: u64,
    pub dead: u64,
    pub refused: u64,
    pub held_deletes: u64,
    pub held_creates: u64,
    pub pages: u64,
    pub requests: u64,
    pub throttled: u64,
}

pub(in crate::store) const COUNTS: [&str; 14] = [
    "seen",
    "created",
    "updated",
    "deleted",
    "revived",
    "unchanged",
    "local_edits",
    "dead",
    "refused",
    "held_deletes",
    "held_creates",
    "pages",
    "requests",
    "throttled",
];

impl Counts {
    pub(in crate::store) fn numbers(&mut self) -> [&mut u64; COUNTS.len()] {
        [
            &mut self.seen,
            &mut self.created,
            &mut self.updated,
            &mut self.deleted,
            &mut self.revived,
            &mut self.unchanged,
            &mut self.local_edits,
            &mut self.dead,
            &mut self.refused,
            &mut self.held_deletes,
            &mut self.held_creates,
            &mut self.pages,
            &mut self.requests,
            &mut self.throttled,
        ]
    }

    /// Each count with its name, in the order of the table.
    pub fn named(mut self) -> Vec<(&'static str, u64)> {
        COUNTS.into_iter().zip(self.numbers()).map(|(name, count)| (name, *count)).collect()
    }

    pub fn add(&mut self, mut other: Counts) {
        for (own, other) in self.numbers().into_iter().zip(other.numbers()) {
            *own += *other;
        }
    }

    /// Accounts in which the source and the tables differed.
    pub fn repaired(&self) -> u64 {
        self.created + self.updated + self.deleted + self.revived
    }
}
