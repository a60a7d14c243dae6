//! The heart: what is known and what was said give what to write.
//!
//! Deliveries of one account form a join: the highest (version, event time, content) is kept, and a deletion, once
//! seen, stays. So the order in which they come, and how often, cannot matter (contract, rules 2 and 4).

use super::account::{DeletedBy, IdentityState};
use super::change::{Change, change_between};
use super::columns::{Cell, Column, ColumnSet, Columns};
use super::event::{Event, EventKind, IdentityKey, Snapshot};
use super::layout::{Before, Layout};
use super::timestamp::Timestamp;
use super::together::{Sibling, Standing, Voice, together};
use std::collections::BTreeMap;

/// What headcount knows of one account: its identity, and the user that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub key: IdentityKey,
    /// `None` until the account is first heard of.
    pub identity: Option<Identity>,
    /// `None` where there is a tombstone without a user, or nothing yet.
    pub user: Option<User>,
    /// The user was there before the account was, and no snapshot has come since it has become its own.
    pub linked_now: bool,
    /// The application has made the row by a statement of its own, and the feed has not told of it yet.
    pub unannounced: bool,
    /// The user's other accounts: the end of this one is not the user's where one of them lives.
    pub siblings: Vec<Sibling>,
}

/// What is kept of one account at one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub state: IdentityState,
    /// The highest snapshot that was seen; `None` where only a deletion was.
    pub latest: Option<Latest>,
    /// Present where the state is deleted, and only there.
    pub deletion: Option<Deletion>,
    /// The version that confirmed reads have gone back behind: deliveries at or below it only cause a read.
    pub replaced_version: Option<i64>,
    /// What the application knew of the person before anything came from the provider: the first snapshot replaces it.
    pub hints: Option<Columns>,
}

/// How an account ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The earliest time that anybody named.
    pub at: Timestamp,
    /// When headcount last heard of it, by the database's clock: only reads marked later can revive.
    pub received_at: Timestamp,
    pub by: DeletedBy,
    /// The latest snapshot says it, and a later one may take it back. Anything else is a tombstone.
    pub soft: bool,
}

/// The highest snapshot and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    pub snapshot: Snapshot,
    /// When the delivery says that it came about.
    pub occurred_at: Option<Timestamp>,
    /// The mark of the read that brought it; `None` where a delivery did.
    pub read_at: Option<Timestamp>,
}

impl Latest {
    /// The identity that follows from this being the latest. `heard_at` is when headcount was told.
    pub(super) fn into_identity(self, replaced_version: Option<i64>, heard_at: Timestamp) -> Identity {
        let deletion = self.snapshot.ended_at.map(|at| Deletion {
            at,
            received_at: heard_at,
            by: DeletedBy::Event,
            soft: true,
        });
        Identity {
            state: match (deletion, self.snapshot.suspended) {
                (Some(_), _) => IdentityState::Deleted,
                (None, true) => IdentityState::Suspended,
                (None, false) => IdentityState::Present,
            },
            // Forgotten once the source has gone past it.
            replaced_version: replaced_version.filter(|replaced| *replaced >= self.snapshot.version),
            latest: Some(self),
            deletion,
            hints: None,
        }
    }

    fn rank(&self) -> (i64, Option<Timestamp>, &str) {
        (self.snapshot.version, self.occurred_at, &self.snapshot.profile)
    }
}

/// The row of `users`, as far as headcount writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub columns: Columns,
    pub deleted_at: Option<Timestamp>,
    pub suspended_by_source: bool,
    /// A ban of the application's own: no source lifts it.
    pub suspended_by_app: bool,
    pub provisional: bool,
    /// What these columns hold stays, whatever the provider says: the application has set them by a call, or they held
    /// it when the row was linked and nobody has declared who owns them.
    pub kept: ColumnSet,
    pub held: Held,
}

/// What the database did not let into the row (contract, rule 11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The columns that lack a value, and what they held in its place when it was held back.
    pub instead: BTreeMap<Column, Cell>,
    /// Deletion or suspension could not be written either.
    pub facts: bool,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.instead.is_empty() && !self.facts
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what is known now.
    Applied,
    /// Something higher, or a deletion, was known already.
    Stale,
}

/// The account after the event, what became of the event, and what the feed says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub account: Account,
    pub verdict: Verdict,
    pub change: Option<Change>,
    /// Deliveries alone cannot tell: the source is to be asked as well.
    pub ask: Option<Doubt>,
}

/// Why an account is to be read (again) by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Two contents under one version and one event time, or a delivery beside a read of the same version.
    Contested,
    /// A delivery at or below a version that confirmed reads went back behind.
    Replaced,
    /// A read of a lower version than is known.
    Older,
    /// A version more than a day in the future.
    Future,
    /// A tombstone that the source shows alive.
    Revival,
    /// Known here, and absent from the source's list or answered 404.
    Missing,
    /// The database refused the row, or somebody else held it.
    Unwritten,
    /// Somebody asked for it.
    Asked,
}

