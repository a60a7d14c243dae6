//! A page that the API cannot give: asked for in smaller parts, down to the places that hold what cannot be given.
//!
//! One row that a provider cannot read, or one answer that is too large, would otherwise end every run at the same page, and
//! nobody behind it would ever be read.

use super::ResyncError;
use super::gate::Gate;
use crate::core::timestamp::Timestamp;
use crate::source::directory::Entry;

/// Places that are asked for together, where a page fails. A page is a multiple of it, or nearly.
const PART: usize = 25;
/// So many places one behind the other that cannot be given are no accident of single accounts.
const GAPS_IN_A_ROW_MAX: usize = PART;

/// What the places from `start` on hold.
pub(super) struct Parts {
    pub start: usize,
    pub entries: Vec<Entry>,
    /// Places that the API cannot give, and why.
    pub gaps: Vec<Gap>,
    pub marked_at: Timestamp,
    /// How many places there were, given or not.
    pub places: usize,
    /// The list ends here.
    pub is_last: bool,
}

/// A place of the list that the API cannot give.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    /// From 0.
    pub place: usize,
    pub reason: String,
}

/// The list from about `start` on, as far as a page of `size` would go, for which the API had this error. The same error
/// again where the list cannot be asked for by places, or where nothing of it can be given.
pub(super) async fn in_parts(
    gate: &Gate,
    start: usize,
    size: usize,
    error: ResyncError,
) -> Result<Parts, ResyncError> {
    let start = start - start % PART;
    let mut parts = Parts {
        start,
        entries: Vec::new(),
        gaps: Vec::new(),
        marked_at: Timestamp::clamped(i64::MAX),
        places: 0,
        is_last: false,
    };
    let mut in_a_row = 0;
    while parts.places < size && !parts.is_last {
        match slice(gate, start + parts.places, PART).await {
            Ok(Some(part)) => {
                in_a_row = 0;
                parts.take(part, PART);
            }
            Ok(None) => return Err(error),
            Err(failure) if failure.is_of_one_account() => {
                parts.one_by_one(gate, &mut in_a_row).await?;
                if in_a_row >= GAPS_IN_A_ROW_MAX {
                    return Err(error);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(parts)
}

impl Parts {
    async fn one_by_one(&mut self, gate: &Gate, in_a_row: &mut usize) -> Result<(), ResyncError> {
        for _ in 0..PART {
            let place = self.start + self.places;
            match slice(gate, place, 1).await {
                Ok(Some(one)) => {
                    *in_a_row = 0;
                    self.take(one, 1);
                }
                Ok(None) => return Ok(()),
                Err(failure) if failure.is_of_one_account() => {
                    *in_a_row += 1;
                    self.gaps.push(Gap { place, reason: failure.to_string() });
                    self.places += 1;
                }
                Err(failure) => return Err(failure),
            }
            if self.is_last || *in_a_row >= GAPS_IN_A_ROW_MAX {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, (entries, marked_at): (Vec<Entry>, Timestamp), size: usize) {
        self.is_last = entries.len() < size;
        self.places += entries.len();
        self.marked_at = self.marked_at.min(marked_at);
        self.entries.extend(entries);
    }
}

/// Some places of the list; `None` where the API cannot be asked so.
async fn slice(
    gate: &Gate,
    start: usize,
    size: usize,
) -> Result<Option<(Vec<Entry>, Timestamp)>, ResyncError> {
    let directory = gate.directory();
    let Some(path) = directory.slice(start, size) else { return Ok(None) };
    let (listed, marked_at) =
        gate.ask(&path, |answer| directory.read_page(&answer.body, gate.layout(), gate.keep())).await?;
    Ok(Some((listed.map(|listed| listed.entries).unwrap_or_default(), marked_at)))
}
