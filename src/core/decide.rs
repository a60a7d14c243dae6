//! The heart: what is known and what was said give what to write.
//!
//! Deliveries of one account form a join: the highest (version, event time, content) is kept, and a deletion, once
//! seen, stays. So the order in which they come, and how often, cannot matter (contract, rules 2 and 4).

use super::account::IdentityState;
use super::columns::{Columns, follow};
use super::event::{Event, EventKind, Snapshot};
use super::timestamp::Timestamp;

/// What headcount knows of one account: its identity, and the user that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// `None` until the account is first heard of.
    pub identity: Option<Identity>,
    /// `None` where there is a tombstone without a user, or nothing yet.
    pub user: Option<User>,
}

/// What is kept of one account at one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub state: IdentityState,
    /// The highest snapshot that was seen; `None` where only a deletion was.
    pub latest: Option<Latest>,
    pub deleted_at: Option<Timestamp>,
}

/// The highest snapshot and when the delivery says that it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    pub snapshot: Snapshot,
    pub occurred_at: Option<Timestamp>,
}

impl Latest {
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
    pub provisional: bool,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what is known now.
    Applied,
    /// Something higher, or a deletion, was known already.
    Stale,
}

/// What happened to the user (`changes.kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Created,
    Updated,
    Deleted,
}

impl ChangeKind {
    pub fn name(self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Updated => "updated",
            ChangeKind::Deleted => "deleted",
        }
    }
}

/// One entry of the feed, without its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub user_id: String,
    pub kind: ChangeKind,
    /// Names of columns of `users`.
    pub changed: Vec<&'static str>,
}

/// The account after the event, what became of the event, and what the feed says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub account: Account,
    pub verdict: Verdict,
    pub change: Option<Change>,
}

/// Decides one event.
///
/// `received_at` stands in for the time of a deletion whose delivery names none; `fresh_id` becomes the id of the
/// user where this event is the first to need one.
pub fn decide(known: &Account, event: &Event, received_at: Timestamp, fresh_id: &str) -> Decision {
    let (identity, verdict) = match &event.kind {
        EventKind::Delete => delete(known.identity.as_ref(), event.occurred_at.unwrap_or(received_at)),
        EventKind::Upsert(snapshot) => upsert(
            known.identity.as_ref(),
            Latest { snapshot: snapshot.clone(), occurred_at: event.occurred_at },
        ),
    };
    let user = user_after(known, &identity, fresh_id);
    let change = user.as_ref().and_then(|after| change_between(known.user.as_ref(), after));
    Decision { account: Account { identity: Some(identity), user }, verdict, change }
}

/// The earliest of an account's deletions is the one that is dated.
fn delete(known: Option<&Identity>, at: Timestamp) -> (Identity, Verdict) {
    let earliest = known.and_then(|identity| identity.deleted_at).map_or(at, |before| before.min(at));
    let identity = Identity {
        state: IdentityState::Deleted,
        latest: known.and_then(|identity| identity.latest.clone()),
        deleted_at: Some(earliest),
    };
    (identity, Verdict::Applied)
}

/// A snapshot of a deleted account is remembered where it is the highest, as it would have been had it come in time,
/// but it is stale all the same: it brings nobody back.
fn upsert(known: Option<&Identity>, said: Latest) -> (Identity, Verdict) {
    let Some(known) = known else {
        return (present(said), Verdict::Applied);
    };
    let higher = known.latest.as_ref().is_none_or(|latest| latest.rank() < said.rank());
    let same = known.latest.as_ref().is_some_and(|latest| latest.rank() == said.rank());
    let deleted = known.state == IdentityState::Deleted;
    let identity = match (higher, deleted) {
        (false, _) => known.clone(),
        (true, false) => present(said),
        (true, true) => Identity { latest: Some(said), ..known.clone() },
    };
    let verdict = if !deleted && (higher || same) { Verdict::Applied } else { Verdict::Stale };
    (identity, verdict)
}

fn present(latest: Latest) -> Identity {
    Identity {
        state: if latest.snapshot.suspended { IdentityState::Suspended } else { IdentityState::Present },
        latest: Some(latest),
        deleted_at: None,
    }
}

/// What the identity says for the row: nothing where no snapshot was seen.
fn projection(identity: &Identity) -> Option<Columns> {
    let columns = &identity.latest.as_ref()?.snapshot.columns;
    Some(match identity.state {
        IdentityState::Deleted => columns.after_deletion(),
        IdentityState::Present | IdentityState::Suspended => columns.clone(),
    })
}

fn user_after(known: &Account, identity: &Identity, fresh_id: &str) -> Option<User> {
    let deleted = identity.state == IdentityState::Deleted;
    let (id, row, before) = match &known.user {
        Some(user) => {
            let before = known.identity.as_ref().and_then(projection);
            (user.id.clone(), user.columns.clone(), before.unwrap_or_default())
        }
        // A person of whom nothing but the end is known needs no row.
        None => (fresh_id.to_owned(), projection(identity)?, projection(identity)?),
    };
    let after = projection(identity);
    let mut columns = match &after {
        Some(after) => follow(&row, &before, after),
        None => row,
    };
    if deleted {
        // Freed whoever wrote it: somebody else may need the name now.
        columns = columns.after_deletion();
    }
    Some(User {
        id,
        columns,
        deleted_at: identity.deleted_at,
        suspended_by_source: identity.state == IdentityState::Suspended,
        provisional: after.is_none() && known.user.as_ref().is_some_and(|user| user.provisional),
    })
}

