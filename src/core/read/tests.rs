//! The timelines of rules 3 and 4, one by one.

use super::*;
use crate::core::columns::{Column, Columns};
use crate::core::decide::{Verdict, decide};
use crate::core::event::{Event, EventKind, IdentityKey};
use crate::core::known::Account;
use crate::core::layout::Layout;

const HOUR: i64 = 3_600_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::clamped(ms)
}

fn snapshot(version: i64, name: &str) -> Snapshot {
    let mut columns = Columns::default();
    columns.set(Column::Email, Some(format!("{name}@example.com")));
    columns.set(Column::FirstName, Some(name.into()));
    Snapshot {
        version,
        profile: format!("{{\"name\":\"{name}\"}}"),
        columns,
        versioned_at: Timestamp::from_ms(version),
        ..Snapshot::default()
    }
}

fn delivered(account: &Account, kind: EventKind, received: i64) -> crate::core::decide::Decision {
    let key = IdentityKey { source: "clerk".into(), provider_id: "user_1".into() };
    let event = Event {
        mended: false,
        key,
        occurred_at: Some(at(received)),
        instance: None,
        version_may_go_back: false,
        kind,
    };
    decide(&Layout::default(), account, &event, at(received), "id-1")
}

fn known(version: i64, name: &str) -> Account {
    delivered(&Account::default(), EventKind::Upsert(snapshot(version, name)), 10).account
}

fn read(version: i64, name: &str, marked: i64) -> Reading {
    Reading {
        observed: Observation::Present(snapshot(version, name)),
        marked_at: at(marked),
        is_of_the_row: false,
    }
}

fn gone(marked: i64) -> Reading {
    Reading { observed: Observation::Absent, marked_at: at(marked), is_of_the_row: false }
}

fn received(ms: i64) -> Circumstances {
    Circumstances { earlier: None, received_at: Some(at(ms)), confirm_after_ms: 60 }
}

fn after(earlier: Earlier, received_ms: i64) -> Circumstances {
    Circumstances { earlier: Some(earlier), ..received(received_ms) }
}

fn same(marked: i64) -> Earlier {
    Earlier { marked_at: at(marked), present: true, same: true }
}

fn absent_before(marked: i64) -> Earlier {
    Earlier { marked_at: at(marked), present: false, same: false }
}

fn applied(decision: ReadDecision) -> Repair {
    match decision {
        ReadDecision::Apply(repair) => repair,
        other => panic!("{other:?}"),
    }
}

fn name(account: &Account) -> &str {
    account.user.as_ref().unwrap().columns.get(Column::FirstName).unwrap()
}

const fn doubt(doubt: Doubt, counts: bool) -> ReadDecision {
    ReadDecision::Again(Again { doubt, counts })
}

#[test]
fn a_higher_version_applies_even_where_a_delivery_came_meanwhile() {
    let repair =
        applied(decide_read(&Layout::default(), &known(5, "old"), &read(7, "new", 20), received(25), "id-2"));
    assert_eq!(name(&repair.account), "new");
    let late = delivered(&repair.account, EventKind::Upsert(snapshot(6, "between")), 30);
    assert_eq!((late.verdict, late.account), (Verdict::Stale, repair.account));
}

#[test]
fn an_equal_version_with_other_content_applies_only_if_nothing_was_received_since_the_mark() {
    let account = known(5, "delivered");
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(5, "listed", 20), received(20), ""),
        doubt(Doubt::Contested, false)
    );
    let repair = applied(decide_read(&Layout::default(), &account, &read(5, "listed", 20), received(19), ""));
    assert_eq!(name(&repair.account), "listed");
    let again = delivered(&repair.account, EventKind::Upsert(snapshot(5, "delivered")), 40);
    assert_eq!((again.verdict, again.ask), (Verdict::Stale, Some(Doubt::Contested)));
    assert_eq!(name(&again.account), "listed");
}

