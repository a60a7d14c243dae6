//! What a call makes of a user, one call at a time.

use super::*;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::{Deletion, Fact, Latest, SourceStanding};
use crate::core::words::ChangeKind;
use crate::core::words::DeletedBy;

fn at(ms: i64) -> Timestamp {
    Timestamp::clamped(ms)
}

fn columns(cells: &[(Column, &str)]) -> Columns {
    let mut columns = Columns::default();
    for (column, text) in cells {
        columns.set(*column, Some((*text).to_owned()));
    }
    columns
}

fn identity(snapshot: Option<Snapshot>) -> Identity {
    let latest = snapshot.map(|snapshot| Latest { snapshot, occurred_at: None, read_at: None });
    Identity { state: IdentityState::Present, latest, deletion: None, replaced_version: None, hints: None }
}

fn deletion(ms: i64) -> Deletion {
    Deletion { at: at(ms), received_at: at(ms), by: DeletedBy::Event, soft: false }
}

fn user(cells: &[(Column, &str)]) -> User {
    User {
        id: "id-1".into(),
        columns: columns(cells),
        deleted_at: None,
        suspended_by_source: false,
        suspended_by_app: false,
        provisional: false,
        kept: ColumnSet::default(),
        held: HeldValues::default(),
        unreadable: FactSet::default(),
    }
}

const SAID: &[(Column, &str)] =
    &[(Column::Email, "a@example.com"), (Column::EmailVerified, "true"), (Column::Username, "ann")];

fn said() -> Snapshot {
    Snapshot { version: 1, columns: columns(SAID), ..Snapshot::default() }
}

/// An account that the provider has spoken of, and its row.
fn known() -> Account {
    let key = IdentityKey { source: "clerk".into(), provider_id: "user_1".into() };
    Account { key, identity: Some(identity(Some(said()))), user: Some(user(SAID)), ..Account::default() }
}

fn sibling(latest: Option<Snapshot>) -> Sibling {
    let key = IdentityKey { source: "workos".into(), provider_id: "user_2".into() };
    Sibling { key, identity: identity(latest), standing: SourceStanding::default() }
}

fn set_column(column: Column, text: &str) -> RowSetting {
    RowSetting { columns: vec![(column, Some(text.to_owned()))], suspended: None }
}

fn kind(change: Option<Change>) -> Option<ChangeKind> {
    change.map(|change| change.kind)
}

fn ensure(known: &Account, setting: &RowSetting) -> Called {
    provisional(&Layout::default(), known, &columns(&[(Column::Email, "hint@example.com")]), setting, "id-9")
}

#[test]
fn an_account_that_nothing_is_known_of_has_a_provisional_row_with_the_hints() {
    let (after, change) = ensure(&Account::default(), &set_column(Column::DisplayName, "Ann"));
    let user = after.user.unwrap();
    assert_eq!((user.id.as_str(), user.provisional), ("id-9", true));
    assert_eq!(user.columns.get(Column::Email), Some("hint@example.com"));
    assert_eq!(user.columns.get(Column::EmailVerified), Some("false"), "a hint verifies nothing");
    assert_eq!(user.columns.get(Column::DisplayName), Some("Ann"));
    assert_eq!(kind(change), Some(ChangeKind::Created));
    let identity = after.identity.unwrap();
    assert_eq!((identity.state, identity.latest), (IdentityState::Present, None));
    assert_eq!(identity.hints.unwrap().get(Column::Email), Some("hint@example.com"));
}

#[test]
fn an_account_that_has_a_row_or_has_ended_is_left_as_it_is() {
    let ended = Identity { state: IdentityState::Deleted, deletion: Some(deletion(5)), ..identity(None) };
    let tombstone = Account { identity: Some(ended), ..Account::default() };
    for account in [known(), tombstone] {
        assert_eq!(ensure(&account, &set_column(Column::Username, "own")), (account.clone(), None));
    }
}

