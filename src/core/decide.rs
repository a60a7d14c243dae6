//! The heart: what is known and what was said give what to write.
//!
//! Deliveries of one account form a join: the highest (version, event time, content) is kept, and a deletion, once
//! seen, stays. So the order in which they come, and how often, cannot matter (contract, rules 2 and 4).

use super::change::{Change, change_between};
use super::columns::Columns;
use super::event::{Event, EventKind};
use super::known::{
    Account, AccountView, AddressStanding, Deletion, FactSet, HeldValues, Identity, Latest, Sibling, User,
};
use super::layout::{LastSeen, Layout};
use super::merge::merge;
use super::timestamp::Timestamp;
use super::words::Doubt;
use super::words::{DeletedBy, IdentityState};

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
    let (after, verdict, ask) = told(known.identity.as_ref(), event, received_at);
    let (account, change) = account_after(layout, known, after, fresh_id);
    Decision { account, verdict, change, ask }
}

/// What there is to be of the identity alone: its user does not matter to it.
pub fn identity_after(identity: Option<&Identity>, event: &Event, received_at: Timestamp) -> Identity {
    told(identity, event, received_at).0
}

fn told(
    identity: Option<&Identity>,
    event: &Event,
    received_at: Timestamp,
) -> (Identity, Verdict, Option<Doubt>) {
    match &event.kind {
        EventKind::Delete => {
            let at = event.occurred_at.unwrap_or(received_at);
            let deletion = Deletion { at, received_at, by: DeletedBy::Event, soft: false };
            (deleted(identity, deletion), Verdict::Applied, None)
        }
        EventKind::Upsert(snapshot) => {
            let latest = Latest { snapshot: snapshot.clone(), occurred_at: event.occurred_at, read_at: None };
            upsert(identity, latest, received_at, event.version_may_go_back)
        }
    }
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
    let before = known.user.as_ref().filter(|_| !known.needs_announcement);
    let change = user.as_ref().and_then(|after| change_between(layout, before, after));
    let (key, siblings, standing) = (known.key.clone(), known.siblings.clone(), known.standing.clone());
    let address = match &known.address {
        AddressStanding::Awaited(_) if user.is_some() => AddressStanding::Free,
        standing => standing.clone(),
    };
    (
        Account { key, identity: Some(identity), user, siblings, address, standing, ..Account::default() },
        change,
    )
}

/// Of several deletions the earliest time counts, and that which was received last; a delivery's word over a sweep's.
pub(super) fn deleted(known: Option<&Identity>, new: Deletion) -> Identity {
    // A version that said so is no word on when it ended for good.
    let tombstone = known.and_then(|identity| identity.deletion).filter(|deletion| !deletion.soft);
    let deletion = match tombstone {
        None => new,
        Some(before) => Deletion {
            at: before.at.min(new.at),
            received_at: before.received_at.max(new.received_at),
            by: match (before.by, new.by) {
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
    new: Latest,
    received_at: Timestamp,
    version_may_go_back: bool,
) -> (Identity, Verdict, Option<Doubt>) {
    let Some(known) = known else {
        return (new.into_identity(None, received_at), Verdict::Applied, None);
    };
    let erased = known.deletion.is_some_and(|deletion| deletion.by == DeletedBy::Erase);
    let Some(latest) = known.latest.as_ref().filter(|_| !erased) else {
        // A tombstone alone, or nothing at all.
        return match known.deletion {
            Some(_) if erased => (known.clone(), Verdict::Stale, None),
            Some(_) => (Identity { latest: Some(new), ..known.clone() }, Verdict::Stale, None),
            None => (new.into_identity(known.replaced_version, received_at), Verdict::Applied, None),
        };
    };
    let (version, content) = (new.snapshot.version, &new.snapshot.profile);
    let same_version = version == latest.snapshot.version;
    let identical = same_version && *content == latest.snapshot.profile;
    let doubt = if !identical && known.replaced_version.is_some_and(|replaced| version <= replaced) {
        Some(Doubt::Replaced)
    } else if same_version
        && !identical
        && (latest.read_at.is_some() || latest.occurred_at == new.occurred_at)
    {
        Some(Doubt::Contested)
    } else if version_may_go_back && version < latest.snapshot.version {
        Some(Doubt::Overtaken)
    } else {
        None
    };
    let by_read = same_version && latest.read_at.is_some();
    let higher = latest.rank() < new.rank() && !by_read && doubt != Some(Doubt::Replaced);
    let same = identical && (by_read || latest.rank() == new.rank());
    let deleted = known.deletion.is_some_and(|deletion| !deletion.soft);
    let after = match (higher, deleted) {
        (false, _) => known.clone(),
        (true, false) => new.into_identity(known.replaced_version, received_at),
        (true, true) => Identity { latest: Some(new), ..known.clone() },
    };
    let verdict = if !deleted && (higher || same) { Verdict::Applied } else { Verdict::Stale };
    (after, verdict, doubt.filter(|_| !deleted))
}

fn user_after(layout: &Layout, known: &Account, identity: &Identity, fresh_id: &str) -> Option<User> {
    let row = known.user.as_ref();
    let after = merge(layout, views(known, Some(identity)), row.map(|user| &user.columns));
    let deleted = after.deleted_at.is_some();
    let (id, columns, kept) = match (row, &after.columns) {
        // A person of whom nothing but the end is known needs no row.
        (None, None) => return None,
        (None, Some(_)) if matches!(known.address, AddressStanding::Awaited(_)) => return None,
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
        held: HeldValues::default(),
        unreadable: FactSet::default(),
    })
}

/// What the user's accounts say together; `None` where none has said anything.
pub(super) fn spoken(layout: &Layout, known: &Account) -> Option<Columns> {
    merge(layout, views(known, known.identity.as_ref()), None).columns
}

/// The user's accounts, this one as `identity`.
fn views<'a>(known: &'a Account, identity: Option<&'a Identity>) -> Vec<AccountView<'a>> {
    let own = identity.map(|identity| AccountView { key: &known.key, identity, standing: &known.standing });
    own.into_iter().chain(known.siblings.iter().map(Sibling::view)).collect()
}

/// What the sources said before; `None` where the row was nobody's.
fn before(layout: &Layout, known: &Account, user: &User) -> Option<LastSeen> {
    let own = known.identity.as_ref().filter(|_| !known.linked_now);
    let views = views(known, own);
    if views.is_empty() {
        return None;
    }
    // Without a snapshot there are at most hints.
    let hints = views.iter().find_map(|view| view.identity.hints.clone());
    // One alone says nothing else by itself than it says together.
    let several = views.iter().filter(|_| views.len() > 1);
    let each = several.filter_map(AccountView::columns).cloned().collect();
    let merged = merge(layout, views, Some(&user.columns)).columns;
    if merged.is_none() && known.linked_now && hints.is_none() {
        return None;
    }
    let mut merged = merged.or(hints).unwrap_or_default();
    // What is held back was never put there: its column follows as long as it holds what it did.
    for (column, instead) in &user.held.instead {
        merged.set(*column, instead.clone());
    }
    Some(LastSeen { merged, each })
}

#[cfg(test)]
mod tests;
