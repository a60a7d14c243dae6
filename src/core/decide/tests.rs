//! Deliveries, one by one.

use super::*;
use crate::core::columns::Column;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::layout::Layout;
use crate::core::words::ChangeKind;

fn at(ms: i64) -> Timestamp {
    Timestamp::clamped(ms)
}

fn event(kind: EventKind, occurred_ms: i64) -> Event {
    Event {
        key: IdentityKey { source: "clerk".into(), provider_id: "user_1".into() },
        occurred_at: Some(at(occurred_ms)),
        instance: None,
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
        versioned_at: Timestamp::from_ms(version),
        ..Snapshot::default()
    })
}

fn fold(events: &[Event]) -> (Account, Vec<Verdict>) {
    let mut account = Account::default();
    let mut verdicts = Vec::new();
    for event in events {
        let decision = decide(&Layout::default(), &account, event, at(9_000), "id-1");
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
    let decision =
        decide(&Layout::default(), &Account::default(), &event(named(1, "a@example.com"), 1), at(5), "id-1");
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
    let decision = decide(&Layout::default(), &account, &event(named(2, "a@example.com"), 2), at(5), "id-2");
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
    assert_eq!(account.identity.unwrap().deletion.unwrap().at, at(3));
}
