//! What deliveries missed, a resync repairs; what is fishy, it leaves alone.

use super::process::fails_quietly_with;
use super::provider::{Provider, footprint, people};
use super::support::Db;
use super::support::sizes::size;
use crate::on_each_database;
use headcount::simulate::{Faults, ListFault};
use serde_json::json;
use std::time::Duration;

on_each_database!(
    lost_deliveries_are_repaired_and_the_second_run_writes_nothing,
    too_many_deletions_wait_for_a_person,
    whoever_is_gone_is_deleted_and_whoever_is_back_is_revived,
    a_version_that_goes_back_needs_two_reads_and_then_holds,
    a_local_edit_is_drift_and_the_applications_columns_stay,
    an_odd_user_is_a_dead_letter_and_not_a_lost_page,
    another_instance_changes_nothing,
    bad_input_deletes_nobody,
    a_run_that_was_killed_goes_on_where_it_was,
    the_newest_changes_are_read_without_a_webhook,
    one_account_by_its_id,
);

/// Drops, repeats, reordering before the run, changes while it walks. `HEADCOUNT_TEST_USERS` for more of them.
async fn lost_deliveries_are_repaired_and_the_second_run_writes_nothing(db: Db) {
    let users: u64 = size("HEADCOUNT_TEST_USERS", 1_200);
    let provider = Provider::with_users(users).await;
    let (code, first, _) = provider.resync(&db, &[]);
    assert_eq!((code, &first["created"], &first["status"]), (Some(0), &json!(users), &json!("succeeded")));
    let server = provider.server(&db).await;
    provider.simulator.set_faults(|faults| {
        (faults.drop, faults.repeat, faults.reorder, faults.delay_ms) = (0.33, 0.2, 0.2, 100);
    });
    provider.simulator.change(users / 2);
    provider.simulator.delivered().await;
    server.drained(&db).await;
    assert!(provider.simulator.tally().dropped > 100);

    let before = footprint(&db).await;
    let (code, drift, _) = provider.resync(&db, &["--dry-run"]);
    assert_eq!(code, Some(3), "{drift}");
    assert!(drift["drift"].as_array().unwrap().len() > 50);
    assert_eq!(footprint(&db).await, before, "a dry run changes nothing");

    provider.simulator.set_faults(|faults| {
        (faults.drop, faults.latency_ms) = (0.0, 100);
    });
    let mut walking = provider.headcount(&db);
    walking.args(["resync", "clerk", "--json"]).env("HEADCOUNT_MAX_DELETE", "50%");
    let walking = walking.stdout(std::process::Stdio::null()).spawn().unwrap();
    for _ in 0..10 {
        provider.simulator.change(20);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(walking.wait_with_output().unwrap().status.success());
    provider.simulator.delivered().await;
    server.drained(&db).await;
    // Deliveries that contradict a read have the account read again.
    server.until(|| async { db.count("headcount.confirmations").await == 0 }).await;
    provider.equals(&db).await;

    provider.simulator.set_faults(|faults| faults.latency_ms = 0);
    provider.finds_nothing_new(&db).await;

    let (_, status, _) = provider.command(&db, &["status"]);
    let loss = &status["sources"][0]["loss"];
    assert!(loss["rate"].as_f64().unwrap() > 0.05 && loss["delivered"].as_u64().unwrap() > 100, "{loss}");
}

async fn too_many_deletions_wait_for_a_person(db: Db) {
    let provider = Provider::with_users(200).await;
    provider.resync(&db, &[]);
    for id in &provider.ids()[..60] {
        provider.simulator.delete(id);
    }
    let (code, held, error) = provider.resync(&db, &[]);
    assert_eq!((code, &held["status"], &held["held_deletes"]), (Some(3), &json!("held"), &json!(60)));
    assert!(error.contains("HEADCOUNT_MAX_DELETE allows 10") && error.contains("runs approve"), "{error}");
    assert_eq!(people(&db).await.len(), 200);
    assert_eq!(provider.command(&db, &["runs", "list"]).0, Some(3));
    assert_eq!(provider.command(&db, &["status"]).0, Some(3));

    let id = held["run"].as_str().unwrap();
    let (_, rejected, _) = provider.command(&db, &["runs", "reject", id]);
    assert_eq!((&rejected["status"], people(&db).await.len()), (&json!("rejected"), 200));
    let (code, _, error) = provider.command(&db, &["runs", "approve", id, "--yes"]);
    assert_eq!(code, Some(2), "{error}");

    let (_, held, _) = provider.resync(&db, &[]);
    let id = held["run"].as_str().unwrap();
    let (_, shown, _) = provider.command(&db, &["runs", "show", id]);
    assert_eq!(shown["would_delete"].as_array().unwrap().len(), 60);
    let (code, _, error) = provider.command(&db, &["runs", "approve", id]);
    assert!(code == Some(1) && error.contains("--yes"), "{error}");
    let (code, done, error) = provider.command(&db, &["runs", "approve", id, "--yes"]);
    assert_eq!(
        (code, &done["status"], &done["deleted"]),
        (Some(0), &json!("succeeded"), &json!(60)),
        "{error}"
    );
    provider.equals(&db).await;
    assert_eq!(db.count("headcount.identities WHERE deleted_by = 'sweep'").await, 60);
    // What an approval has deleted counts for the next twenty-four hours.
    provider.simulator.delete(&provider.ids()[0]);
    assert_eq!(provider.resync(&db, &[]).1["status"], "held");
}

async fn whoever_is_gone_is_deleted_and_whoever_is_back_is_revived(db: Db) {
    let provider = Provider::with_users(600).await;
    provider.resync(&db, &[]);
    let gone = provider.ids()[..3].to_vec();
    let id_of = format!("SELECT user_id FROM headcount.identities WHERE provider_id = '{}'", gone[0]);
    let user_id = db.one(&id_of).await;
    for id in &gone {
        provider.simulator.delete(id);
    }
    let (code, run, error) = provider.resync(&db, &[]);
    assert_eq!((code, &run["deleted"], &run["status"]), (Some(0), &json!(3), &json!("succeeded")), "{error}");
    provider.equals(&db).await;
    assert_eq!(db.count("users WHERE account_state = 'deleted' AND email IS NULL").await, 3);

    // An import that reuses the ids, with lower versions than were known.
    for id in &gone {
        provider.simulator.restore(id, 1_000, "Reborn");
    }
    let (code, run, error) = provider.resync(&db, &[]);
    assert_eq!((code, &run["revived"]), (Some(0), &json!(3)), "{error}");
    provider.equals(&db).await;
    assert_eq!(db.one(&id_of).await, user_id, "the user keeps its id");
    assert_eq!(db.count("headcount.changes WHERE kind = 'revived'").await, 3);
}

async fn a_version_that_goes_back_needs_two_reads_and_then_holds(db: Db) {
    let provider = Provider::with_users(20).await;
    let server = provider.server(&db).await;
    provider.resync(&db, &[]);
    let id = provider.ids()[4].clone();
    let before = provider.simulator.truth()[4].version;
    assert!(provider.simulator.restore(&id, before - 5_000, "Restored"));
    let (code, run, error) = provider.resync(&db, &[]);
    assert_eq!((code, &run["updated"]), (Some(0), &json!(1)), "{error}");
    assert!(run["requests"].as_u64().unwrap() >= 5, "it was read again by its id: {run}");
    provider.equals(&db).await;
    // What the source has taken back, no late delivery brings about: it only has the source asked.
    let data = super::support::user(&id, 0, Some("late@example.com"), None, "Late");
    let mut late = super::support::event("user.updated", data, 1);
    late = late.replace(&super::support::EPOCH_MS.to_string(), &(before - 1).to_string());
    let late = late.replace("ins_1", headcount::simulate::INSTANCE);
    assert_eq!(server.deliver_signed(headcount::simulate::WEBHOOK_SECRET, "msg_late", &late).await, 202);
    server.drained(&db).await;
    assert_eq!(db.one("SELECT status FROM headcount.inbox WHERE message_id = 'msg_late'").await, "stale");
    server.until(|| async { db.count("headcount.confirmations").await == 0 }).await;
    provider.equals(&db).await;
}

async fn a_local_edit_is_drift_and_the_applications_columns_stay(db: Db) {
    let provider = Provider::with_users(30).await;
    provider.resync(&db, &[]);
    db.execute(
        "UPDATE users SET first_name = 'Edited', display_name = 'Chosen' WHERE email LIKE 'person1.%';
         DELETE FROM users WHERE email LIKE 'person2.%'",
    )
    .await;
    let (code, drift, _) = provider.resync(&db, &["--dry-run"]);
    assert_eq!((code, &drift["local_edits"]), (Some(3), &json!(2)), "{drift}");
    let (_, run, _) = provider.resync(&db, &[]);
    assert_eq!((&run["updated"], &run["created"], &run["local_edits"]), (&json!(1), &json!(1), &json!(2)));
    provider.equals(&db).await;
    assert_eq!(db.count("users WHERE display_name = 'Chosen'").await, 1);
    assert_eq!(provider.resync(&db, &["--dry-run"]).0, Some(0));
}

async fn an_odd_user_is_a_dead_letter_and_not_a_lost_page(db: Db) {
    let provider = Provider::with_users(250).await;
    provider.simulator.set_faults(|faults| faults.odd_every = 50);
    for _ in 0..2 {
        let (code, run, error) = provider.resync(&db, &[]);
        assert_eq!((code, &run["seen"], &run["unreadable"]), (Some(3), &json!(250), &json!(5)), "{error}");
        assert_eq!(run["status"], "partial");
    }
    assert_eq!(people(&db).await.len(), 245);
    assert_eq!(db.count("headcount.inbox WHERE status = 'dead'").await, 5, "one for each, however often");
    let (code, events, _) = provider.command(&db, &["events", "list", "--status", "dead"]);
    assert_eq!(code, Some(3));
    assert_eq!(events["events"][0]["event_type"], "headcount.read");
    // Retried, they are read again.
    provider.simulator.set_faults(|faults| faults.odd_every = 0);
    provider.command(&db, &["events", "retry", "--status", "dead"]);
    let server = provider.server(&db).await;
    server.until(|| async { people(&db).await.len() == 250 }).await;
    provider.equals(&db).await;
}

async fn another_instance_changes_nothing(db: Db) {
    let provider = Provider::with_users(40).await;
    provider.resync(&db, &[]);
    let before = footprint(&db).await;
    provider.simulator.set_faults(|faults| faults.instance = Some("ins_other".into()));
    for args in [&[][..], &["--incremental"], &["--dry-run"], &["--forecast"]] {
        let (code, _, error) = provider.resync(&db, args);
        assert!(code == Some(1) && error.contains("pinned to ins_simulated"), "{args:?}: {error}");
        assert!(error.contains("source repin clerk"), "{error}");
    }
    assert_eq!(footprint(&db).await, before);
    // A sample from the provider's dashboard makes no user.
    let server = provider.server(&db).await;
    let sample = super::support::event(
        "user.created",
        super::support::user(
            "user_29w83sxmDNGwOuEthce5gg56FcC",
            1,
            Some("sample@example.org"),
            None,
            "Sample",
        ),
        1,
    );
    let secret = headcount::simulate::WEBHOOK_SECRET;
    assert_eq!(server.deliver_signed(secret, "msg_sample", &sample).await, 202);
    server.drained(&db).await;
    let (_, events, _) = provider.command(&db, &["events", "list", "--status", "ignored"]);
    assert!(events["events"][0]["last_error"].as_str().unwrap().contains("instance ins_1"), "{events}");
    assert_eq!(footprint(&db).await, before);
    let (code, _, error) = provider.command(&db, &["source", "repin", "clerk"]);
    assert!(code == Some(1) && error.contains("--yes"), "{error}");
    let (_, pinned, _) = provider.command(&db, &["source", "repin", "clerk", "--yes"]);
    assert_eq!(pinned["instance"], "ins_other");
    assert_eq!(provider.resync(&db, &[]).0, Some(0));
    let (_, sources, _) = provider.command(&db, &["source", "list"]);
    assert_eq!(sources["sources"][0]["instance"], "ins_other");
}

/// Each ends in a clear error, exit code 1, and nobody deleted.
async fn bad_input_deletes_nobody(db: Db) {
    let provider = Provider::with_users(1_100).await;
    provider.resync(&db, &[]);
    let before = footprint(&db).await;
    type Fault = fn(&mut Faults);
    let bad: [(&str, &str, Fault); 10] = [
        ("an empty list", "is incomplete", |faults| faults.list = ListFault::Empty),
        ("empty, and the count agrees", "more than half", |faults| {
            (faults.list, faults.count_off_by) = (ListFault::Empty, -1_100);
        }),
        ("half of the list", "is incomplete", |faults| faults.list = ListFault::Half),
        ("half of it, and the count agrees", "leaves out", |faults| {
            (faults.list, faults.count_off_by) = (ListFault::Half, -550);
        }),
        ("a page that repeats", "pages repeat", |faults| faults.list = ListFault::Repeat),
        ("a count that disagrees", "is incomplete", |faults| faults.count_off_by = 7),
        ("HTML with status 200", "not what the API's specification says", |faults| faults.html = 1.0),
        ("a body that is cut off", "", |faults| faults.cut = 1.0),
        ("a key that was revoked", "refuses the key", |faults| faults.revoked = true),
        ("known ids answer 404", "cannot be trusted", |faults| {
            (faults.all_absent, faults.list, faults.count_off_by) = (true, ListFault::Half, -550);
        }),
    ];
    for (what, expected, fault) in bad {
        provider.simulator.set_faults(|faults| {
            *faults = Faults::default();
            fault(faults);
        });
        let (code, run, error) = provider.resync(&db, &[]);
        fails_quietly_with(what, code, &error, expected);
        assert_ne!(run["status"], "succeeded", "{what}");
        assert_eq!(db.count("headcount.identities WHERE state = 'deleted'").await, 0, "{what}");
        assert_eq!(footprint(&db).await, before, "{what}");
        // Answers are good again: no breaker stands open from one to the next.
        provider.simulator.set_faults(|faults| *faults = Faults::default());
        assert_eq!(provider.resync(&db, &["--forecast"]).0, Some(0), "{what}");
    }
    assert_eq!(db.count("headcount.runs WHERE status = 'failed'").await, 10);
    assert_eq!(provider.resync(&db, &[]).0, Some(0));
}

async fn a_run_that_was_killed_goes_on_where_it_was(db: Db) {
    let provider = Provider::with_users(5_000).await;
    provider.simulator.set_faults(|faults| faults.latency_ms = 150);
    let mut killed = provider.headcount(&db).args(["resync", "clerk"]).spawn().unwrap();
    let mut seen = 0;
    while !(1_000..4_000).contains(&seen) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        seen = people(&db).await.len();
        assert!(killed.try_wait().unwrap().is_none(), "it ended before it could be killed");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let walked: u64 = db.one("SELECT CAST(pages AS text) FROM headcount.runs").await.parse().unwrap();
    // Somebody signs up, and somebody whom the walk has passed is gone.
    provider.simulator.delete(&provider.ids()[10]);
    provider.simulator.set_faults(|faults| faults.latency_ms = 0);
    let (_, runs, _) = provider.command(&db, &["runs", "list"]);
    let (_, requests_before) = provider.simulator.requests();
    let (code, run, error) = provider.resync(&db, &[]);
    assert_eq!((code, &run["status"]), (Some(0), &json!("succeeded")), "{error}");
    assert_eq!(run["run"], runs["runs"][0]["run"], "the same run goes on");
    assert_eq!((&run["seen"], &run["created"]), (&json!(5_000), &json!(5_000)), "nobody is counted twice");
    let (_, requests) = provider.simulator.requests();
    assert!(requests - requests_before <= 11 - walked + 5, "it read what was left: {requests}");
    let (code, _, error) = provider.resync(&db, &[]);
    assert_eq!(code, Some(0), "{error}");
    provider.equals(&db).await;
    assert_eq!(db.count("headcount.runs").await, 2);
}

async fn the_newest_changes_are_read_without_a_webhook(db: Db) {
    let provider = Provider::with_users(700).await;
    provider.resync(&db, &[]);
    provider.simulator.change(30);
    let (code, run, error) = provider.resync(&db, &["--incremental"]);
    assert_eq!((code, &run["mode"], &run["deleted"]), (Some(0), &json!("incremental"), &json!(0)), "{error}");
    assert!(run["created"].as_u64().unwrap() + run["updated"].as_u64().unwrap() > 10, "{run}");
    let mut variables = provider.variables();
    variables.retain(|(name, _)| *name != "CLERK_WEBHOOK_SIGNING_SECRET");
    variables.extend([
        ("CLERK_WEBHOOK_SIGNING_SECRET", ""),
        ("HEADCOUNT_RESYNC_SCHEDULE", "off"),
        ("HEADCOUNT_POLL", "200ms"),
    ]);
    let server = super::process::Server::start_with(&db, &[], &variables).await;
    let id = provider.ids()[5].clone();
    provider.simulator.edit(&id, &json!({"first_name": "Polled"}));
    server.until(|| async { db.count("users WHERE first_name = 'Polled'").await == 1 }).await;
    // It deletes nobody, and a poll that finds nothing leaves no trace.
    provider.simulator.delete(&id);
    polls(&provider, &server).await;
    let runs = db.count("headcount.runs").await;
    polls(&provider, &server).await;
    assert_eq!(db.count("headcount.runs").await, runs);
    assert_eq!(db.count("users WHERE first_name = 'Polled' AND account_state <> 'deleted'").await, 1);
}

/// Waits for several polls, each of which has at least one request.
async fn polls(provider: &Provider, server: &super::process::Server) {
    let before = provider.simulator.requests().1;
    server.until(|| async { provider.simulator.requests().1 >= before + 8 }).await;
}

async fn one_account_by_its_id(db: Db) {
    let provider = Provider::with_users(25).await;
    let id = provider.ids()[3].clone();
    provider.resync(&db, &["--user", &provider.ids()[4]]);
    let (code, run, error) = provider.resync(&db, &["--user", &id]);
    assert_eq!((code, &run["mode"], &run["created"]), (Some(0), &json!("user"), &json!(1)), "{error}");
    provider.simulator.edit(&id, &json!({"first_name": "Alone"}));
    assert_eq!(provider.resync(&db, &["--user", &id]).1["updated"], 1);
    assert_eq!(people(&db).await[0].first_name.as_deref(), Some("Alone"));
    let (code, _, error) = provider.resync(&db, &["--user", "user_nobody"]);
    assert!(code == Some(1) && error.contains("user_nobody"), "{error}");
    provider.simulator.delete(&id);
    let (code, held, error) = provider.resync(&db, &["--user", &id]);
    assert_eq!((code, &held["status"]), (Some(3), &json!("held")), "a single read deletes nobody: {error}");
    assert_eq!(people(&db).await.len(), 2);
    // Where nobody else is known, an answer of 404 can be the API's fault as well.
    provider.simulator.set_faults(|faults| faults.all_absent = true);
    let (code, _, error) = provider.resync(&db, &["--user", &id]);
    fails_quietly_with("404 for everybody", code, &error, "cannot be trusted");
}