#[test]
fn a_row_that_was_there_before_its_account_is_taken_as_it_is() {
    let row = user(&[(Column::Email, "own@example.com")]);
    let account =
        Account { user: Some(row), linked_now: true, needs_announcement: true, ..Account::default() };
    let (after, _) = ensure(&account, &RowSetting::default());
    let user = after.user.unwrap();
    assert_eq!((user.id.as_str(), user.provisional), ("id-1", true));
    assert_eq!(user.columns.get(Column::Email), Some("own@example.com"));
    assert_eq!(user.columns.get(Column::EmailVerified), Some("false"));
    assert!(after.identity.is_some() && !after.needs_announcement, "the feed tells of it now");
}

#[test]
fn a_user_whom_another_source_has_described_is_not_provisional() {
    for (latest, is_provisional) in [(None, true), (Some(said()), false)] {
        let account = Account {
            user: Some(user(SAID)),
            linked_now: true,
            siblings: vec![sibling(latest)],
            ..Account::default()
        };
        let (after, _) = ensure(&account, &RowSetting::default());
        assert_eq!(after.user.unwrap().provisional, is_provisional);
    }
}

#[test]
fn a_row_that_was_kept_out_is_made_of_what_the_provider_said_and_the_call_sets() {
    let account = Account { user: None, ..known() };
    let (after, change) = ensure(&account, &set_column(Column::Username, "own"));
    let user = after.user.unwrap();
    assert_eq!((user.id.as_str(), user.provisional), ("id-9", false));
    assert_eq!(user.columns.get(Column::Email), Some("a@example.com"));
    assert_eq!(user.columns.get(Column::Username), Some("own"));
    assert_eq!(kind(change), Some(ChangeKind::Created));
}

#[test]
fn what_a_call_sets_is_in_the_row_and_in_the_feed() {
    let (after, change) = set(&Layout::default(), &known(), &set_column(Column::Username, "own"));
    assert_eq!(after.user.unwrap().columns.get(Column::Username), Some("own"));
    let change = change.unwrap();
    assert_eq!((change.kind, change.changed), (ChangeKind::Updated, vec!["username".to_owned()]));
    let needs_announcement = Account { needs_announcement: true, ..known() };
    let (_, change) = set(&Layout::default(), &needs_announcement, &set_column(Column::Username, "own"));
    assert_eq!(kind(change), Some(ChangeKind::Created), "the feed has not told of the row yet");
    let nobody = Account { identity: None, ..known() };
    assert_eq!(set(&Layout::default(), &nobody, &RowSetting::default()), (nobody.clone(), None));
}

#[test]
fn a_set_value_is_kept_unless_the_column_is_the_applications_anyway() {
    for (owner, is_kept) in [(Owner::App, false), (Owner::AppOnceSet, true), (Owner::Undeclared, true)] {
        let layout = Layout::new(Vec::new(), |_| owner);
        let mut before = user(SAID);
        before.held.instead.insert(Column::Username, None);
        let after = apply(&layout, before, &set_column(Column::Username, "own"));
        assert_eq!(after.columns.get(Column::Username), Some("own"));
        assert_eq!(after.kept.contains(Column::Username), is_kept, "{owner:?}");
        assert!(after.held.is_empty(), "what was held back of the column has been answered");
    }
}

#[test]
fn a_ban_of_the_applications_begins_and_ends_with_a_call_that_says_so() {
    for (was, says, is) in
        [(false, Some(true), true), (true, Some(false), false), (true, None, true), (false, None, false)]
    {
        let before = User { suspended_by_app: was, ..user(SAID) };
        let setting = RowSetting { suspended: says, ..RowSetting::default() };
        assert_eq!(apply(&Layout::default(), before, &setting).suspended_by_app, is, "{was} {says:?}");
    }
}

