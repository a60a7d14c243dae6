//! Reads beside deliveries, on a database: the timelines of rules 3, 4 and 7.

use super::support::wait::until;
use super::support::{Backend, Db, EPOCH_MS, event, user};
use super::{applier, delivery, drain, reads, source, tick};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use headcount::core::event::{EventKind, IdentityKey};
use headcount::core::layout::Layout;
use headcount::core::read::{Observation, Reading};
use headcount::core::timestamp::Timestamp;
use headcount::core::words::RunMode;
use headcount::live::Live;
use headcount::reconcile::{PriorCounts, ReadContext, ReadsOutcome, RunRef};
use headcount::source::http::ApiAccess;
use headcount::store::{Counts, Grant, Store, StoreError};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

on_each_database!(
    a_read_of_a_version_that_no_delivery_announced_beats_an_older_delivery,
    a_page_that_was_in_flight_does_not_overwrite_a_newer_delivery,
    a_pending_delivery_outweighs_an_equal_version,
    a_404_that_races_a_pending_delivery_deletes_nobody,
    a_single_read_in_flight_across_a_sweep_revives_nobody,
    two_deliveries_that_differ_in_content_alone_have_the_source_asked,
    a_run_that_was_taken_over_writes_nothing_more,
    a_page_commits_behind_the_page_before_it,
    what_a_constraint_keeps_out_is_held_back_and_the_page_is_written,
    a_row_that_only_the_commit_refuses_stays_as_it_is,
    the_limiter_is_one_for_all_and_keeps_its_pace,
    a_lease_is_held_by_one_until_it_runs_out,
    the_graveyard_of_locks_stays_empty,
);

fn context(since: Option<Timestamp>) -> ReadContext {
    ReadContext { cause: "test", since, ..ReadContext::default() }
}

fn key(id: &str) -> IdentityKey {
    IdentityKey { source: "clerk".into(), provider_id: id.into() }
}

/// What a read of this user says, marked then.
fn present(id: &str, version: i64, name: &str, marked_at: Timestamp) -> (IdentityKey, Reading) {
    let email = format!("{id}@example.com");
    let body = event("user.updated", user(id, version, Some(&email), None, name), version);
    let EventKind::Upsert(snapshot) =
        source().provider.normalize("clerk", &body, &Layout::default()).unwrap().kind
    else {
        panic!("no upsert")
    };
    (key(id), Reading { observed: Observation::Present(snapshot), marked_at, is_of_the_row: false })
}

fn absent(id: &str, marked_at: Timestamp) -> (IdentityKey, Reading) {
    (key(id), Reading { observed: Observation::Absent, marked_at, is_of_the_row: false })
}

async fn read(store: &Store, readings: &[(IdentityKey, Reading)], since: Option<Timestamp>) -> ReadsOutcome {
    reads(store).apply(readings, &[], &context(since), "", Counts::default()).await.unwrap()
}

async fn receive(store: &Store, message_id: &str, id: &str, version: i64, name: &str) {
    let email = format!("{id}@example.com");
    let body = event("user.updated", user(id, version, Some(&email), None, name), version);
    store.accept(&[delivery(message_id, &body)]).await.unwrap();
}

async fn name(db: &Db) -> String {
    db.one("SELECT first_name FROM users").await
}

async fn a_read_of_a_version_that_no_delivery_announced_beats_an_older_delivery(db: Db) {
    let store = db.store().await;
    receive(&store, "msg_1", "user_1", 5, "first").await;
    drain(&store).await;
    let marked_at = store.now().await.unwrap();
    // While the answer is on its way, an older delivery commits.
    receive(&store, "msg_2", "user_1", 6, "older").await;
    drain(&store).await;
    read(&store, &[present("user_1", 7, "newest", marked_at)], None).await;
    assert_eq!(name(&db).await, "newest");
    receive(&store, "msg_3", "user_1", 6, "late").await;
    drain(&store).await;
    assert_eq!(name(&db).await, "newest");
}

