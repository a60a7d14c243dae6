//! What is known of an account, its user and its other accounts, as values. The rules about them are in the other files.

use super::columns::{Cell, Column, ColumnSet, Columns};
use super::event::{IdentityKey, Snapshot};
use super::timestamp::Timestamp;
use super::words::{DeletedBy, IdentityState};
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
    pub needs_announcement: bool,
    /// The user's other accounts: the end of this one is not the user's where one of them lives.
    pub siblings: Vec<Sibling>,
    pub address: AddressStanding,
    pub standing: SourceStanding,
}

/// How an account's address stands among the users, where its source links by addresses (contract, rule 10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressStanding {
    /// Nothing follows from it.
    #[default]
    Free,
    /// This address, as it is compared, is another user's, and the source has not verified it: no user is made.
    Awaited(String),
    /// The account had a user of its own when its first snapshot named the address of this other user.
    Collides(String),
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

    pub(super) fn rank(&self) -> (i64, Option<Timestamp>, &str) {
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
    pub held: HeldValues,
    /// Facts whose cells hold what headcount never writes: the application has. They read as if they were absent, and
    /// are never in a row that was decided, so that the cells are written anew.
    pub unreadable: FactSet,
}

/// What a row says of its user besides the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    DeletedAt,
    SuspendedBySource,
    SuspendedByApp,
    Provisional,
    Kept,
}

impl Fact {
    pub const ALL: [Fact; 5] =
        [Fact::DeletedAt, Fact::SuspendedBySource, Fact::SuspendedByApp, Fact::Provisional, Fact::Kept];

    /// What its column is called.
    pub const fn name(self) -> &'static str {
        match self {
            Fact::DeletedAt => "deleted_at",
            Fact::SuspendedBySource => "suspended_by_source",
            Fact::SuspendedByApp => "suspended_by_app",
            Fact::Provisional => "provisional",
            Fact::Kept => "kept",
        }
    }
}

/// Some facts of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactSet(u8);

impl FactSet {
    pub fn insert(&mut self, fact: Fact) {
        self.0 |= 1 << fact as u8;
    }

    pub fn contains(self, fact: Fact) -> bool {
        self.0 & (1 << fact as u8) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Fact> {
        Fact::ALL.into_iter().filter(move |&fact| self.contains(fact))
    }
}

/// What the database did not let into the row (contract, rule 11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldValues {
    /// The columns that lack a value, and what they held in its place when it was held back.
    pub instead: BTreeMap<Column, Cell>,
    /// Deletion or suspension could not be written either.
    pub facts: bool,
}

impl HeldValues {
    pub fn is_empty(&self) -> bool {
        self.instead.is_empty() && !self.facts
    }
}

/// Whose word counts first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// Names of sources, for all columns without an order of their own.
    pub order: Vec<String>,
    /// By the column's name. Who is not in it comes behind, in the order of all.
    pub by_column: BTreeMap<String, Vec<String>>,
    pub suspension: SuspensionRule,
}

/// Whose ban suspends a user who has accounts at several sources (contract, rule 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuspensionRule {
    /// That of every source that is configured and not retired, where the account lives.
    #[default]
    Any,
    /// That of the first source, in the order of authority, that knows the user.
    Authority,
}

impl SuspensionRule {
    /// As they are written in the configuration.
    pub const NAMES: [(&'static str, SuspensionRule); 2] =
        [("any", SuspensionRule::Any), ("authority", SuspensionRule::Authority)];
}

/// Another account of the same user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    pub key: IdentityKey,
    pub identity: Identity,
    pub standing: SourceStanding,
}

/// How an account's source stands among the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStanding {
    pub status: SourceStatus,
    /// The source before which its word counts since a switch (`headcount move --switch`), wherever the configuration has it.
    pub supersedes: Option<String>,
}

/// What the word of an account's source is worth here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceStatus {
    #[default]
    Active,
    /// It is not configured any more; what it said can still be understood.
    Unconfigured,
    /// It speaks last: nothing new comes from there.
    Retired,
    /// It is not configured, and what it said cannot be understood either: what the row holds may be its word.
    Unread,
}

/// One account, as it speaks for its user.
#[derive(Clone, Copy)]
pub struct AccountView<'a> {
    pub key: &'a IdentityKey,
    pub identity: &'a Identity,
    pub standing: &'a SourceStanding,
}

impl SourceStanding {
    /// `is_understood` is whether anything still tells what the source has said, where it has said anything.
    pub fn of(
        is_configured: bool,
        is_understood: bool,
        is_retired: bool,
        supersedes: Option<String>,
    ) -> Self {
        let status = match (is_understood, is_retired, is_configured) {
            (false, ..) => SourceStatus::Unread,
            (true, true, _) => SourceStatus::Retired,
            (true, false, false) => SourceStatus::Unconfigured,
            (true, false, true) => SourceStatus::Active,
        };
        Self { status, supersedes }
    }
}

