//! From the inbox to `users`: order and repetition do not matter, nobody fails a neighbour, one writer per account.

use super::support::wait::until;
use super::support::{Backend, Db, Dice, event, history, user};
use super::{applier, deliver, delivery, drain, with_status};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use serde_json::json;
use sqlx::Connection;

on_each_database!(
    a_history_ends_the_same_in_any_order,
    a_version_that_says_nothing_new_writes_no_user_and_no_change,
    several_appliers_share_the_work_and_the_feed_has_no_gap,
    several_appliers_share_one_brake,
    a_repeated_deletion_uses_up_no_brake,
    what_the_application_wrote_stays,
    a_row_that_the_application_removed_comes_back_under_its_id,
    changes_say_what_and_why,
    private_metadata_is_not_kept,
    only_configured_sources_are_applied,
);

async fn a_history_ends_the_same_in_any_order(db: Db) {
    let store = db.store().await;
    let (mut sent, people) = history(7, 300);
    let mut dice = Dice(11);
    let repeats: Vec<_> = (0..30)
        .map(|_| sent[dice.roll(sent.len())].clone())
        .map(|(id, body)| (format!("{id}_again"), body))
        .collect();
    sent.extend(repeats);
    dice.shuffle(&mut sent);
    for chunk in sent.chunks(37) {
        let deliveries: Vec<_> = chunk.iter().map(|(id, body)| delivery(id, body)).collect();
        store.accept(&deliveries).await.unwrap();
        drain(&store).await;
    }
    assert_eq!(db.people().await, people);
    assert_eq!(db.count("headcount.inbox WHERE status NOT IN ('applied', 'stale')").await, 0);
}

async fn a_version_that_says_nothing_new_writes_no_user_and_no_change(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", user("user_1", 1, Some("a@example.com"), None, "A"), 1)]).await;
    let row = "SELECT CAST(updated_at AS text) FROM users";
    let before = (db.one(row).await, db.count("headcount.changes").await);
    let mut seen = user("user_1", 2, Some("a@example.com"), None, "A");
    seen["last_active_at"] = json!(1);
    seen["locked"] = json!(true);
    seen["lockout_expires_in_seconds"] = json!(77);
    deliver(&store, &[event("user.updated", seen, 2)]).await;
    assert_eq!((db.one(row).await, db.count("headcount.changes").await), before);
    let version = db.one("SELECT CAST(version AS text) FROM headcount.identities").await;
    assert!(version.ends_with("002"), "the version is remembered all the same: {version}");
}

