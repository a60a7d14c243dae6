//! Several accounts of one user: who is heard, and who is not.

use super::*;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::{Deletion, Identity, Latest, SourceStanding};
use crate::core::layout::PathColumn;
use crate::core::words::DeletedBy;

const ACTIVE: SourceStanding = SourceStanding { status: SourceStatus::Active, supersedes: None };
const UNCONFIGURED: SourceStanding = SourceStanding { status: SourceStatus::Unconfigured, supersedes: None };
const RETIRED: SourceStanding = SourceStanding { status: SourceStatus::Retired, supersedes: None };
const UNREAD: SourceStanding = SourceStanding { status: SourceStatus::Unread, supersedes: None };

fn columns(cells: &[(Column, &str)]) -> Columns {
    let mut columns = Columns::default();
    for (column, text) in cells {
        columns.set(*column, Some((*text).to_owned()));
    }
    columns
}

fn key(source: &str) -> IdentityKey {
    IdentityKey { source: source.into(), provider_id: "1".into() }
}

fn identity(state: IdentityState, cells: &[(Column, &str)]) -> Identity {
    let at = Timestamp::clamped(5);
    let snapshot = Snapshot { columns: columns(cells), ..Snapshot::default() };
    let is_over = state == IdentityState::Deleted;
    Identity {
        state,
        latest: Some(Latest { snapshot, occurred_at: None, read_at: None }),
        deletion: is_over.then_some(Deletion { at, received_at: at, by: DeletedBy::Event, soft: false }),
        replaced_version: None,
        hints: None,
    }
}

fn layout(order: &[&str], by_column: &[(&str, &[&str])]) -> Layout {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut layout = Layout::default();
    layout.authority = Authority {
        order: names(order),
        by_column: by_column.iter().map(|(column, order)| ((*column).to_owned(), names(order))).collect(),
        suspension: SuspensionRule::Authority,
    };
    layout
}

fn view<'a>(key: &'a IdentityKey, identity: &'a Identity) -> AccountView<'a> {
    AccountView { key, identity, standing: &ACTIVE }
}

#[test]
fn each_column_is_the_word_of_the_first_that_has_one() {
    let (clerk, workos) = (key("clerk"), key("workos"));
    let at_clerk = identity(
        IdentityState::Present,
        &[(Column::Email, "c@example.com"), (Column::EmailVerified, "false"), (Column::Username, "ann")],
    );
    let at_workos = identity(
        IdentityState::Suspended,
        &[(Column::Email, "w@example.com"), (Column::EmailVerified, "true"), (Column::FirstName, "Ann")],
    );
    let say = |layout: &Layout| {
        let forth = merge(layout, vec![view(&clerk, &at_clerk), view(&workos, &at_workos)], None);
        let back = merge(layout, vec![view(&workos, &at_workos), view(&clerk, &at_clerk)], None);
        assert_eq!(forth.columns, back.columns, "in whatever order they are heard");
        (forth.columns.unwrap_or_default(), forth.suspended)
    };
    let (columns, suspended) = say(&layout(&["clerk", "workos"], &[]));
    assert_eq!(columns.get(Column::Email), Some("c@example.com"));
    assert_eq!(columns.get(Column::EmailVerified), Some("false"), "it is not that address that is verified");
    assert_eq!((columns.get(Column::Username), columns.get(Column::FirstName)), (Some("ann"), Some("Ann")));
    assert!(!suspended, "a ban counts at the source that has authority");
    let (columns, suspended) = say(&layout(&["clerk", "workos"], &[("email", &["workos"])]));
    assert_eq!(
        (columns.get(Column::Email), columns.get(Column::EmailVerified)),
        (Some("w@example.com"), Some("true"))
    );
    assert!(!suspended);
    assert!(say(&layout(&["workos", "clerk"], &[])).1);
}

#[test]
fn who_has_ended_is_silent_while_another_account_lives() {
    let (clerk, workos) = (key("clerk"), key("workos"));
    let layout = layout(&["clerk", "workos"], &[]);
    let over =
        identity(IdentityState::Deleted, &[(Column::Email, "c@example.com"), (Column::FirstName, "Ann")]);
    let lives = identity(IdentityState::Present, &[(Column::Email, "w@example.com")]);
    let merged = merge(&layout, vec![view(&clerk, &over), view(&workos, &lives)], None);
    assert_eq!(merged.deleted_at, None);
    assert_eq!(merged.columns, lives.latest.map(|latest| latest.snapshot.columns));
    let both = merge(&layout, vec![view(&clerk, &over), view(&workos, &over)], None);
    assert_eq!(both.deleted_at, Some(Timestamp::clamped(5)));
    let columns = both.columns.unwrap_or_default();
    assert_eq!((columns.get(Column::Email), columns.get(Column::FirstName)), (None, Some("Ann")));
}