#[test]
fn an_older_version_needs_two_reads_that_agree_and_then_holds() {
    let account = known(9, "new");
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(4, "restored", 20), received(10), ""),
        doubt(Doubt::Older, true)
    );
    let too_soon = after(same(20), 10);
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(4, "restored", 79), too_soon, ""),
        doubt(Doubt::Older, true)
    );
    let other = after(Earlier { same: false, ..same(20) }, 10);
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(4, "restored", 80), other, ""),
        doubt(Doubt::Older, true)
    );
    let meanwhile = after(same(20), 30);
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(4, "restored", 80), meanwhile, ""),
        doubt(Doubt::Older, true)
    );
    let repair =
        applied(decide_read(&Layout::default(), &account, &read(4, "restored", 80), after(same(20), 10), ""));
    assert_eq!(name(&repair.account), "restored");

    // Deliveries at or below the version that was replaced only cause a read.
    for version in [3, 6, 9] {
        let late = delivered(&repair.account, EventKind::Upsert(snapshot(version, "late")), 90);
        assert_eq!((late.verdict, late.ask), (Verdict::Stale, Some(Doubt::Replaced)));
        assert_eq!(late.account, repair.account);
    }
    let next = delivered(&repair.account, EventKind::Upsert(snapshot(10, "next")), 90);
    assert_eq!((next.verdict, next.ask), (Verdict::Applied, None));
    assert_eq!(next.account.identity.unwrap().replaced_version, None);
}

#[test]
fn a_read_that_was_outrun_by_a_delivery_is_read_again_at_once() {
    let account = known(9, "new");
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(4, "old page", 20), received(25), ""),
        doubt(Doubt::Older, false)
    );
}

#[test]
fn a_version_of_next_week_is_not_believed_at_first_sight() {
    let next_week = 20 + 7 * 24 * HOUR;
    for account in [known(5, "a"), Account::default()] {
        let first =
            decide_read(&Layout::default(), &account, &read(next_week, "b", 20), received(10), "id-1");
        assert_eq!(first, doubt(Doubt::Future, true));
        let second =
            decide_read(&Layout::default(), &account, &read(next_week, "b", 80), after(same(20), 10), "id-1");
        assert_eq!(name(&applied(second).account), "b");
    }
}

#[test]
fn two_reads_after_the_deletion_bring_the_account_back_under_its_id() {
    let deleted = delivered(&known(9, "before"), EventKind::Delete, 50).account;
    // In flight across the deletion: no evidence.
    assert_eq!(
        decide_read(&Layout::default(), &deleted, &read(9, "before", 50), received(50), ""),
        doubt(Doubt::Revival, false)
    );
    assert_eq!(
        decide_read(&Layout::default(), &deleted, &read(2, "reused", 60), received(50), ""),
        doubt(Doubt::Revival, true)
    );
    let before_it = after(same(40), 30);
    assert_eq!(
        decide_read(&Layout::default(), &deleted, &read(2, "reused", 130), before_it, ""),
        doubt(Doubt::Revival, true)
    );
    let content_may_differ = after(Earlier { same: false, ..same(60) }, 50);
    let repair = applied(decide_read(
        &Layout::default(),
        &deleted,
        &read(2, "reused", 130),
        content_may_differ,
        "other",
    ));
    assert_eq!(repair.account.user.as_ref().unwrap().id, "id-1");
    assert_eq!(repair.change.unwrap().kind, crate::core::words::ChangeKind::Revived);
    assert_eq!(name(&repair.account), "reused");
    let from_the_former_life = delivered(&repair.account, EventKind::Upsert(snapshot(9, "before")), 140);
    assert_eq!(from_the_former_life.verdict, Verdict::Stale);
}

#[test]
fn an_erased_person_is_recreated_by_nothing() {
    let mut account = delivered(&known(9, "before"), EventKind::Delete, 50).account;
    account.identity.as_mut().unwrap().deletion.as_mut().unwrap().by = DeletedBy::Erase;
    let confirmed = after(same(60), 50);
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(9, "before", 200), confirmed, ""),
        ReadDecision::Unchanged
    );
    let late = delivered(&account, EventKind::Upsert(snapshot(99, "late")), 210);
    assert_eq!((late.verdict, late.account), (Verdict::Stale, account));
}

