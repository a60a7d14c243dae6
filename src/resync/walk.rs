//! Walking a source's whole list, page by page, without skipping and without seeing anybody twice.
//!
//! By cursor, in the order of creation. A cursor whose account was deleted meanwhile is not the end of the list: the
//! walk goes on from the time that it had reached. An API without a cursor is walked by offsets that overlap.

use super::ResyncError;
use super::gate::Gate;
use crate::core::timestamp::Timestamp;
use crate::source::directory::{Entry, Position};
use serde::{Deserialize, Serialize};

/// How far the pages of an API without a cursor overlap.
const OVERLAP: usize = 50;
/// Steps back in search of the place where the pages meet again.
const STEPS_BACK_MAX: u32 = 20;

/// Accounts of one and the same creation time that are remembered, to be told from those that are missing.
const EDGE_IDS_MAX: usize = 20_000;

/// Where a walk is: everything up to here was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The last account of the last page.
    after: Option<String>,
    /// The list is asked for from this time on (ms); the cursor belongs to that list.
    since_ms: Option<i64>,
    /// Where the next page begins, for an API without a cursor.
    offset: Option<usize>,
    /// The creation time that was reached (ms), and who of that very time was seen.
    edge_ms: i64,
    edge_ids: Vec<String>,
    /// Rows so far.
    rows: usize,
}

/// A page of accounts that were not seen before.
#[derive(Debug)]
pub(super) struct Page {
    pub entries: Vec<Entry>,
    pub marked_at: Timestamp,
    /// Creation times that the page covers: everybody created after `from`, and before `to`, is on it.
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    /// Those created at `from` that earlier pages had.
    pub seen_at_edge: Vec<String>,
    pub next: Place,
    pub is_last: bool,
}

/// Why there is no page at this place.
enum Trouble {
    /// The account that the cursor names may be gone.
    Cursor,
    /// The API knows no cursor.
    NoCursor,
    Error(ResyncError),
}

impl Place {
    fn position(&self) -> Position {
        match self.offset {
            Some(offset) => Position::Offset(offset),
            None => Position::After {
                provider_id: self.after.clone(),
                since: self.since_ms.and_then(Timestamp::from_ms),
            },
        }
    }

    /// The list anew, from the time that was reached.
    fn anchored(&self) -> Place {
        Place { after: None, since_ms: Some(self.edge_ms), ..self.clone() }
    }

    fn by_offset(&self) -> Place {
        Place { offset: Some(self.rows.saturating_sub(OVERLAP)), ..self.clone() }
    }

    fn was_seen(&self, entry: &Entry) -> bool {
        let (Some(id), Some(created_at)) = (&entry.provider_id, entry.created_at) else { return false };
        created_at.ms() < self.edge_ms || (created_at.ms() == self.edge_ms && self.edge_ids.contains(id))
    }
}

/// The page at this place.
pub(super) async fn page(gate: &Gate, place: &Place) -> Result<Page, ResyncError> {
    let mut place = place.clone();
    let mut steps_back = 0;
    loop {
        match fetch(gate, &place).await {
            Ok(Some(page)) => return Ok(page),
            // An offset behind a gap: accounts before it were deleted.
            Ok(None) if steps_back < STEPS_BACK_MAX => {
                steps_back += 1;
                let back = gate.directory().page_size() / 2;
                place.offset = place.offset.map(|offset| offset.saturating_sub(back));
            }
            Ok(None) => return Err(ResyncError::Walk("its pages do not meet")),
            Err(Trouble::Cursor) => match is_there(gate, place.after.as_deref()).await? {
                false => place = place.anchored(),
                true => {
                    return Err(ResyncError::Walk("its pages repeat, or are not in the order of creation"));
                }
            },
            Err(Trouble::NoCursor) => match is_there(gate, place.after.as_deref()).await? {
                false => place = place.anchored(),
                true => place = place.by_offset(),
            },
            Err(Trouble::Error(error)) => return Err(error),
        }
    }
}