#[test]
fn a_retired_source_speaks_last_and_an_unread_one_keeps_what_the_row_holds() {
    let (clerk, workos) = (key("clerk"), key("workos"));
    let layout = layout(&["clerk", "workos"], &[]);
    let old = identity(IdentityState::Present, &[(Column::Email, "c@example.com"), (Column::Phone, "+1")]);
    let new = identity(IdentityState::Present, &[(Column::Email, "w@example.com")]);
    let retired = AccountView { standing: &RETIRED, ..view(&clerk, &old) };
    let columns = merge(&layout, vec![retired, view(&workos, &new)], None).columns.unwrap_or_default();
    assert_eq!((columns.get(Column::Email), columns.get(Column::Phone)), (Some("w@example.com"), Some("+1")));
    let unread = Identity { latest: None, ..old };
    let unread = AccountView { standing: &UNREAD, ..view(&clerk, &unread) };
    let row = columns_of_row();
    let merged = merge(&layout, vec![unread, view(&workos, &new)], Some(&row));
    let columns = merged.columns.unwrap_or_default();
    assert_eq!((columns.get(Column::Email), columns.get(Column::Phone)), (Some("w@example.com"), Some("+1")));
    assert!(!merge(&layout, vec![unread], Some(&row)).provisional);
}

fn columns_of_row() -> Columns {
    columns(&[(Column::Email, "c@example.com"), (Column::Phone, "+1")])
}

#[test]
fn what_stands_in_for_nothing_is_no_word() {
    let (clerk, workos) = (key("clerk"), key("workos"));
    let role = PathColumn { path: "role".into(), column_type: crate::core::columns::ColumnType::Text };
    let mut layout = Layout::new(vec![role], |column| column.default_owner())
        .with_stand_in(Column::Path(0), "member".into());
    layout.authority.order = vec!["clerk".into(), "workos".into()];
    let silent = identity(IdentityState::Present, &[(Column::Path(0), "member")]);
    let says = identity(IdentityState::Present, &[(Column::Path(0), "admin")]);
    let merged = merge(&layout, vec![view(&clerk, &silent), view(&workos, &says)], None);
    assert_eq!(merged.columns.unwrap_or_default().get(Column::Path(0)), Some("admin"));
    let who = winner(&layout, Column::Path(0), vec![view(&clerk, &silent), view(&workos, &says)]);
    assert_eq!(who.map(|view| view.key.source.as_str()), Some("workos"));
}

#[test]
fn who_is_not_in_a_columns_order_comes_behind_in_the_order_of_all() {
    let layout = layout(&["supabase", "clerk", "workos"], &[("username", &["workos"])]);
    for (sources, column, speaks) in [
        (&["auth0", "clerk", "supabase", "workos"][..], Column::Username, "workos"),
        (&["auth0", "clerk", "supabase", "workos"], Column::FirstName, "supabase"),
        (&["clerk", "workos"], Column::Username, "workos"),
        (&["clerk", "workos"], Column::FirstName, "clerk"),
        (&["supabase", "workos"], Column::Username, "workos"),
        (&["auth0", "clerk", "supabase"], Column::Username, "supabase"),
        // Whom no order names comes last, and of those the first by name speaks.
        (&["auth0", "clerk"], Column::Username, "clerk"),
        (&["zitadel", "auth0"], Column::Username, "auth0"),
    ] {
        let keys: Vec<IdentityKey> = sources.iter().map(|source| key(source)).collect();
        let says = identity(IdentityState::Present, &[(Column::Username, "x"), (Column::FirstName, "x")]);
        let views = keys.iter().map(|key| view(key, &says)).collect();
        let winner = winner(&layout, column, views).map(|view| view.key.source.as_str());
        assert_eq!(winner, Some(speaks), "{column:?} of {sources:?}");
    }
}

#[test]
fn a_user_is_provisional_where_accounts_live_and_none_has_said_anything() {
    let (clerk, workos) = (key("clerk"), key("workos"));
    let speaks = identity(IdentityState::Present, &[(Column::Email, "c@example.com")]);
    let silent = Identity { latest: None, ..speaks.clone() };
    let ended = identity(IdentityState::Deleted, &[]);
    let ended_silently = Identity { latest: None, ..ended.clone() };
    for (at_clerk, at_workos, provisional) in [
        (&silent, &silent, true),
        (&silent, &speaks, false),
        (&speaks, &speaks, false),
        (&ended, &silent, true),
        (&ended, &ended, false),
        (&ended_silently, &ended_silently, false),
    ] {
        let views = vec![view(&clerk, at_clerk), view(&workos, at_workos)];
        let after = merge(&Layout::default(), views, None);
        assert_eq!(after.provisional, provisional, "{at_clerk:?} {at_workos:?}");
        assert_eq!(
            after.deleted_at.is_some(),
            at_workos.deletion.is_some(),
            "the user ends with the last one"
        );
    }
}

