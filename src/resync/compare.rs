//! A page against what is known: who is as the source has them, who differs, and who is known but not there.

use super::walk::Page;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::read::{Observation, Reading, is_future};
use crate::core::timestamp::Timestamp;
use crate::intake::odd_user;
use crate::source::Source;
use crate::source::directory::Entry;
use crate::store::{Known, NewDelivery, RangeEnd, Store, StoreError, UsersTable};
use std::collections::{BTreeMap, HashSet};

/// Known accounts that are read at once.
const SLICE: i64 = 2_000;

/// What comparing a page has found.
#[derive(Default)]
pub(super) struct Compared {
    /// Accounts on the page.
    pub seen: u64,
    pub unchanged: u64,
    /// One that was known and is there: it must answer 200 while others answer 404.
    pub witness: Option<String>,
    pub differing: Vec<(IdentityKey, Reading)>,
    /// Of those, accounts that were never heard of.
    pub unseen: u64,
    pub missing: Vec<IdentityKey>,
    /// Users that cannot be understood.
    pub odd: Vec<NewDelivery>,
    /// The highest version on the page.
    pub version_max: Option<i64>,
}

struct Comparison<'a> {
    source: &'a Source,
    users: &'a UsersTable,
    marked_at: Timestamp,
    open: BTreeMap<&'a str, &'a Snapshot>,
    compared: Compared,
}

/// Compares a page of the walk with the accounts of the times that it covers.
pub(super) async fn compare_range(
    store: &Store,
    source: &Source,
    page: &Page,
) -> Result<Compared, StoreError> {
    let mut comparison = Comparison::new(store, source, &page.entries, page.marked_at);
    // On the page, understood or not: not missing.
    let mut there: HashSet<&str> =
        page.entries.iter().filter_map(|entry| entry.provider_id.as_deref()).collect();
    there.extend(page.seen_at_edge.iter().map(String::as_str));
    let open_end = page.open_end.map(|end| end.to_string());
    let mut after: Option<RangeEnd> = None;
    loop {
        let slice = store.known_between(&source.name, page.range(), after.as_ref(), SLICE).await?;
        after = slice.last().map(|last| (last.created_at.clone(), last.provider_id.clone()));
        let is_last = (slice.len() as i64) < SLICE;
        for known in slice {
            // At the very end of the range the next page may have it.
            let may_follow = open_end.as_ref() == Some(&known.created_at);
            let is_missing = !there.contains(known.provider_id.as_str()) && !may_follow && !known.deleted;
            match is_missing {
                true => comparison.compared.missing.push(key(source, &known.provider_id)),
                false => comparison.compare_known(known),
            }
        }
        if is_last {
            break;
        }
    }
    comparison.finish(store).await
}

/// Compares a page of newest changes with what is known of its accounts.
pub(super) async fn compare_ids(
    store: &Store,
    source: &Source,
    entries: &[Entry],
    marked_at: Timestamp,
) -> Result<Compared, StoreError> {
    Comparison::new(store, source, entries, marked_at).finish(store).await
}

impl<'a> Comparison<'a> {
    fn new(store: &'a Store, source: &'a Source, entries: &'a [Entry], marked_at: Timestamp) -> Self {
        let mut open = BTreeMap::new();
        let mut compared = Compared { seen: entries.len() as u64, ..Compared::default() };
        for entry in entries {
            match (&entry.provider_id, &entry.snapshot) {
                (Some(id), Ok(snapshot)) => {
                    // One from next week would hide everything until then.
                    let version = (!is_future(snapshot, marked_at)).then_some(snapshot.version);
                    compared.version_max = compared.version_max.max(version);
                    open.insert(id.as_str(), snapshot);
                }
                _ => compared.odd.extend(odd_user(source, entry, marked_at)),
            }
        }
        Self { source, users: store.users_table(), marked_at, open, compared }
    }

    fn compare_known(&mut self, known: Known) {
        let Some(snapshot) = self.open.remove(known.provider_id.as_str()) else { return };
        let (row, is_over) = (known.row.as_ref(), snapshot.ended_at.is_some());
        let same = known.deleted == is_over
            && known.version == Some(snapshot.version)
            && known.profile.as_deref().is_some_and(|profile| self.is_same(profile, &snapshot.profile))
            && row.is_some_and(|row| {
                is_over || self.users.is_as_expected(row, &snapshot.columns, snapshot.suspended)
            });
        if !known.deleted && self.compared.witness.is_none() {
            self.compared.witness = Some(known.provider_id.clone());
        }
        if same {
            self.compared.unchanged += 1;
        } else {
            let reading = self.reading(snapshot);
            self.compared.differing.push((key(self.source, &known.provider_id), reading));
        }
    }

    /// What an older version has stored may hold more than may be kept now.
    fn is_same(&self, stored: &str, read: &str) -> bool {
        stored == read || self.source.keep.stripped(stored).as_deref() == Some(read)
    }

    /// Who is left was not found by the creation time: looked up by id, and new where that finds nothing either.
    async fn finish(mut self, store: &Store) -> Result<Compared, StoreError> {
        let left: Vec<String> = self.open.keys().map(|id| (*id).to_owned()).collect();
        for known in store.known_of(&self.source.name, &left).await? {
            self.compare_known(known);
        }
        self.compared.unseen += self.open.len() as u64;
        let new: Vec<(IdentityKey, Reading)> =
            self.open.iter().map(|(id, snapshot)| (key(self.source, id), self.reading(snapshot))).collect();
        self.compared.differing.extend(new);
        // Whoever locks several accounts does so in this order.
        self.compared.differing.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(self.compared)
    }

    fn reading(&self, snapshot: &Snapshot) -> Reading {
        Reading {
            observed: Observation::Present(snapshot.clone()),
            marked_at: self.marked_at,
            is_of_the_row: false,
        }
    }
}

pub(super) fn key(source: &Source, provider_id: &str) -> IdentityKey {
    IdentityKey { source: source.name.clone(), provider_id: provider_id.to_owned() }
}