fn change_between(before: Option<&User>, after: &User) -> Option<Change> {
    let state_of = |user: &User| (user.deleted_at.is_some(), user.suspended_by_source, user.provisional);
    let none = Columns::default();
    let mut changed: Vec<&'static str> = before
        .map_or(&none, |user| &user.columns)
        .differing(&after.columns)
        .map(|column| column.name())
        .collect();
    if before.map(state_of) != Some(state_of(after)) {
        changed.push("account_state");
    }
    if before.and_then(|user| user.deleted_at) != after.deleted_at {
        changed.push("deleted_at");
    }
    if changed.is_empty() {
        return None;
    }
    let was_deleted = before.is_some_and(|user| user.deleted_at.is_some());
    let kind = match (before, after.deleted_at) {
        (_, Some(_)) if !was_deleted => ChangeKind::Deleted,
        (None, _) => ChangeKind::Created,
        _ => ChangeKind::Updated,
    };
    Some(Change { user_id: after.id.clone(), kind, changed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::columns::Column;
    use crate::core::event::IdentityKey;

    fn at(ms: i64) -> Timestamp {
        Timestamp::clamped(ms)
    }

    fn event(kind: EventKind, occurred_ms: i64) -> Event {
        Event {
            key: IdentityKey { source: "clerk".into(), provider_id: "user_1".into() },
            occurred_at: Some(at(occurred_ms)),
            kind,
        }
    }

    fn named(version: i64, email: &str) -> EventKind {
        let mut columns = Columns::default();
        columns.set(Column::Email, Some(email.into()));
        columns.set(Column::EmailVerified, Some("true".into()));
        EventKind::Upsert(Snapshot {
            version,
            profile: format!("{{\"email\":\"{email}\"}}"),
            columns,
            suspended: false,
        })
    }

    fn fold(events: &[Event]) -> (Account, Vec<Verdict>) {
        let mut account = Account::default();
        let mut verdicts = Vec::new();
        for event in events {
            let decision = decide(&account, event, at(9_000), "id-1");
            account = decision.account;
            verdicts.push(decision.verdict);
        }
        (account, verdicts)
    }

    fn email(account: &Account) -> Option<&str> {
        account.user.as_ref().unwrap().columns.get(Column::Email)
    }

    #[test]
    fn the_first_snapshot_makes_the_user() {
        let decision = decide(&Account::default(), &event(named(1, "a@example.com"), 1), at(5), "id-1");
        let change = decision.change.unwrap();
        assert_eq!(decision.verdict, Verdict::Applied);
        assert_eq!(change.kind, ChangeKind::Created);
        assert_eq!(change.changed, ["email", "email_verified", "account_state"]);
    }

    #[test]
    fn an_older_version_and_an_older_event_of_the_same_version_are_stale() {
        let (account, verdicts) = fold(&[
            event(named(5, "new@example.com"), 50),
            event(named(4, "old@example.com"), 60),
            event(named(5, "earlier@example.com"), 40),
            event(named(5, "new@example.com"), 50),
        ]);
        assert_eq!(email(&account), Some("new@example.com"));
        assert_eq!(verdicts, [Verdict::Applied, Verdict::Stale, Verdict::Stale, Verdict::Applied]);
    }

    #[test]
    fn a_version_that_changes_nothing_makes_no_change() {
        let (account, _) = fold(&[event(named(1, "a@example.com"), 1)]);
        let decision = decide(&account, &event(named(2, "a@example.com"), 2), at(5), "id-2");
        assert_eq!(decision.verdict, Verdict::Applied);
        assert_eq!(decision.change, None);
        assert_eq!(decision.account.user, account.user);
        assert_ne!(decision.account.identity, account.identity);
    }

    #[test]
    fn a_deletion_frees_the_address_and_nothing_brings_the_person_back() {
        let created = event(named(1, "a@example.com"), 1);
        let deleted = event(EventKind::Delete, 2);
        let late = event(named(9, "late@example.com"), 9);
        let (account, verdicts) = fold(&[created.clone(), deleted.clone(), late.clone()]);
        assert_eq!(email(&account), None);
        assert_eq!(account.user.as_ref().unwrap().deleted_at, Some(at(2)));
        assert_eq!(verdicts[2], Verdict::Stale);
        for order in [[late.clone(), deleted.clone(), created.clone()], [deleted, late, created]] {
            assert_eq!(fold(&order).0, account);
        }
    }

    #[test]
    fn a_deletion_alone_leaves_a_tombstone_and_no_user() {
        let (account, _) = fold(&[event(EventKind::Delete, 7), event(EventKind::Delete, 3)]);
        assert_eq!(account.user, None);
        assert_eq!(account.identity.unwrap().deleted_at, Some(at(3)));
    }
}
