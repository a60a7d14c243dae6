//! Walking a source's whole list, page by page, without skipping and without seeing anybody twice.
//!
//! By cursor, in the order of creation, whichever way. A cursor whose account was deleted meanwhile is not the end of the
//! list: the walk goes on from the time that it had reached, or from an account a little before. An API without a cursor
//! is walked by offsets that overlap.

use super::ResyncError;
use super::gate::Gate;
use super::parts::{Gap, Parts, in_parts};
use crate::core::timestamp::Timestamp;
use crate::source::directory::{Entry, ListOrder, Listed, More, PageRequest, Position};
use crate::store::KnownRange;
use serde::{Deserialize, Serialize};

/// How far the pages of an API without a cursor overlap.
const OVERLAP: usize = 50;
/// Steps back in search of the place where the pages meet again, and how far each goes.
const STEPS_BACK_MAX: u32 = 20;
const STEP_BACK: usize = 250;

/// Accounts of one and the same creation time that are remembered, to be told from those that are missing.
const EDGE_IDS_MAX: usize = 20_000;
/// Accounts behind which the list may be asked for where the last one is gone.
const TRAIL_MAX: usize = 20;

/// Where a walk is: everything up to here was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WalkPlace {
    /// The last account of the last page, and some before it.
    after: Option<String>,
    trail: Vec<String>,
    /// The provider's own word for the place.
    cursor: Option<String>,
    /// The list is asked for from this time on (ms); `after` belongs to that list.
    since_ms: Option<i64>,
    /// Where the next page begins, for an API without a cursor.
    offset: Option<usize>,
    /// Places before this one that cannot be given are known already.
    gaps_end: usize,
    /// The walk has gone back a little: what comes may have been seen.
    overlaps: bool,
    /// Whether the list begins with the youngest; `None` until a page has told.
    newest_first: Option<bool>,
    /// The creation time that was reached (ms), and who of that very time was seen.
    edge_ms: Option<i64>,
    edge_ids: Vec<String>,
    /// Rows so far.
    rows: usize,
}

/// A page of accounts that were not seen before.
#[derive(Debug)]
pub(super) struct Page {
    pub entries: Vec<Entry>,
    pub marked_at: Timestamp,
    /// Creation times that the page covers: everybody created between the two is on it, or was on one before.
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    /// Of this time there may be more on the next page.
    pub open_end: Option<Timestamp>,
    /// Those that earlier pages had of the time at which this one begins.
    pub seen_at_edge: Vec<String>,
    pub next: WalkPlace,
    pub is_last: bool,
    /// Places of it that the API cannot give.
    pub gaps: Vec<Gap>,
}

/// Why there is no page at this place.
enum Trouble {
    /// The account that the cursor names may be gone.
    Cursor,
    /// The API knows no cursor.
    NoCursor,
    Error(ResyncError),
}

impl Page {
    pub(super) fn range(&self) -> KnownRange {
        KnownRange { from: self.from, to: self.to, seen_before: self.marked_at }
    }
}

impl WalkPlace {
    fn position(&self) -> Position {
        match (self.offset, &self.cursor) {
            (Some(offset), _) => Position::Offset(offset),
            (None, Some(cursor)) => Position::Cursor(cursor.clone()),
            (None, None) => Position::After {
                provider_id: self.after.clone(),
                since: self.since_ms.and_then(Timestamp::from_ms),
            },
        }
    }

    /// The list anew: from the time that was reached, or behind an account a little before.
    fn back(&self, gate: &Gate) -> WalkPlace {
        if gate.directory().lists_since() {
            return WalkPlace { after: None, since_ms: self.edge_ms, overlaps: true, ..self.clone() };
        }
        let mut trail = self.trail.clone();
        WalkPlace { after: trail.pop(), trail, overlaps: true, ..self.clone() }
    }

    fn by_offset(&self) -> WalkPlace {
        WalkPlace { offset: Some(self.rows.saturating_sub(OVERLAP)), ..self.clone() }
    }

    /// Creation times in the order of the list.
    fn order(&self, ms: i64) -> i64 {
        if self.newest_first == Some(true) { -ms } else { ms }
    }

    fn was_seen(&self, entry: &Entry) -> bool {
        let (Some(id), Some(created_at), Some(edge_ms)) =
            (&entry.provider_id, entry.created_at, self.edge_ms)
        else {
            return false;
        };
        let (at, edge) = (self.order(created_at.ms()), self.order(edge_ms));
        at < edge || (at == edge && self.edge_ids.contains(id))
    }