#[test]
fn absence_needs_two_answers_and_nothing_received_between() {
    let account = known(5, "a");
    assert_eq!(
        decide_read(&Layout::default(), &account, &gone(20), received(10), ""),
        doubt(Doubt::Missing, true)
    );
    let confirmed = after(absent_before(20), 10);
    assert_eq!(
        decide_read(&Layout::default(), &account, &gone(79), confirmed, ""),
        doubt(Doubt::Missing, true)
    );
    assert_eq!(decide_read(&Layout::default(), &account, &gone(80), confirmed, ""), ReadDecision::Gone);
    let raced = after(absent_before(20), 30);
    assert_eq!(decide_read(&Layout::default(), &account, &gone(80), raced, ""), doubt(Doubt::Missing, true));
    assert_eq!(
        decide_read(&Layout::default(), &Account::default(), &gone(80), confirmed, ""),
        ReadDecision::Unchanged
    );
}

#[test]
fn a_sweep_frees_what_a_deletion_frees_and_a_delivery_confirms_it() {
    let swept = sweep(&Layout::default(), &known(5, "a"), at(100), "").account;
    assert_eq!(swept.user.as_ref().unwrap().columns.get(Column::Email), None);
    let deletion = delivered(&swept, EventKind::Delete, 90).account.identity.unwrap().deletion.unwrap();
    assert_eq!((deletion.by, deletion.at, deletion.received_at), (DeletedBy::Event, at(90), at(100)));
    assert_eq!(delivered(&swept, EventKind::Upsert(snapshot(9, "late")), 200).verdict, Verdict::Stale);
}

#[test]
fn an_edit_of_the_providers_columns_is_drift_and_the_applications_stay() {
    let mut account = known(5, "a");
    assert_eq!(
        decide_read(&Layout::default(), &account, &read(5, "a", 20), received(10), ""),
        ReadDecision::Unchanged
    );
    let user = account.user.as_mut().unwrap();
    user.columns.set(Column::Email, Some("edited@example.com".into()));
    user.columns.set(Column::Username, Some("chosen".into()));
    let repair = applied(decide_read(&Layout::default(), &account, &read(5, "a", 20), received(10), ""));
    assert!(repair.local_edit);
    let columns = &repair.account.user.as_ref().unwrap().columns;
    assert_eq!(columns.get(Column::Email), Some("a@example.com"));
    assert_eq!(columns.get(Column::Username), Some("chosen"));
    assert_eq!(repair.change.unwrap().changed, ["email"]);
}

#[test]
fn a_version_is_believed_up_to_a_day_ahead_to_the_millisecond() {
    let day = 24 * HOUR;
    for (version, is_future) in [(20, false), (20 + day, false), (20 + day + 1, true)] {
        assert_eq!(super::is_future(&snapshot(version, "a"), at(20)), is_future, "{version}");
    }
    let timeless = Snapshot { versioned_at: None, ..snapshot(i64::MAX, "a") };
    assert!(!super::is_future(&timeless, at(20)), "a version that is no time lies nowhere");
}

#[test]
fn what_is_received_in_the_millisecond_of_a_mark_may_be_later_than_the_read() {
    let earlier = same(20);
    // The first reading, then whether the second one confirms it.
    for (received_ms, confirms) in [(19, true), (20, false), (21, false)] {
        let first =
            decide_read(&Layout::default(), &known(9, "new"), &read(4, "old", 20), received(received_ms), "");
        assert_eq!(first, doubt(Doubt::Older, received_ms < 20), "received at {received_ms}");
        let second = decide_read(
            &Layout::default(),
            &known(9, "new"),
            &read(4, "old", 80),
            after(earlier, received_ms),
            "",
        );
        assert_eq!(matches!(second, ReadDecision::Apply(_)), confirms, "received at {received_ms}");
        let absent = decide_read(
            &Layout::default(),
            &known(9, "new"),
            &gone(80),
            after(absent_before(20), received_ms),
            "",
        );
        assert_eq!(absent == ReadDecision::Gone, confirms, "received at {received_ms}");
    }
}