/// So many appliers at once, each with connections of its own as another process would have, until nothing is pending.
async fn apply_together(db: &Db, appliers: usize, limit: DeleteLimit, batch_max: i64) {
    let mut workers = Vec::new();
    for _ in 0..appliers {
        let store = db.store().await;
        workers.push(tokio::spawn(async move {
            let mut applier = applier(&store, limit);
            applier.batch_max = batch_max;
            until("nothing is pending", || async {
                while applier.apply_batch().await.unwrap().finished > 0 {}
                store.deliveries(&with_status("pending"), false).await.unwrap().is_empty()
            })
            .await;
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

async fn several_appliers_share_the_work_and_the_feed_has_no_gap(db: Db) {
    let (mut sent, people) = history(3, 600);
    Dice(5).shuffle(&mut sent);
    let store = db.store().await;
    let deliveries: Vec<_> = sent.iter().map(|(id, body)| delivery(id, body)).collect();
    store.accept(&deliveries).await.unwrap();
    apply_together(&db, 3, DeleteLimit::Off, 20).await;
    assert_eq!(db.people().await, people);
    let feed = db.query("SELECT CAST(count(*) AS text), CAST(min(seq) AS text), CAST(max(seq) AS text) FROM headcount.changes").await;
    assert_eq!(feed[0][0], feed[0][2]);
    assert_eq!(feed[0][1].as_deref(), Some("1"));
}

/// Several processes count what the others have deleted, and not only what they have deleted themselves.
async fn a_repeated_deletion_uses_up_no_brake(db: Db) {
    let store = db.store().await;
    let people: Vec<String> =
        (0..4).map(|n| event("user.created", user(&format!("user_{n}"), 0, None, None, "A"), 0)).collect();
    deliver(&store, &people).await;
    let ends = |n: usize| event("user.deleted", json!({"id": format!("user_{n}"), "deleted": true}), 1);
    let (deleted, age) = (
        (0..3).map(ends).collect::<Vec<_>>(),
        match db.backend {
            Backend::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 hours')",
            _ => "now() - interval '2 hours'",
        },
    );
    deliver(&store, &deleted).await;
    db.execute(&format!("UPDATE headcount.identities SET synced_at = {age}")).await;
    // The same deletions under new message ids, hours later.
    deliver(&store, &deleted).await;
    store.accept(&[delivery("msg_last", &ends(3))]).await.unwrap();
    applier(&store, DeleteLimit::Accounts(1)).apply_batch().await.unwrap();
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 4);
    assert_eq!(db.count("headcount.inbox WHERE status = 'held'").await, 0);
    store.close().await;
}

async fn several_appliers_share_one_brake(db: Db) {
    let store = db.store().await;
    let created = |n: usize| event("user.created", user(&format!("user_{n}"), 0, None, None, "Ann"), 0);
    deliver(&store, &(0..60).map(created).collect::<Vec<_>>()).await;
    let gone = |n: usize| {
        let body = event("user.deleted", serde_json::json!({"id": format!("user_{n}"), "deleted": true}), 50);
        delivery(&format!("gone_{n}"), &body)
    };
    store.accept(&(0..60).map(gone).collect::<Vec<_>>()).await.unwrap();
    apply_together(&db, 4, DeleteLimit::Accounts(10), 12).await;
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 10);
    assert_eq!(db.count("headcount.inbox WHERE status = 'held'").await, 50);
}

async fn what_the_application_wrote_stays(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", user("user_1", 0, Some("a@example.com"), None, "Ann"), 0)]).await;
    db.execute("UPDATE users SET username = 'ann', email = 'drift@example.com'").await;
    deliver(
        &store,
        &[event("user.updated", user("user_1", 1, Some("a@example.com"), Some("other"), "Anna"), 1)],
    )
    .await;
    let row = db.query("SELECT username, email, display_name FROM users").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(row, [[text("ann"), text("a@example.com"), text("Anna")]]);
}

async fn a_row_that_the_application_removed_comes_back_under_its_id(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", user("user_1", 0, Some("a@example.com"), None, "Ann"), 0)]).await;
    let id = db.one("SELECT CAST(id AS text) FROM users").await;
    db.execute("DELETE FROM users").await;
    deliver(&store, &[event("user.updated", user("user_1", 1, Some("b@example.com"), None, "Ann"), 1)]).await;
    assert_eq!(db.one("SELECT CAST(id AS text) FROM users").await, id);
}

async fn changes_say_what_and_why(db: Db) {
    let store = db.store().await;
    deliver(
        &store,
        &[
            event("user.created", user("user_1", 0, Some("a@example.com"), None, "Ann"), 0),
            event("user.updated", user("user_1", 1, Some("a@example.com"), Some("ann"), "Ann"), 1),
            event("user.deleted", json!({"id": "user_1"}), 2),
        ],
    )
    .await;
    let rows =
        db.query("SELECT kind, CAST(changed AS text), cause FROM headcount.changes ORDER BY seq").await;
    let kinds: Vec<_> = rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(kinds, ["created", "updated", "deleted"]);
    assert!(rows[1][1].as_ref().unwrap().contains("username"));
    for (n, row) in rows.iter().enumerate() {
        let cause: serde_json::Value = serde_json::from_str(row[2].as_ref().unwrap()).unwrap();
        assert_eq!(cause["delivery"]["message_id"], format!("msg_{n}"));
        assert_eq!(cause["delivery"]["source"], "clerk");
    }
}

async fn private_metadata_is_not_kept(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", user("user_1", 0, None, None, "Ann"), 0)]).await;
    let profile = db.one("SELECT profile FROM headcount.identities").await;
    assert!(profile.contains("Ann") && !profile.contains("private-marker"), "{profile}");
}

async fn only_configured_sources_are_applied(db: Db) {
    let store = db.store().await;
    let mut other = delivery("msg_1", &event("user.created", user("user_1", 0, None, None, "A"), 0));
    other.source = "clerk-staff".into();
    store.accept(&[other]).await.unwrap();
    assert_eq!(drain(&store).await.finished, 0);
    assert_eq!(db.count("headcount.inbox WHERE status = 'pending'").await, 1);
}

/// On SQLite there is no lock of a row: the one writer waits for the other's commit.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_somebody_holds_is_passed_over_and_its_neighbours_are_not() {
    let db = Db::new(Backend::Postgres).await;
    let store = db.store().await;
    let named = |id: &str, version, name| event("user.updated", user(id, version, None, None, name), version);
    deliver(&store, &[named("user_1", 0, "A"), named("user_2", 0, "B")]).await;
    let mut conn = sqlx::PgConnection::connect(&db.url).await.unwrap();
    let mut held = conn.begin().await.unwrap();
    sqlx::raw_sql("SELECT 1 FROM headcount.identities WHERE provider_id = 'user_1' FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let updates =
        [delivery("msg_a", &named("user_1", 1, "A2")), delivery("msg_b", &named("user_2", 1, "B2"))];
    store.accept(&updates).await.unwrap();
    let applied = applier(&store, DeleteLimit::Off).apply_batch().await.unwrap();
    assert_eq!((applied.claimed, applied.finished), (2, 1));
    held.rollback().await.unwrap();
    // The application's own insert that refers to a user holds a key share lock, which is no obstacle.
    let mut held = conn.begin().await.unwrap();
    sqlx::raw_sql("SELECT 1 FROM users FOR KEY SHARE").execute(&mut *held).await.unwrap();
    // It was put off for a moment.
    while db.count("headcount.inbox WHERE status = 'pending'").await > 0 {
        applier(&store, DeleteLimit::Off).apply_batch().await.unwrap();
    }
    held.rollback().await.unwrap();
    assert_eq!(db.count("users WHERE display_name IN ('A2', 'B2')").await, 2);
}