    /// The same, knowing which way the list goes once times differ.
    fn directed(&self, times: &[i64], newest_first: bool) -> WalkPlace {
        let mut place = self.clone();
        if place.newest_first.is_none() {
            let so_far: Vec<i64> = self.edge_ms.into_iter().chain(times.iter().copied()).collect();
            let differing = so_far.windows(2).find(|pair| pair[0] != pair[1]);
            place.newest_first = Some(differing.map_or(newest_first, |pair| pair[0] > pair[1]));
        }
        place
    }
}

/// The page at this place.
pub(super) async fn page(gate: &Gate, place: &WalkPlace) -> Result<Page, ResyncError> {
    let mut place = place.clone();
    let mut steps_back = 0;
    loop {
        match fetch(gate, &place).await {
            Ok(Some(page)) => return Ok(page),
            // An offset behind a gap: accounts before it were deleted.
            Ok(None) if steps_back < STEPS_BACK_MAX => {
                steps_back += 1;
                place.offset = place.offset.map(|offset| offset.saturating_sub(STEP_BACK));
            }
            Ok(None) => return Err(ResyncError::Walk("its pages do not meet")),
            Err(Trouble::Cursor) => match is_there(gate, place.after.as_deref()).await? {
                false => place = place.back(gate),
                true => {
                    return Err(ResyncError::Walk("its pages repeat, or are not in the order of creation"));
                }
            },
            Err(Trouble::NoCursor) => match is_there(gate, place.after.as_deref()).await? {
                false => place = place.back(gate),
                true => place = place.by_offset(),
            },
            Err(Trouble::Error(error)) => return Err(error),
        }
    }
}

/// One that cannot be given is no place to go on from either.
async fn is_there(gate: &Gate, provider_id: Option<&str>) -> Result<bool, ResyncError> {
    let Some(provider_id) = provider_id else { return Ok(true) };
    match gate.one(provider_id).await {
        Ok((entry, _)) => Ok(entry.is_some()),
        Err(error) if error.is_of_one_account() => Ok(false),
        Err(error) => Err(error),
    }
}

/// `None` where an offset has left a gap.
async fn fetch(gate: &Gate, place: &WalkPlace) -> Result<Option<Page>, Trouble> {
    let directory = gate.directory();
    let behind = place.offset.is_none() && place.cursor.is_none() && place.after.is_some();
    let request = directory.page(&place.position());
    let asked =
        gate.ask(&request.path, |answer| directory.read_page(&answer.body, gate.layout(), gate.keep())).await;
    let (listed, marked_at) = match asked {
        Ok((Some(listed), marked_at)) => (listed, marked_at),
        Ok((None, marked_at)) => (Listed { entries: Vec::new(), more: More::No }, marked_at),
        Err(ResyncError::Api(error)) if behind && error.is_unprocessable() => return Err(Trouble::NoCursor),
        Err(ResyncError::Api(error)) if behind && error.is_not_found() => return Err(Trouble::Cursor),
        Err(error) if error.is_of_one_account() => return fetch_in_parts(gate, place, &request, error).await,
        Err(error) => return Err(Trouble::Error(error)),
    };
    let Listed { entries, more } = listed;
    if more == More::NoCursor && place.offset.is_none() {
        return Err(Trouble::NoCursor);
    }
    // Behind an id that is gone, a list in the order of ids goes on as well.
    if behind && entries.is_empty() && directory.list_order() == ListOrder::Creation {
        let there = is_there(gate, place.after.as_deref()).await.map_err(Trouble::Error)?;
        if !there {
            return Err(Trouble::Cursor);
        }
    }
    let times: Vec<i64> = entries.iter().filter_map(|entry| entry.created_at).map(Timestamp::ms).collect();
    let place = &place.directed(&times, directory.newest_first());
    let out_of_order = times.windows(2).any(|pair| place.order(pair[0]) > place.order(pair[1]));
    if behind && (out_of_order || (!place.overlaps && entries.iter().any(|entry| place.was_seen(entry)))) {
        return Err(Trouble::Cursor);
    }
    if out_of_order {
        return Err(Trouble::Error(ResyncError::Walk("it is not in the order of creation")));
    }
    let gap = place.offset.is_some()
        && request.start > 0
        && request.start != place.gaps_end
        && entries.first().is_none_or(|first| !place.was_seen(first));
    if gap {
        return Ok(None);
    }
    let mut page = covered(place, &request, entries, more, marked_at).map_err(Trouble::Error)?;
    if directory.lists_since() {
        page.next.trail.clear();
    }
    Ok(Some(page))
}