impl Doubt {
    pub const ALL: [Doubt; 8] = [
        Doubt::Contested,
        Doubt::Replaced,
        Doubt::Older,
        Doubt::Future,
        Doubt::Revival,
        Doubt::Missing,
        Doubt::Unwritten,
        Doubt::Asked,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Doubt::Contested => "contested",
            Doubt::Replaced => "replaced",
            Doubt::Older => "older",
            Doubt::Future => "future",
            Doubt::Revival => "revival",
            Doubt::Missing => "missing",
            Doubt::Unwritten => "unwritten",
            Doubt::Asked => "asked",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|doubt| doubt.name() == name)
    }
}

/// Decides one event.
///
/// `received_at` stands in for the time of a deletion whose delivery names none; `fresh_id` becomes the id of the
/// user where this event is the first to need one.
pub fn decide(
    layout: &Layout,
    known: &Account,
    event: &Event,
    received_at: Timestamp,
    fresh_id: &str,
) -> Decision {
    let identity = known.identity.as_ref();
    let (after, verdict, ask) = match &event.kind {
        EventKind::Delete => {
            let at = event.occurred_at.unwrap_or(received_at);
            let deletion = Deletion { at, received_at, by: DeletedBy::Event, soft: false };
            (deleted(identity, deletion), Verdict::Applied, None)
        }
        EventKind::Upsert(snapshot) => {
            let said = Latest { snapshot: snapshot.clone(), occurred_at: event.occurred_at, read_at: None };
            upsert(identity, said, received_at)
        }
    };
    let (account, change) = account_after(layout, known, after, fresh_id);
    Decision { account, verdict, change, ask }
}

/// What there is to be of an account of which nothing new was heard: values that were held back are tried again.
pub fn again(layout: &Layout, known: &Account, fresh_id: &str) -> (Account, Option<Change>) {
    match &known.identity {
        Some(identity) => account_after(layout, known, identity.clone(), fresh_id),
        None => (known.clone(), None),
    }
}

/// The account whose ban has ended by itself, as its source said that it would.
pub fn ban_over(layout: &Layout, known: &Account, now: Timestamp) -> (Account, Option<Change>) {
    let is_over = |identity: &Identity| {
        let until = identity.latest.as_ref().and_then(|latest| latest.snapshot.suspended_until);
        identity.state == IdentityState::Suspended && until.is_some_and(|until| until <= now)
    };
    match &known.identity {
        Some(identity) if is_over(identity) => {
            let free = Identity { state: IdentityState::Present, ..identity.clone() };
            account_after(layout, known, free, "")
        }
        _ => (known.clone(), None),
    }
}

/// The account with this identity, and what the feed says about the way there.
pub(super) fn account_after(
    layout: &Layout,
    known: &Account,
    identity: Identity,
    fresh_id: &str,
) -> (Account, Option<Change>) {
    let user = user_after(layout, known, &identity, fresh_id);
    let before = known.user.as_ref().filter(|_| !known.unannounced);
    let change = user.as_ref().and_then(|after| change_between(layout, before, after));
    let (key, siblings) = (known.key.clone(), known.siblings.clone());
    (Account { key, identity: Some(identity), user, siblings, ..Account::default() }, change)
}

/// Of several deletions the earliest time counts, and that which was received last; a delivery's word over a sweep's.
pub(super) fn deleted(known: Option<&Identity>, said: Deletion) -> Identity {
    // A version that said so is no word on when it ended for good.
    let tombstone = known.and_then(|identity| identity.deletion).filter(|deletion| !deletion.soft);
    let deletion = match tombstone {
        None => said,
        Some(before) => Deletion {
            at: before.at.min(said.at),
            received_at: before.received_at.max(said.received_at),
            by: match (before.by, said.by) {
                (DeletedBy::Erase, _) => DeletedBy::Erase,
                (DeletedBy::Event, _) => DeletedBy::Event,
                (DeletedBy::Sweep, by) => by,
            },
            soft: false,
        },
    };
    Identity {
        state: IdentityState::Deleted,
        latest: known.and_then(|identity| identity.latest.clone()),
        deletion: Some(deletion),
        replaced_version: known.and_then(|identity| identity.replaced_version),
        hints: None,
    }
}