#[test]
fn only_readings_marked_after_the_deletion_was_received_bring_an_account_back() {
    let deleted = delivered(&known(9, "before"), EventKind::Delete, 50).account;
    for (first_ms, present, revives) in
        [(49, true, false), (50, true, false), (51, true, true), (51, false, false)]
    {
        let earlier = Earlier { marked_at: at(first_ms), present, same: false };
        // Nothing is known to have been received: the deletion alone says when.
        let circumstances = Circumstances { received_at: None, ..after(earlier, 0) };
        let second = decide_read(&Layout::default(), &deleted, &read(9, "before", 200), circumstances, "");
        assert_eq!(matches!(second, ReadDecision::Apply(_)), revives, "{earlier:?}");
    }
    let first = Circumstances { received_at: None, ..received(0) };
    for (marked_ms, counts) in [(49, false), (50, false), (51, true)] {
        let decision = decide_read(&Layout::default(), &deleted, &read(9, "before", marked_ms), first, "");
        assert_eq!(decision, doubt(Doubt::Revival, counts), "marked at {marked_ms}");
    }
}

#[test]
fn an_earlier_reading_confirms_only_what_it_has_seen_itself() {
    let elsewhere = Earlier { same: false, ..same(20) };
    for (account, reading, earlier) in [
        (known(9, "new"), read(4, "old", 200), elsewhere),
        (known(9, "new"), gone(200), same(20)),
        (known(9, "new"), read(200 + 48 * HOUR, "next", 200), elsewhere),
    ] {
        let decision = decide_read(&Layout::default(), &account, &reading, after(earlier, 10), "");
        assert!(matches!(decision, ReadDecision::Again(Again { counts: true, .. })), "{decision:?}");
    }
}

#[test]
fn the_absence_of_an_account_that_has_ended_is_no_news() {
    let deleted = delivered(&known(9, "before"), EventKind::Delete, 50).account;
    let decision = decide_read(&Layout::default(), &deleted, &gone(80), after(absent_before(60), 50), "");
    assert_eq!(decision, ReadDecision::Unchanged);
}

#[test]
fn a_read_of_the_same_version_and_content_changes_nothing_whenever_it_was_marked() {
    let account = known(9, "new");
    for received_ms in [10, 20, 30] {
        let decision =
            decide_read(&Layout::default(), &account, &read(9, "new", 20), received(received_ms), "");
        assert_eq!(decision, ReadDecision::Unchanged);
    }
}

#[test]
fn a_version_that_was_read_again_after_it_had_been_replaced_keeps_the_highest_in_mind() {
    let account = known(9, "new");
    let confirmed = |marked_ms| after(same(marked_ms), 10);
    let down =
        applied(decide_read(&Layout::default(), &account, &read(4, "restored", 80), confirmed(20), ""));
    let further = decide_read(&Layout::default(), &down.account, &read(2, "older", 200), confirmed(100), "");
    let identity = applied(further).account.identity.unwrap();
    assert_eq!(identity.replaced_version, Some(9), "deliveries up to the highest are doubted still");
}

#[test]
fn the_row_itself_decides_at_once_even_downward() {
    let account = known(5, "Ann");
    let of_the_row = |reading: Reading| Reading { is_of_the_row: true, ..reading };
    let decide = |reading: Reading, at| decide_read(&Layout::default(), &account, &reading, at, "");
    let older = read(1, "Ann of the past", 50);
    assert_eq!(decide(older.clone(), received(10)), doubt(Doubt::Older, true));
    assert_eq!(name(&applied(decide(of_the_row(older.clone()), received(10))).account), "Ann of the past");
    assert_eq!(decide(of_the_row(older), received(60)), doubt(Doubt::Older, false), "something came since");
    assert_eq!(
        decide(of_the_row(gone(50)), received(10)),
        doubt(Doubt::Missing, true),
        "absence is seen twice"
    );
    assert!(Doubt::Older.is_of_content() && Doubt::Future.is_of_content() && !Doubt::Missing.is_of_content());
}