async fn is_there(gate: &Gate, provider_id: Option<&str>) -> Result<bool, ResyncError> {
    let Some(provider_id) = provider_id else { return Ok(true) };
    let directory = gate.directory();
    let (found, _) =
        gate.ask(&directory.one(provider_id), |body| directory.read_one(body, gate.layout())).await?;
    Ok(found.is_some())
}

/// `None` where an offset has left a gap.
async fn fetch(gate: &Gate, place: &Place) -> Result<Option<Page>, Trouble> {
    let directory = gate.directory();
    let by_cursor = place.after.is_some() && place.offset.is_none();
    let asked =
        gate.ask(&directory.page(&place.position()), |body| directory.read_page(body, gate.layout())).await;
    let (entries, marked_at) = match asked {
        Ok((entries, marked_at)) => (entries.unwrap_or_default(), marked_at),
        Err(ResyncError::Api(error)) if by_cursor && error.is_unprocessable() => {
            return Err(Trouble::NoCursor);
        }
        Err(ResyncError::Api(error)) if by_cursor && error.is_not_found() => return Err(Trouble::Cursor),
        Err(error) => return Err(Trouble::Error(error)),
    };
    if by_cursor && entries.is_empty() && !cursor_is_there(gate, place).await? {
        return Err(Trouble::Cursor);
    }
    let dated = |entry: &Entry| entry.created_at.map(Timestamp::ms);
    let times: Vec<i64> = entries.iter().filter_map(dated).collect();
    let out_of_order = times.windows(2).any(|pair| pair[0] > pair[1]);
    if by_cursor && (out_of_order || entries.iter().any(|entry| place.was_seen(entry))) {
        return Err(Trouble::Cursor);
    }
    if out_of_order {
        return Err(Trouble::Error(ResyncError::Walk("it is not in the order of creation")));
    }
    let gap = place.offset.is_some_and(|offset| offset > 0)
        && entries.first().is_none_or(|first| !place.was_seen(first));
    if gap {
        return Ok(None);
    }
    let is_last = entries.len() < directory.page_size();
    let rows = entries.len();
    let entries: Vec<Entry> = entries.into_iter().filter(|entry| !place.was_seen(entry)).collect();
    if entries.is_empty() && !is_last {
        return Err(Trouble::Error(ResyncError::Walk("a whole page repeats")));
    }
    let next = next_place(place, &entries, rows);
    Ok(Some(Page {
        marked_at,
        from: Timestamp::clamped(place.edge_ms),
        to: (!is_last).then_some(Timestamp::clamped(next.edge_ms)),
        seen_at_edge: place.edge_ids.clone(),
        is_last,
        next,
        entries,
    }))
}

async fn cursor_is_there(gate: &Gate, place: &Place) -> Result<bool, Trouble> {
    is_there(gate, place.after.as_deref()).await.map_err(Trouble::Error)
}

fn next_place(place: &Place, entries: &[Entry], rows: usize) -> Place {
    let edge_ms = entries.iter().filter_map(|entry| entry.created_at).map(Timestamp::ms).max();
    let edge_ms = edge_ms.unwrap_or(place.edge_ms).max(place.edge_ms);
    let mut edge_ids = if edge_ms == place.edge_ms { place.edge_ids.clone() } else { Vec::new() };
    edge_ids.extend(
        entries
            .iter()
            .filter(|entry| entry.created_at.is_some_and(|at| at.ms() == edge_ms))
            .filter_map(|entry| entry.provider_id.clone()),
    );
    edge_ids.drain(..edge_ids.len().saturating_sub(EDGE_IDS_MAX));
    let last = entries.iter().rev().find_map(|entry| entry.provider_id.clone());
    let offset = place.offset.map(|offset| (offset + rows).saturating_sub(OVERLAP));
    Place {
        after: last.or_else(|| place.after.clone()),
        since_ms: place.since_ms,
        offset,
        edge_ms,
        edge_ids,
        rows: place.rows + entries.len(),
    }
}
