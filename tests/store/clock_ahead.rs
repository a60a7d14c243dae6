//! A clock that was ahead has written times that lie in the future: nothing waits for them.

use super::support::{Backend, Db, event, user};
use super::{delivery, drain};
use crate::on_each_database;
use headcount::core::rate::Pace;
use headcount::store::Grant;

on_each_database!(
    what_lies_further_ahead_than_its_own_longest_pause_is_due_now,
    what_is_put_off_as_it_should_be_stays
);

fn in_two_hours(db: &Db) -> &'static str {
    match db.backend {
        Backend::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+2 hours')",
        _ => "now() + interval '2 hours'",
    }
}

fn pace() -> Pace {
    Pace { interval_us: 1_000, grant: 1, slack_us: 0 }
}

async fn what_lies_further_ahead_than_its_own_longest_pause_is_due_now(db: Db) {
    let store = db.store().await;
    let body = event("user.created", user("user_1", 0, Some("a@example.com"), None, "A"), 0);
    store.accept(&[delivery("msg_1", &body)]).await.unwrap();
    store.grant("clerk", pace()).await.unwrap();
    assert_eq!(store.lease("resync/clerk", "a process that is gone", 30_000).await.unwrap(), None);
    store.name_sources(&[]).await.unwrap();
    let later = in_two_hours(&db);
    let now_us = match db.backend {
        Backend::Sqlite => "CAST(unixepoch('now', 'subsec') * 1000000 AS integer)",
        _ => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
    };
    db.execute(&format!(
        "UPDATE headcount.delivery_states SET next_attempt_at = {later};
         UPDATE headcount.limiters SET next_us = {now_us} + 7195000000;
         UPDATE headcount.leases SET until = {later};
         INSERT INTO headcount.confirmations (source, provider_id, doubt, due_at) VALUES ('clerk', 'user_1', 'asked', {later});
         INSERT INTO headcount.runs (id, source, mode, status, cause, holder, marked_at, started_at)
             VALUES ('run_1', 'clerk', 'full', 'succeeded', 'schedule', 'h', {later}, {later})"
    ))
    .await;
    drain(&store).await;
    assert_eq!(db.count("users").await, 0, "it waits for the clock");
    assert_eq!(store.pull_back_times(60_000).await.unwrap(), 5);
    drain(&store).await;
    assert_eq!(db.count("users").await, 1);
    let Grant::Granted { wait_us, .. } = store.grant("clerk", pace()).await.unwrap() else {
        panic!("blocked")
    };
    assert!(wait_us < 1_000_000, "{wait_us}");
    assert_eq!(
        store.lease("resync/clerk", "another", 30_000).await.unwrap(),
        None,
        "nobody holds it for hours"
    );
    let settled = store.run_history("clerk").await.unwrap().settled_at.unwrap();
    assert!(settled <= store.now().await.unwrap());
    assert_eq!(store.pull_back_times(60_000).await.unwrap(), 0, "once is enough");
    store.close().await;
}

async fn what_is_put_off_as_it_should_be_stays(db: Db) {
    let store = db.store().await;
    let body = event("user.created", user("user_1", 0, Some("a@example.com"), None, "A"), 0);
    store.accept(&[delivery("msg_1", &body), delivery("msg_2", &body)]).await.unwrap();
    let (hour, soon) = match db.backend {
        Backend::Sqlite => (
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 hours')",
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+10 seconds')",
        ),
        _ => ("now() + interval '1 hour'", "now() + interval '10 seconds'"),
    };
    db.execute(&format!(
        "UPDATE headcount.delivery_states SET next_attempt_at = {hour}, attempts = 9 WHERE seq = 1;
         UPDATE headcount.delivery_states SET next_attempt_at = {soon} WHERE seq = 2;
         INSERT INTO headcount.confirmations (source, provider_id, doubt, due_at, failures)
             VALUES ('clerk', 'user_1', 'asked', {hour}, 9), ('clerk', 'user_2', 'asked', {soon}, 0);
         INSERT INTO headcount.postponed (task, source, provider_id, failures, due_at, last_error)
             VALUES ('erase', 'clerk', 'user_3', 9, {hour}, 'x');
         INSERT INTO headcount.limiters (source, next_us, blocked_until) VALUES ('clerk', 0, {hour})"
    ))
    .await;
    assert_eq!(store.pull_back_times(60_000).await.unwrap(), 0);
    store.close().await;
}
