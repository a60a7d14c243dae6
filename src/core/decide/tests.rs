//! Deliveries, one by one.

use super::*;
use crate::core::columns::Column;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::SourceStanding;
use crate::core::layout::Layout;
use crate::core::words::ChangeKind;

fn at(ms: i64) -> Timestamp {
    Timestamp::clamped(ms)
}

fn event(kind: EventKind, occurred_ms: i64) -> Event {
    Event {
        mended: false,
        key: IdentityKey { source: "clerk".into(), provider_id: "user_1".into() },
        occurred_at: Some(at(occurred_ms)),
        instance: None,
        version_may_go_back: false,
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

fn sibling(email: &str, suspended: bool) -> Sibling {
    let EventKind::Upsert(snapshot) = named(1, email) else { unreachable!() };
    let latest = Latest { snapshot: Snapshot { suspended, ..snapshot }, occurred_at: None, read_at: None };
    let key = IdentityKey { source: "workos".into(), provider_id: "user_2".into() };
    Sibling { key, identity: latest.into_identity(None, at(1)), standing: SourceStanding::default() }
}

fn with(kind: EventKind, change: impl FnOnce(&mut Snapshot)) -> EventKind {
    let EventKind::Upsert(mut snapshot) = kind else { unreachable!() };
    change(&mut snapshot);
    EventKind::Upsert(snapshot)
}

fn banned(version: i64, until_ms: Option<i64>) -> EventKind {
    with(named(version, "a@example.com"), |snapshot| {
        snapshot.suspended = true;
        snapshot.suspended_until = until_ms.map(at);
    })
}

fn next(account: &Account, kind: EventKind, occurred_ms: i64) -> Decision {
    decide(&Layout::default(), account, &event(kind, occurred_ms), at(9_000), "id-1")
}

#[test]
fn a_ban_is_over_from_the_millisecond_that_its_source_named() {
    for (until_ms, is_over) in [(Some(99), true), (Some(100), true), (Some(101), false), (None, false)] {
        let account = fold(&[event(banned(1, until_ms), 1)]).0;
        assert!(account.user.as_ref().unwrap().suspended_by_source);
        let (after, change) = ban_over(&Layout::default(), &account, at(100));
        assert_eq!(after.user.as_ref().unwrap().suspended_by_source, !is_over, "until {until_ms:?}");
        assert_eq!(after == account, !is_over);
        let changed = change.map(|change| change.changed);
        assert_eq!(changed, is_over.then(|| vec!["account_state".to_owned()]), "the feed tells of it");
    }
}

#[test]
fn the_end_of_a_ban_touches_nobody_who_is_not_banned() {
    let ended = fold(&[event(banned(1, Some(50)), 1), event(EventKind::Delete, 2)]).0;
    let free = with(banned(1, Some(50)), |snapshot| snapshot.suspended = false);
    for account in [ended, fold(&[event(free, 1)]).0, Account::default()] {
        assert_eq!(ban_over(&Layout::default(), &account, at(100)), (account.clone(), None));
    }
}

#[test]
fn a_ban_that_is_over_is_not_renewed_by_a_repeated_delivery() {
    let account = fold(&[event(banned(1, Some(50)), 1)]).0;
    let (free, _) = ban_over(&Layout::default(), &account, at(100));
    let repeated = next(&free, banned(1, Some(50)), 1);
    assert_eq!((repeated.verdict, repeated.account, repeated.change), (Verdict::Applied, free, None));
}

/// What a delivery of version 5 or another finds, and what becomes of it.
#[test]
fn two_contents_of_one_version_are_contested_where_nothing_else_tells_them_apart() {
    let known = fold(&[event(named(5, "known@example.com"), 50)]).0;
    let mut read = known.clone();
    let latest = read.identity.as_mut().unwrap().latest.as_mut().unwrap();
    (latest.occurred_at, latest.read_at) = (None, Some(at(60)));
    let contested = Some(Doubt::Contested);
    for (account, version, email, occurred_ms, holds, verdict, ask) in [
        // The same time: the content decides for now, and the source is asked.
        (&known, 5, "other@example.com", 50, "other@example.com", Verdict::Applied, contested),
        (&known, 5, "a@example.com", 50, "known@example.com", Verdict::Stale, contested),
        // Another time decides.
        (&known, 5, "other@example.com", 51, "other@example.com", Verdict::Applied, None),
        (&known, 5, "other@example.com", 49, "known@example.com", Verdict::Stale, None),
        // The same content is no contest.
        (&known, 5, "known@example.com", 50, "known@example.com", Verdict::Applied, None),
        (&known, 5, "known@example.com", 51, "known@example.com", Verdict::Applied, None),
        (&known, 5, "known@example.com", 49, "known@example.com", Verdict::Stale, None),
        // Another version is none either, whatever its time and content.
        (&known, 6, "other@example.com", 50, "other@example.com", Verdict::Applied, None),
        (&known, 4, "other@example.com", 50, "known@example.com", Verdict::Stale, None),
        (&known, 4, "known@example.com", 50, "known@example.com", Verdict::Stale, None),
        // What was read is the source's own word: a delivery of the same version can only have it asked again.
        (&read, 5, "other@example.com", 70, "known@example.com", Verdict::Stale, contested),
        (&read, 5, "known@example.com", 70, "known@example.com", Verdict::Applied, None),
        (&read, 6, "other@example.com", 70, "other@example.com", Verdict::Applied, None),
        (&read, 4, "other@example.com", 70, "known@example.com", Verdict::Stale, None),
    ] {
        let decision = next(account, named(version, email), occurred_ms);
        let case = format!("version {version}, {email}, at {occurred_ms}");
        assert_eq!((decision.verdict, decision.ask), (verdict, ask), "{case}");
        assert_eq!(self::email(&decision.account), Some(holds), "{case}");
    }
}

#[test]
fn a_delivery_that_a_read_has_confirmed_is_no_reason_to_read_again() {
    let mut account = fold(&[event(named(4, "restored@example.com"), 50)]).0;
    let identity = account.identity.as_mut().unwrap();
    identity.replaced_version = Some(9);
    identity.latest.as_mut().unwrap().read_at = Some(at(60));
    let confirmed = next(&account, named(4, "restored@example.com"), 50);
    assert_eq!((confirmed.verdict, confirmed.ask), (Verdict::Applied, None));
    for (version, ask) in [(4, Some(Doubt::Replaced)), (9, Some(Doubt::Replaced)), (10, None)] {
        assert_eq!(next(&account, named(version, "other@example.com"), 70).ask, ask, "version {version}");
    }
}

#[test]
fn nothing_is_asked_about_an_account_that_has_ended_for_good() {
    let known = fold(&[event(named(5, "a@example.com"), 50), event(EventKind::Delete, 60)]).0;
    let contested = next(&known, named(5, "b@example.com"), 50);
    assert_eq!((contested.verdict, contested.ask), (Verdict::Stale, None));
    let latest = contested.account.identity.unwrap().latest.unwrap();
    assert_eq!(
        latest.snapshot.columns.get(Column::Email),
        Some("b@example.com"),
        "but the highest is remembered"
    );
}

#[test]
fn a_version_that_says_that_the_account_has_ended_is_taken_back_by_a_later_one() {
    let soft = with(named(2, "a@example.com"), |snapshot| snapshot.ended_at = Some(at(700)));
    let ended = fold(&[event(named(1, "a@example.com"), 1), event(soft.clone(), 2)]).0;
    assert_eq!(ended.user.as_ref().unwrap().deleted_at, Some(at(700)));
    let repeated = next(&ended, soft, 2);
    assert_eq!((repeated.verdict, repeated.account), (Verdict::Applied, ended.clone()));
    let back = next(&ended, named(3, "a@example.com"), 3);
    assert_eq!((back.verdict, email(&back.account)), (Verdict::Applied, Some("a@example.com")));
    // A deletion for good counts from its own time, and stays.
    let gone = next(&ended, EventKind::Delete, 800).account;
    assert_eq!(gone.user.as_ref().unwrap().deleted_at, Some(at(800)));
    assert_eq!(next(&gone, named(3, "a@example.com"), 3).verdict, Verdict::Stale);
}

#[test]
fn of_two_ends_the_strongest_word_the_earliest_time_and_the_last_hearing_count() {
    use DeletedBy::{Erase, Event, Sweep};
    for (before, said, by) in [
        (Erase, Event, Erase),
        (Erase, Sweep, Erase),
        (Event, Sweep, Event),
        (Sweep, Event, Event),
        (Sweep, Erase, Erase),
        (Sweep, Sweep, Sweep),
    ] {
        let end =
            |by, ms, received_ms| Deletion { at: at(ms), received_at: at(received_ms), by, soft: false };
        let known = deleted(None, end(before, 5, 30));
        let twice = deleted(Some(&known), end(said, 7, 20)).deletion;
        assert_eq!(twice, Some(end(by, 5, 30)), "{before:?} then {said:?}");
    }
}

#[test]
fn a_decision_keeps_whose_account_it_is_and_the_users_other_accounts() {
    let key = IdentityKey { source: "clerk".into(), provider_id: "user_1".into() };
    let siblings = vec![sibling("w@example.com", false)];
    let known = Account { key: key.clone(), siblings: siblings.clone(), ..Account::default() };
    let after = next(&known, named(1, "c@example.com"), 1).account;
    assert_eq!((after.key, after.siblings), (key, siblings));
}

#[test]
fn a_row_that_the_feed_has_not_told_of_is_created_and_one_that_it_has_is_not() {
    let known = fold(&[event(named(1, "a@example.com"), 1)]).0;
    for (needs_announcement, kind) in [(true, ChangeKind::Created), (false, ChangeKind::Updated)] {
        let known = Account { needs_announcement, ..known.clone() };
        let decision = next(&known, named(2, "b@example.com"), 2);
        assert_eq!(decision.change.unwrap().kind, kind);
        assert!(!decision.account.needs_announcement);
    }
}

#[test]
fn a_value_that_was_held_back_is_tried_again() {
    let known = fold(&[event(named(1, "a@example.com"), 1)]).0;
    let mut held = known.clone();
    let user = held.user.as_mut().unwrap();
    user.columns.set(Column::Email, None);
    user.held.instead.insert(Column::Email, None);
    let (after, change) = again(&Layout::default(), &held, "id-9");
    assert_eq!((after, change.unwrap().changed), (known, vec!["email".to_owned()]));
    let nobody = Account::default();
    assert_eq!(again(&Layout::default(), &nobody, "id-9"), (nobody.clone(), None));
}

fn username(version: i64, name: &str) -> EventKind {
    with(named(version, "a@example.com"), |snapshot| {
        snapshot.profile = format!("{{\"username\":\"{name}\"}}");
        snapshot.columns.set(Column::Username, Some(name.into()));
    })
}

fn wrote(account: &Account, name: Option<&str>) -> Account {
    let mut account = account.clone();
    account.user.as_mut().unwrap().columns.set(Column::Username, name.map(str::to_owned));
    account
}

fn held_username(account: &Account) -> Option<&str> {
    account.user.as_ref().unwrap().columns.get(Column::Username)
}

#[test]
fn what_the_application_has_emptied_stays_empty() {
    let known = wrote(&fold(&[event(username(1, "ann"), 1)]).0, None);
    assert_eq!(held_username(&next(&known, username(2, "bea"), 2).account), None);
}

#[test]
fn what_was_held_back_follows_unless_the_application_has_written_something_there() {
    let mut known = wrote(&fold(&[event(username(1, "ann"), 1)]).0, Some("old"));
    let held = &mut known.user.as_mut().unwrap().held;
    held.instead.insert(Column::Username, Some("old".into()));
    for (row, holds) in [("old", "bea"), ("own", "own"), ("ann", "ann")] {
        let after = next(&wrote(&known, Some(row)), username(2, "bea"), 2).account;
        assert_eq!(held_username(&after), Some(holds), "where the row holds {row}");
    }
}

#[test]
fn a_hint_gives_way_to_the_providers_first_word_and_a_value_of_the_applications_does_not() {
    let mut hints = Columns::default();
    hints.set(Column::Username, Some("hint".into()));
    let setting = crate::core::call::RowSetting::default();
    let ensured =
        crate::core::call::provisional(&Layout::default(), &Account::default(), &hints, &setting, "id-1").0;
    for (row, holds) in [("hint", "ann"), ("own", "own")] {
        let after = next(&wrote(&ensured, Some(row)), username(1, "ann"), 1).account;
        assert_eq!(held_username(&after), Some(holds), "where the row holds {row}");
        assert!(!after.user.unwrap().provisional);
    }
}

#[test]
fn a_column_follows_its_new_first_source_where_it_holds_the_former_ones_word() {
    let mut layout = Layout::default();
    layout.authority.order = vec!["workos".into(), "clerk".into()];
    let mut workos = sibling("w@example.com", false);
    let latest = workos.identity.latest.as_mut().unwrap();
    latest.snapshot.columns.set(Column::Username, Some("wanda".into()));
    let key = IdentityKey { source: "clerk".into(), provider_id: "user_1".into() };
    let alone = fold(&[event(username(1, "ann"), 1)]).0;
    let known = Account { key, siblings: vec![workos], ..alone };
    for (row, holds) in [("ann", "wanda"), ("own", "own")] {
        let known = wrote(&known, Some(row));
        let after = decide(&layout, &known, &event(username(2, "bea"), 2), at(9_000), "id-1").account;
        assert_eq!(held_username(&after), Some(holds), "where the row holds {row}");
    }
}

#[test]
fn an_older_version_is_asked_about_where_versions_may_go_back() {
    for (may_go_back, version, asked) in
        [(true, 1, Some(Doubt::Overtaken)), (true, 2, None), (true, 3, None), (false, 1, None)]
    {
        let (known, _) = fold(&[event(named(2, "b@example.com"), 2)]);
        let email = if version == 2 { "b@example.com" } else { "a@example.com" };
        let late = Event { version_may_go_back: may_go_back, ..event(named(version, email), version) };
        let decision = decide(&Layout::default(), &known, &late, at(9_000), "id-1");
        assert_eq!(decision.ask, asked, "{may_go_back} {version}");
        assert_eq!(decision.verdict, if version == 1 { Verdict::Stale } else { Verdict::Applied });
    }
}