impl Sibling {
    pub fn view(&self) -> AccountView<'_> {
        AccountView { key: &self.key, identity: &self.identity, standing: &self.standing }
    }

    pub fn is_alive(&self) -> bool {
        self.identity.state != IdentityState::Deleted
    }
}

impl<'a> AccountView<'a> {
    /// What it last said.
    pub fn columns(&self) -> Option<&'a Columns> {
        Some(&self.identity.latest.as_ref()?.snapshot.columns)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.identity.state != IdentityState::Deleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(state: IdentityState, snapshot: Option<Snapshot>) -> Identity {
        let latest = snapshot.map(|snapshot| Latest { snapshot, occurred_at: None, read_at: None });
        Identity { state, latest, deletion: None, replaced_version: None, hints: None }
    }

    #[test]
    fn something_is_held_back_where_a_value_or_a_fact_is() {
        assert!(HeldValues::default().is_empty());
        assert!(!HeldValues { facts: true, ..HeldValues::default() }.is_empty());
        let instead = BTreeMap::from([(Column::Email, None)]);
        assert!(!HeldValues { instead: instead.clone(), facts: false }.is_empty());
        assert!(!HeldValues { instead, facts: true }.is_empty());
    }

    #[test]
    fn a_source_that_cannot_be_understood_is_unread_whatever_else_it_is() {
        for (is_configured, is_understood, is_retired, status) in [
            (true, true, false, SourceStatus::Active),
            (false, true, false, SourceStatus::Unconfigured),
            (true, true, true, SourceStatus::Retired),
            (false, true, true, SourceStatus::Retired),
            (false, false, false, SourceStatus::Unread),
            (false, false, true, SourceStatus::Unread),
        ] {
            assert_eq!(SourceStanding::of(is_configured, is_understood, is_retired, None).status, status);
        }
    }

    #[test]
    fn an_account_lives_until_it_is_deleted_and_a_banned_one_lives() {
        for (state, is_alive) in [
            (IdentityState::Present, true),
            (IdentityState::Suspended, true),
            (IdentityState::Deleted, false),
        ] {
            let identity = identity(state, None);
            let standing = SourceStanding { status: SourceStatus::Retired, supersedes: None };
            let sibling = Sibling { key: IdentityKey::default(), identity, standing: standing.clone() };
            let view = sibling.view();
            assert_eq!((sibling.is_alive(), view.is_alive()), (is_alive, is_alive), "{state:?}");
            assert_eq!((view.identity.state, view.standing), (state, &standing));
        }
    }

    #[test]
    fn a_voice_says_what_its_latest_snapshot_says() {
        let key = IdentityKey::default();
        let mut columns = Columns::default();
        columns.set(Column::Email, Some("a@example.com".into()));
        let snapshot = Snapshot { columns: columns.clone(), ..Snapshot::default() };
        for (snapshot, said) in [(Some(snapshot), Some(&columns)), (None, None)] {
            let identity = identity(IdentityState::Present, snapshot);
            assert_eq!(
                AccountView { key: &key, identity: &identity, standing: &SourceStanding::default() }
                    .columns(),
                said
            );
        }
    }

    #[test]
    fn a_version_that_was_replaced_is_remembered_until_the_source_has_gone_past_it() {
        for (version, remembered) in [(8, Some(9)), (9, Some(9)), (10, None)] {
            let snapshot = Snapshot { version, ..Snapshot::default() };
            let latest = Latest { snapshot, occurred_at: None, read_at: None };
            let identity = latest.into_identity(Some(9), Timestamp::clamped(1));
            assert_eq!(identity.replaced_version, remembered, "version {version}");
        }
    }

    #[test]
    fn a_snapshot_says_whether_its_account_lives_is_banned_or_has_ended() {
        let ended_at = Some(Timestamp::clamped(3));
        for (suspended, ended_at, state) in [
            (false, None, IdentityState::Present),
            (true, None, IdentityState::Suspended),
            (false, ended_at, IdentityState::Deleted),
            (true, ended_at, IdentityState::Deleted),
        ] {
            let snapshot = Snapshot { suspended, ended_at, ..Snapshot::default() };
            let latest = Latest { snapshot, occurred_at: None, read_at: None };
            let identity = latest.into_identity(None, Timestamp::clamped(7));
            assert_eq!(identity.state, state);
            let deletion = identity.deletion.map(|deletion| (Some(deletion.at), deletion.received_at.ms()));
            assert_eq!(deletion, ended_at.map(|at| (Some(at), 7)));
            assert!(
                identity.deletion.is_none_or(|deletion| deletion.soft),
                "a later version may take it back"
            );
        }
    }
}