#[test]
fn the_last_end_is_the_users_and_a_ban_is_only_of_who_has_spoken() {
    let (clerk, workos) = (key("clerk"), key("workos"));
    let layout = layout(&["clerk", "workos"], &[]);
    let at = |ms| {
        let mut ended = identity(IdentityState::Deleted, &[]);
        ended.deletion = ended.deletion.map(|deletion| Deletion { at: Timestamp::clamped(ms), ..deletion });
        ended
    };
    let (first, last) = (at(3), at(8));
    let both = merge(&layout, vec![view(&clerk, &last), view(&workos, &first)], None);
    assert_eq!(both.deleted_at, Some(Timestamp::clamped(8)));
    let banned = identity(IdentityState::Suspended, &[(Column::Email, "c@example.com")]);
    let heard_of = Identity { latest: None, ..banned.clone() };
    let free = identity(IdentityState::Present, &[(Column::Email, "w@example.com")]);
    for (at_clerk, suspended) in [(&banned, true), (&heard_of, false), (&free, false)] {
        let after = merge(&layout, vec![view(&clerk, at_clerk), view(&workos, &free)], None);
        assert_eq!(after.suspended, suspended, "{at_clerk:?}");
    }
}

#[test]
fn a_ban_counts_wherever_the_account_lives_and_its_source_is_heard_unless_authority_alone_decides() {
    let (clerk, workos) = (key("clerk"), key("workos"));
    let banned = identity(IdentityState::Suspended, &[]);
    let free = identity(IdentityState::Present, &[]);
    let ended = identity(IdentityState::Deleted, &[]);
    for (at_clerk, at_workos, standing, by_any, by_authority) in [
        (&free, &banned, &ACTIVE, true, false),
        (&free, &banned, &UNCONFIGURED, false, false),
        (&free, &banned, &RETIRED, false, false),
        (&banned, &free, &ACTIVE, true, true),
        (&banned, &ended, &ACTIVE, true, true),
        (&ended, &banned, &ACTIVE, true, true),
        // Nobody else is heard: the last word stays.
        (&ended, &banned, &RETIRED, true, true),
        (&free, &free, &ACTIVE, false, false),
    ] {
        for (suspension, suspended) in
            [(SuspensionRule::Any, by_any), (SuspensionRule::Authority, by_authority)]
        {
            let mut layout = layout(&["clerk", "workos"], &[]);
            layout.authority.suspension = suspension;
            let workos = AccountView { standing, ..view(&workos, at_workos) };
            let after = merge(&layout, vec![view(&clerk, at_clerk), workos], None);
            assert_eq!(after.suspended, suspended, "{:?} {:?} {standing:?}", at_clerk.state, at_workos.state);
        }
    }
}

#[test]
fn a_source_that_supersedes_another_speaks_before_it_but_in_columns_with_an_order_of_their_own() {
    let (clerk, supabase, workos) = (key("clerk"), key("supabase"), key("workos"));
    let says = identity(IdentityState::Present, &[(Column::Username, "x"), (Column::FirstName, "x")]);
    let supersedes = |source: &str| SourceStanding { supersedes: Some(source.to_owned()), ..ACTIVE };
    let own: &[(&str, &[&str])] = &[("username", &["clerk"])];
    for (order, own, superseded, column, first) in [
        (&["clerk", "supabase", "workos"][..], &[][..], "clerk", Column::FirstName, "workos"),
        // Only what lies between them moves: who stood before the superseded one still does.
        (&["supabase", "clerk", "workos"], &[], "clerk", Column::FirstName, "supabase"),
        (&["clerk", "workos"], own, "clerk", Column::Username, "clerk"),
        (&["clerk", "workos"], own, "clerk", Column::FirstName, "workos"),
        // Where the configuration has them in this order already, nothing is exchanged.
        (&["workos", "clerk"], &[], "clerk", Column::FirstName, "workos"),
        // A source that nobody configures any more holds no place.
        (&["supabase", "workos"], &[], "clerk", Column::FirstName, "supabase"),
    ] {
        let layout = layout(order, own);
        let standing = supersedes(superseded);
        let mut views =
            vec![view(&clerk, &says), AccountView { standing: &standing, ..view(&workos, &says) }];
        if order.contains(&"supabase") {
            views.push(view(&supabase, &says));
        }
        let winner = winner(&layout, column, views).map(|view| view.key.source.as_str());
        assert_eq!(winner, Some(first), "{column:?} of {order:?} {own:?}");
    }
}