/// The race in which a well-known peer loses data for good.
async fn a_page_that_was_in_flight_does_not_overwrite_a_newer_delivery(db: Db) {
    let store = db.store().await;
    receive(&store, "msg_1", "user_1", 5, "old").await;
    drain(&store).await;
    let marked_at = store.now().await.unwrap();
    receive(&store, "msg_2", "user_1", 6, "new").await;
    drain(&store).await;
    let applied = read(&store, &[present("user_1", 5, "old", marked_at)], None).await;
    assert_eq!((applied.doubted, name(&db).await.as_str()), (1, "new"));
    receive(&store, "msg_2_again", "user_1", 6, "new").await;
    drain(&store).await;
    assert_eq!(name(&db).await, "new");
    // Read once more, as the doubt demands, it says the same as the tables.
    let marked_at = store.now().await.unwrap();
    let applied = read(&store, &[present("user_1", 6, "new", marked_at)], None).await;
    assert_eq!((applied.counts.unchanged, db.count("headcount.confirmations").await), (1, 0));
}

async fn a_pending_delivery_outweighs_an_equal_version(db: Db) {
    let store = db.store().await;
    receive(&store, "msg_1", "user_1", 5, "first").await;
    drain(&store).await;
    let marked_at = store.now().await.unwrap();
    receive(&store, "msg_2", "user_1", 5, "pending").await;
    let applied = read(&store, &[present("user_1", 5, "read", marked_at)], None).await;
    assert_eq!((applied.doubted, name(&db).await.as_str()), (1, "first"), "it is to be read again");
    drain(&store).await;
    tick(&store).await;
    let marked_at = store.now().await.unwrap();
    read(&store, &[present("user_1", 5, "read", marked_at)], None).await;
    assert_eq!(name(&db).await, "read", "nothing was received since");
}

async fn a_404_that_races_a_pending_delivery_deletes_nobody(db: Db) {
    let store = db.store().await;
    receive(&store, "msg_1", "user_1", 5, "here").await;
    receive(&store, "msg_2", "user_2", 5, "gone").await;
    drain(&store).await;
    tick(&store).await;
    let run_mark = store.now().await.unwrap();
    for round in 0..2 {
        let marked_at = Timestamp::clamped(run_mark.ms() + 1 + round);
        let both = [absent("user_1", marked_at), absent("user_2", marked_at)];
        let applied = read(&store, &both, Some(run_mark)).await;
        assert_eq!(applied.gone.len(), if round == 0 { 0 } else { 2 });
    }
    // Between the second 404 and the sweep a delivery comes in, and is still pending.
    tick(&store).await;
    receive(&store, "msg_3", "user_1", 6, "back").await;
    let mut tx = store.reconciliation().await.unwrap();
    let keys = [key("user_1"), key("user_2")];
    let (deleted, changes) =
        reads(&store).sweep(&mut tx, &keys, run_mark, &context(Some(run_mark))).await.unwrap();
    tx.commit(&changes).await.unwrap();
    assert_eq!(deleted, [key("user_2")]);
    // And absence says nothing about it in this run any more.
    let applied = read(&store, &[absent("user_1", run_mark)], Some(run_mark)).await;
    assert_eq!((applied.doubted, applied.gone.len()), (0, 0));
    drain(&store).await;
    assert_eq!(db.one("SELECT first_name FROM users WHERE account_state = 'active'").await, "back");
}