#[test]
fn a_revived_user_is_who_it_was_with_the_ban_that_its_source_had_pronounced() {
    for (suspended, state) in [(false, IdentityState::Present), (true, IdentityState::Suspended)] {
        let deleted = Identity {
            state: IdentityState::Deleted,
            deletion: Some(deletion(5)),
            ..identity(Some(Snapshot { suspended, ..said() }))
        };
        let row = User { deleted_at: Some(at(5)), ..user(&[(Column::EmailVerified, "false")]) };
        let account = Account { identity: Some(deleted), user: Some(row), ..known() };
        let (after, change) = revive(&Layout::default(), &account, "id-9");
        let (identity, user) = (after.identity.unwrap(), after.user.unwrap());
        assert_eq!((identity.state, identity.deletion), (state, None));
        assert_eq!((user.id.as_str(), user.deleted_at, user.suspended_by_source), ("id-1", None, suspended));
        assert_eq!(user.columns.get(Column::Email), Some("a@example.com"));
        assert_eq!(kind(change), Some(ChangeKind::Revived));
    }
    let nobody = Account::default();
    assert_eq!(revive(&Layout::default(), &nobody, "id-9"), (nobody.clone(), None));
}

#[test]
fn an_account_that_is_linked_fills_what_its_users_row_lacks_and_changes_nothing_else() {
    let row = user(&[(Column::Email, "own@example.com"), (Column::DisplayName, "Own")]);
    let account = Account { user: None, needs_announcement: true, ..known() };
    let siblings = vec![sibling(None)];
    let (after, change) = linked(&Layout::default(), &account, row, siblings.clone());
    let user = after.user.unwrap();
    assert_eq!((user.id.as_str(), after.siblings), ("id-1", siblings));
    assert_eq!(user.columns.get(Column::Username), Some("ann"), "the row had none");
    assert_eq!(user.columns.get(Column::DisplayName), Some("Own"));
    assert_eq!(kind(change), Some(ChangeKind::Updated), "the feed has told of this user");
    let nobody = Account { identity: None, ..known() };
    let nothing = linked(&Layout::default(), &nobody, self::user(SAID), Vec::new());
    assert_eq!(nothing, (nobody, None));
}

#[test]
fn a_user_whose_last_account_has_gone_is_deleted_and_frees_what_a_deletion_frees() {
    let mut before = user(SAID);
    before.provisional = true;
    before.kept = [Column::Username, Column::DisplayName].into_iter().collect();
    before.held.facts = true;
    before.unreadable.insert(Fact::Kept);
    let (after, change) = abandoned(&Layout::default(), &before, at(7));
    assert_eq!((after.deleted_at, after.provisional), (Some(at(7)), false));
    assert_eq!((after.columns.get(Column::Email), after.columns.get(Column::Username)), (None, None));
    assert_eq!(after.kept, [Column::DisplayName].into_iter().collect());
    assert!(after.held.is_empty());
    assert_eq!(after.unreadable, FactSet::default(), "all of it is written anew");
    assert_eq!(kind(change), Some(ChangeKind::Deleted));
    let (again, change) = abandoned(&Layout::default(), &after, at(9));
    assert_eq!((again.deleted_at, change), (Some(at(7)), None), "a user ends once");
}

#[test]
fn a_blank_row_holds_nothing_but_what_may_not_be_null() {
    let layout = Layout::default().with_stand_in(Column::FirstName, "-".into());
    assert_eq!(blank(&layout), columns(&[(Column::EmailVerified, "false"), (Column::FirstName, "-")]));
}

#[test]
fn a_call_contradicts_where_it_supplies_what_the_provider_has_a_word_for() {
    let layout =
        Layout::default().with_never_null(Column::FirstName, false).with_never_null(Column::Email, false);
    let first_name = set_column(Column::FirstName, "Ann");
    assert_eq!(contradicts(&layout, &known(), &first_name), None, "the provider has none");
    let email = set_column(Column::Email, "b@example.com");
    assert_eq!(contradicts(&layout, &known(), &email), Some(Column::Email));
    assert_eq!(contradicts(&layout, &known(), &set_column(Column::Username, "bea")), None);
    assert_eq!(contradicts(&layout, &Account::default(), &email), None, "nobody has said anything");
}