/// A snapshot of a deleted account is remembered where it is the highest, as it would have been had it come in time,
/// but it is stale all the same: it brings nobody back.
///
/// What a read has brought is the source's own word: a delivery of the same version cannot gainsay it, only have it
/// asked again.
fn upsert(
    known: Option<&Identity>,
    said: Latest,
    received_at: Timestamp,
) -> (Identity, Verdict, Option<Doubt>) {
    let Some(known) = known else {
        return (said.into_identity(None, received_at), Verdict::Applied, None);
    };
    let erased = known.deletion.is_some_and(|deletion| deletion.by == DeletedBy::Erase);
    let Some(latest) = known.latest.as_ref().filter(|_| !erased) else {
        // A tombstone alone, or nothing at all.
        return match known.deletion {
            Some(_) if erased => (known.clone(), Verdict::Stale, None),
            Some(_) => (Identity { latest: Some(said), ..known.clone() }, Verdict::Stale, None),
            None => (said.into_identity(known.replaced_version, received_at), Verdict::Applied, None),
        };
    };
    let (version, content) = (said.snapshot.version, &said.snapshot.profile);
    let same_version = version == latest.snapshot.version;
    let identical = same_version && *content == latest.snapshot.profile;
    let doubt = if !identical && known.replaced_version.is_some_and(|replaced| version <= replaced) {
        Some(Doubt::Replaced)
    } else if same_version
        && !identical
        && (latest.read_at.is_some() || latest.occurred_at == said.occurred_at)
    {
        Some(Doubt::Contested)
    } else {
        None
    };
    let by_read = same_version && latest.read_at.is_some();
    let higher = latest.rank() < said.rank() && !by_read && doubt != Some(Doubt::Replaced);
    let same = identical && (by_read || latest.rank() == said.rank());
    let deleted = known.deletion.is_some_and(|deletion| !deletion.soft);
    let after = match (higher, deleted) {
        (false, _) => known.clone(),
        (true, false) => said.into_identity(known.replaced_version, received_at),
        (true, true) => Identity { latest: Some(said), ..known.clone() },
    };
    let verdict = if !deleted && (higher || same) { Verdict::Applied } else { Verdict::Stale };
    (after, verdict, doubt.filter(|_| !deleted))
}

fn user_after(layout: &Layout, known: &Account, identity: &Identity, fresh_id: &str) -> Option<User> {
    let row = known.user.as_ref();
    let after = together(layout, voices(known, Some(identity)), row.map(|user| &user.columns));
    let deleted = after.deleted_at.is_some();
    let (id, columns, kept) = match (row, &after.columns) {
        // A person of whom nothing but the end is known needs no row.
        (None, None) => return None,
        (None, Some(after)) => {
            let (columns, kept) = layout.follow_first(&Columns::default(), after);
            (fresh_id.to_owned(), columns, kept)
        }
        (Some(user), None) => (user.id.clone(), user.columns.clone(), user.kept),
        (Some(user), Some(after)) => {
            let (columns, kept) = match before(layout, known, user) {
                None => layout.follow_first(&user.columns, after),
                Some(before) => layout.follow(&user.columns, user.kept, &before, after),
            };
            (user.id.clone(), columns, kept)
        }
    };
    Some(User {
        id,
        // Freed whoever wrote it: somebody else may need the name now.
        kept: if deleted { layout.kept_of_deleted(kept) } else { kept },
        columns: if deleted { layout.freed(&columns) } else { columns },
        deleted_at: after.deleted_at,
        suspended_by_source: after.suspended,
        suspended_by_app: row.is_some_and(|user| user.suspended_by_app),
        provisional: after.provisional,
        held: Held::default(),
    })
}

/// The user's accounts, this one as `identity`.
fn voices<'a>(known: &'a Account, identity: Option<&'a Identity>) -> Vec<Voice<'a>> {
    let own = identity.map(|identity| Voice { key: &known.key, identity, standing: Standing::Active });
    own.into_iter().chain(known.siblings.iter().map(Sibling::voice)).collect()
}

/// What the sources said before; `None` where the row was nobody's.
fn before(layout: &Layout, known: &Account, user: &User) -> Option<Before> {
    let own = known.identity.as_ref().filter(|_| !known.linked_now);
    let voices = voices(known, own);
    if voices.is_empty() {
        return None;
    }
    // Without a snapshot there are at most hints.
    let hints = voices.iter().find_map(|voice| voice.identity.hints.clone());
    // One alone says nothing else by itself than it says together.
    let several = voices.iter().filter(|_| voices.len() > 1);
    let each = several.filter_map(Voice::columns).cloned().collect();
    let said = together(layout, voices, Some(&user.columns)).columns;
    if said.is_none() && known.linked_now && hints.is_none() {
        return None;
    }
    let mut said = said.or(hints).unwrap_or_default();
    // What is held back was never put there: its column follows as long as it holds what it did.
    for (column, instead) in &user.held.instead {
        said.set(*column, instead.clone());
    }
    Some(Before { said, each })
}

#[cfg(test)]
mod tests;