/// The page from its places, since the API cannot give it whole. From here on the list is walked by offsets.
async fn fetch_in_parts(
    gate: &Gate,
    place: &WalkPlace,
    request: &PageRequest,
    error: ResyncError,
) -> Result<Option<Page>, Trouble> {
    let start = match place.offset {
        Some(_) => request.start,
        None => place.rows.saturating_sub(OVERLAP),
    };
    let asked = in_parts(gate, start, request.size, error).await.map_err(Trouble::Error)?;
    let Parts { start, entries, mut gaps, marked_at, places, is_last } = asked;
    gaps.retain(|gap| gap.place >= place.gaps_end);
    let times: Vec<i64> = entries.iter().filter_map(|entry| entry.created_at).map(Timestamp::ms).collect();
    let place = place.directed(&times, gate.directory().newest_first());
    if times.windows(2).any(|pair| place.order(pair[0]) > place.order(pair[1])) {
        return Err(Trouble::Error(ResyncError::Walk("it is not in the order of creation")));
    }
    let place = WalkPlace { offset: Some(start), overlaps: true, ..place };
    let request = PageRequest { path: String::new(), start, size: places };
    let more = if is_last { More::No } else { More::Yes };
    let mut page = covered(&place, &request, entries, more, marked_at).map_err(Trouble::Error)?;
    if !is_last {
        // Not back over a place that is known to be one: the same would be asked for anew.
        page.next.gaps_end = gaps.last().map_or(place.gaps_end, |gap| gap.place + 1);
        page.next.offset = Some((start + places).saturating_sub(OVERLAP).max(page.next.gaps_end));
        page.next.rows += gaps.len();
    }
    page.gaps = gaps;
    Ok(Some(page))
}

/// What the page has that was not seen, and what follows from its not having more.
fn covered(
    place: &WalkPlace,
    request: &PageRequest,
    entries: Vec<Entry>,
    more: More,
    marked_at: Timestamp,
) -> Result<Page, ResyncError> {
    let is_last = match more {
        More::IfFull | More::NoCursor => entries.len() < request.size,
        More::No => true,
        More::Yes | More::Cursor(_) => false,
    };
    let rows = entries.len();
    let ids: Vec<String> = entries.iter().filter_map(|entry| entry.provider_id.clone()).collect();
    let entries: Vec<Entry> = entries.into_iter().filter(|entry| !place.was_seen(entry)).collect();
    if entries.is_empty() && !is_last && !place.overlaps {
        return Err(ResyncError::Walk("a whole page repeats"));
    }
    let mut next = next_place(place, &entries, ids);
    next.offset = place.offset.map(|_| (request.start + rows).saturating_sub(OVERLAP));
    next.cursor = if let More::Cursor(cursor) = more { Some(cursor) } else { None };
    if next.cursor.is_some() || next.offset.is_some() {
        next.trail.clear();
    }
    let (begin, end) = (place.edge_ms, next.edge_ms.filter(|_| !is_last));
    let (from, to) = match place.newest_first {
        Some(true) => (end, begin),
        _ => (begin, end),
    };
    Ok(Page {
        marked_at,
        from: Timestamp::clamped(from.unwrap_or(0)),
        to: to.map(Timestamp::clamped),
        open_end: end.map(Timestamp::clamped),
        seen_at_edge: place.edge_ids.clone(),
        is_last,
        gaps: Vec::new(),
        // A walk that is over remembers nobody.
        next: if is_last { WalkPlace::default() } else { next },
        entries,
    })
}

/// `ids` are those of the whole page; `entries` those that were not seen.
fn next_place(place: &WalkPlace, entries: &[Entry], mut ids: Vec<String>) -> WalkPlace {
    let times = entries.iter().filter_map(|entry| entry.created_at).map(Timestamp::ms);
    let edge_ms = times.chain(place.edge_ms).max_by_key(|ms| place.order(*ms));
    let mut edge_ids = if edge_ms == place.edge_ms { place.edge_ids.clone() } else { Vec::new() };
    edge_ids.extend(
        entries
            .iter()
            .filter(|entry| entry.created_at.map(Timestamp::ms) == edge_ms)
            .filter_map(|entry| entry.provider_id.clone()),
    );
    edge_ids.drain(..edge_ids.len().saturating_sub(EDGE_IDS_MAX));
    let last = ids.pop();
    ids.drain(..ids.len().saturating_sub(TRAIL_MAX));
    WalkPlace {
        after: last.or_else(|| place.after.clone()),
        trail: ids,
        // Until something new has come, the walk is not where it was.
        overlaps: place.overlaps && entries.is_empty(),
        edge_ms,
        edge_ids,
        rows: place.rows + entries.len(),
        ..place.clone()
    }
}