async fn a_single_read_in_flight_across_a_sweep_revives_nobody(db: Db) {
    let store = db.store().await;
    receive(&store, "msg_1", "user_1", 5, "here").await;
    drain(&store).await;
    tick(&store).await;
    // An `ensure` asks; before it has its answer, a sweep deletes.
    let asked_at = store.now().await.unwrap();
    let mut tx = store.reconciliation().await.unwrap();
    let (deleted, changes) =
        reads(&store).sweep(&mut tx, &[key("user_1")], asked_at, &context(Some(asked_at))).await.unwrap();
    tx.commit(&changes).await.unwrap();
    assert_eq!(deleted.len(), 1);
    let deleted = "users WHERE account_state = 'deleted'";
    for _ in 0..3 {
        read(&store, &[present("user_1", 9, "in flight", asked_at)], None).await;
        assert_eq!(db.count(deleted).await, 1);
    }
    tick(&store).await;
    let first = store.now().await.unwrap();
    read(&store, &[present("user_1", 2, "imported", first)], None).await;
    assert_eq!(db.count(deleted).await, 1, "one read is not enough");
    read(&store, &[present("user_1", 2, "imported", Timestamp::clamped(first.ms() + 1))], None).await;
    assert_eq!((db.count(deleted).await, name(&db).await.as_str()), (0, "imported"));
}

async fn two_deliveries_that_differ_in_content_alone_have_the_source_asked(db: Db) {
    let store = db.store().await;
    for can_ask in [false, true] {
        let mut deliveries = applier(&store, DeleteLimit::Off);
        let mut source = source();
        if can_ask {
            source.api = Some(ApiAccess {
                url: "http://127.0.0.1:1".parse().unwrap(),
                key: Live::new("sk_test_x".into()),
            });
        }
        deliveries.sources = Arc::new(vec![source]);
        let id = format!("user_{can_ask}");
        for content in ["one", "two"] {
            receive(&store, &format!("msg_{can_ask}_{content}"), &id, 5, content).await;
            deliveries.apply_batch().await.unwrap();
        }
        assert_eq!(db.count("headcount.confirmations").await, u64::from(can_ask));
    }
    assert_eq!(db.one("SELECT doubt FROM headcount.confirmations").await, "contested");
    let due = store.due_confirmations("clerk", None, 10).await.unwrap();
    assert_eq!(due[0].key, key("user_true"));
}

/// Whether somebody has locked accounts, in a transaction that is open.
async fn locks_are_held(db: &Db) -> bool {
    match db.backend {
        // There is one writer: whoever would be it too is refused.
        Backend::Sqlite => {
            db.try_execute("PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; ROLLBACK").await.is_err()
        }
        // Who has locked or written a row has a lock on its table until the transaction ends.
        _ => {
            let on_accounts = "pg_locks WHERE relation = CAST('headcount.identities' AS regclass)
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND mode IN ('RowShareLock', 'RowExclusiveLock')";
            db.count(on_accounts).await > 0
        }
    }
}

async fn a_page_commits_behind_the_page_before_it(db: Db) {
    let store = db.store().await;
    store.begin_run("run_1", "clerk", RunMode::Full, "test", "first").await.unwrap();
    let marked_at = store.now().await.unwrap();
    let context = ReadContext {
        run: Some(RunRef { id: "run_1".into(), holder: "first".into() }),
        cause: "full",
        ..ReadContext::default()
    };
    let seen = Counts { seen: 2, ..Counts::default() };
    let (tell, earlier) = oneshot::channel();
    let page = tokio::spawn({
        let (store, context) = (store.clone(), context.clone());
        async move {
            let readings = [present("user_2", 1, "second", marked_at)];
            let before = PriorCounts::after(seen, Some(earlier));
            reads(&store).apply(&readings, &[], &context, "second page", before).await
        }
    });
    // Where the machine is so busy that nobody looks for two seconds, it has given them back again before anybody saw it.
    let began = Instant::now();
    let overlooked = || began.elapsed() > Duration::from_secs(10);
    until("the page waits with its locks", || async { locks_are_held(&db).await || overlooked() }).await;
    assert!(!page.is_finished());
    assert_eq!(db.count("users").await, 0, "its page would be skipped, should the one before it fail");
    // It gives its locks back rather than holding them for as long as that one takes.
    until("the page gives its locks back", || async { !locks_are_held(&db).await }).await;
    assert!(!page.is_finished());
    let mut tx = store.reconciliation().await.unwrap();
    assert_eq!(tx.lock(&[key("user_2")]).await.unwrap().len(), 1);
    drop(tx);
    tell.send(Counts { created: 1, ..Counts::default() }).unwrap();
    page.await.unwrap().unwrap();
    let run = store.run("run_1").await.unwrap().unwrap();
    assert_eq!((run.cursor.as_deref(), run.counts.seen, run.counts.created), (Some("second page"), 2, 2));
    // The page before it has failed.
    let (tell, earlier) = oneshot::channel();
    drop::<oneshot::Sender<Counts>>(tell);
    let readings = [present("user_3", 1, "third", marked_at)];
    let before = PriorCounts::after(seen, Some(earlier));
    let error = reads(&store).apply(&readings, &[], &context, "third page", before).await.unwrap_err();
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
    assert_eq!((db.count("users").await, db.count("headcount.identities").await), (1, 1));
}

async fn a_run_that_was_taken_over_writes_nothing_more(db: Db) {
    let store = db.store().await;
    store.begin_run("run_1", "clerk", RunMode::Full, "test", "first").await.unwrap();
    let marked_at = store.now().await.unwrap();
    let paused = ReadContext {
        run: Some(RunRef { id: "run_1".into(), holder: "first".into() }),
        waits: true,
        ..context(Some(marked_at))
    };
    let page = [present("user_1", 5, "page", marked_at)];
    reads(&store).apply(&page, &[], &paused, "{}", Counts::default()).await.unwrap();
    assert!(store.resume_run("clerk", "second", 60_000).await.unwrap().is_some());
    let late = [present("user_2", 5, "late", marked_at)];
    let refused = reads(&store).apply(&late, &[key("user_1")], &paused, "{}", Counts::default()).await;
    assert!(matches!(refused, Err(StoreError::Lost(_))), "{refused:?}");
    assert_eq!((db.count("users").await, db.count("headcount.confirmations").await), (1, 0));
}

async fn what_a_constraint_keeps_out_is_held_back_and_the_page_is_written(db: Db) {
    let store = db.store().await;
    db.execute("CREATE UNIQUE INDEX one_name ON users (first_name)").await;
    let marked_at = store.now().await.unwrap();
    let page: Vec<_> = ["same", "same", "other", "third"]
        .iter()
        .enumerate()
        .map(|(n, name)| present(&format!("user_{n}"), 5, name, marked_at))
        .collect();
    let applied = read(&store, &page, None).await;
    assert_eq!((applied.counts.created, applied.partial, applied.refusals.len()), (4, 1, 0));
    assert_eq!(db.count("users").await, 4);
    let again = read(&store, &page, None).await;
    assert_eq!((again.counts.unchanged, again.counts.updated), (4, 0), "what is held back is no change");
    assert_eq!(db.count("headcount.held_values").await, 1);
}

async fn a_row_that_only_the_commit_refuses_stays_as_it_is(db: Db) {
    let store = db.store().await;
    let marked_at = store.now().await.unwrap();
    let page = |version, first: &str| {
        let marked_at = headcount::core::timestamp::Timestamp::clamped(marked_at.ms() + version);
        [present("user_1", version, first, marked_at), present("user_2", version, "other", marked_at)]
    };
    read(&store, &page(5, "good"), None).await;
    db.execute("CREATE TABLE teams (name text PRIMARY KEY)").await;
    db.execute("CREATE TABLE audit (team text REFERENCES teams (name) DEFERRABLE INITIALLY DEFERRED)").await;
    super::holding::audit(&db, "first_name", "bad").await;
    let applied = read(&store, &page(6, "bad"), None).await;
    assert_eq!((applied.partial, applied.refusals.len()), (1, 0));
    assert_eq!(db.count("users WHERE first_name = 'good'").await, 1);
    assert_eq!(db.count("headcount.identities WHERE read_at IS NOT NULL AND user_id IS NOT NULL").await, 2);
    assert!(db.count("headcount.held_values WHERE \"column\" = 'first_name'").await == 1);
}

async fn the_limiter_is_one_for_all_and_keeps_its_pace(db: Db) {
    let pace = headcount::core::rate::RateLimit { requests: 100, window_ms: 10_000 }.pace(1.0);
    let waits_of = |grants: Vec<Grant>| -> Vec<i64> {
        let wait = |grant| match grant {
            Grant::Granted { wait_us, count: 1, .. } => wait_us,
            other => panic!("{other:?}"),
        };
        grants.into_iter().map(wait).collect()
    };
    // Each from another process's connections, which are there before the pace counts.
    let mut stores = Vec::new();
    for _ in 0..6 {
        stores.push(db.store().await);
    }
    let mut grants = Vec::new();
    for store in &stores {
        grants.push(store.grant("clerk", pace).await.unwrap());
    }
    let waits = waits_of(grants);
    assert!(waits[0] <= 1_000 && waits[5] > 0, "{waits:?}");
    let store = db.store().await;
    let before = store.now().await.unwrap();
    let Grant::Granted { wait_us, .. } = store.grant("clerk", pace).await.unwrap() else { panic!() };
    let mut at_once = Vec::new();
    for _ in 0..10 {
        at_once.push(store.grant("clerk", pace).await.unwrap());
    }
    let elapsed_us = (store.now().await.unwrap().ms() - before.ms() + 1) * 1_000;
    let last = *waits_of(at_once).last().unwrap();
    assert!(last + elapsed_us >= wait_us + 10 * 100_000, "{last} {wait_us}");

    store.block("clerk", 60_000, "told to").await.unwrap();
    store.block("clerk", 1, "shorter").await.unwrap();
    let Grant::Blocked { for_ms, reason } = db.store().await.grant("clerk", pace).await.unwrap() else {
        panic!()
    };
    assert!(for_ms > 50_000 && reason == "told to", "{for_ms} {reason}");
    assert!(matches!(store.grant("another", pace).await.unwrap(), Grant::Granted { .. }));
    assert_eq!(store.count_failure("clerk").await.unwrap(), 1);
    store.forget_failures("clerk").await.unwrap();
    assert!(matches!(store.grant("clerk", pace).await.unwrap(), Grant::Granted { .. }));
}

async fn a_lease_is_held_by_one_until_it_runs_out(db: Db) {
    let store = db.store().await;
    assert_eq!(store.lease("x", "a", 60_000).await.unwrap(), None);
    assert!(store.lease("x", "b", 60_000).await.unwrap().is_some_and(|left_ms| left_ms <= 60_000));
    assert_eq!(store.lease("x", "a", 60_000).await.unwrap(), None, "renewed");
    store.release("x", "b").await.unwrap();
    assert!(store.lease("x", "b", 60_000).await.unwrap().is_some());
    assert_eq!(store.lease("x", "a", 1).await.unwrap(), None, "renewed, and nearly over");
    until("the lease runs out", || async { store.lease("x", "b", 60_000).await.unwrap().is_none() }).await;
    store.release("x", "b").await.unwrap();
    assert_eq!(store.lease("x", "a", 60_000).await.unwrap(), None);
}

/// A lock makes a row; what is not believed leaves none.
async fn the_graveyard_of_locks_stays_empty(db: Db) {
    let store = db.store().await;
    let marked_at = store.now().await.unwrap();
    let next_week = marked_at.ms() - EPOCH_MS + 7 * 86_400_000;
    let applied = read(&store, &[present("user_1", next_week, "future", marked_at)], None).await;
    assert_eq!(applied.doubted, 1);
    read(&store, &[absent("user_2", marked_at)], None).await;
    assert_eq!(db.count("headcount.identities").await, 0);
    let body = event("user.deleted", json!({"id": "user_3"}), 1);
    store.accept(&[delivery("msg_3", &body)]).await.unwrap();
    drain(&store).await;
    read(&store, &[absent("user_3", marked_at)], None).await;
    assert_eq!(db.count("headcount.identities WHERE state = 'deleted'").await, 1);
}
