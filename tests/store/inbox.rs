//! Deliveries are stored once, kept as signed, and forgotten in time.

use super::support::{Db, event, user};
use super::{all, applier, deliver, delivery, drain, with_status};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use headcount::store::{Acceptance, Selection};
use serde_json::json;

on_each_database!(
    a_message_is_accepted_once,
    bytes_are_kept_as_signed,
    an_unused_type_is_kept_without_its_body,
    the_unintelligible_becomes_a_dead_letter_beside_its_neighbours,
    what_is_old_is_forgotten,
    deletions_beyond_the_limit_are_held_until_a_person_decides,
    refusals_add_up,
    large_bodies_are_taken_a_few_at_a_time,
);

async fn large_bodies_are_taken_a_few_at_a_time(db: Db) {
    let store = db.store().await;
    let large = |n: usize, bytes: usize| {
        let mut data = user(&format!("user_{n}"), 0, None, None, "A");
        data["public_metadata"] = json!({"pad": "x".repeat(bytes)});
        delivery(&format!("msg_{n}"), &event("user.created", data, 0))
    };
    let sizes = [3 << 20, 3 << 20, 3 << 20, 9 << 20, 1];
    let deliveries: Vec<_> = sizes.iter().enumerate().map(|(n, bytes)| large(n, *bytes)).collect();
    store.accept(&deliveries).await.unwrap();
    let mut batches = Vec::new();
    while db.count("headcount.inbox WHERE status = 'pending'").await > 0 {
        batches.push(applier(&store, DeleteLimit::Off).apply_batch().await.unwrap().claimed);
    }
    assert_eq!(batches, [2, 1, 1, 1]);
    assert_eq!(db.count("users").await, 5);
}

async fn a_message_is_accepted_once(db: Db) {
    let store = db.store().await;
    let body = event("user.created", user("user_1", 0, None, None, "A"), 0);
    let [first, second] = [delivery("msg_1", &body), delivery("msg_2", &body)];
    let accepted = store.accept(&[first.clone(), second, first.clone()]).await.unwrap();
    assert_eq!(accepted, [Acceptance::Accepted, Acceptance::Accepted, Acceptance::Duplicate]);
    assert_eq!(store.accept(std::slice::from_ref(&first)).await.unwrap(), [Acceptance::Duplicate]);
    let mut elsewhere = first;
    elsewhere.source = "clerk-staff".into();
    assert_eq!(store.accept(&[elsewhere]).await.unwrap(), [Acceptance::Accepted]);
    assert_eq!(store.accept(&[]).await.unwrap(), []);
    assert_eq!(db.count("headcount.inbox").await, 3);
    // More than one statement takes, with one that is there already.
    let mut many: Vec<_> = (0..4_100).map(|n| delivery(&format!("msg_many{n}"), "{}")).collect();
    many[4_000] = delivery("msg_2", &body);
    let accepted = store.accept(&many).await.unwrap();
    assert_eq!(accepted[4_000], Acceptance::Duplicate);
    assert_eq!(accepted.iter().filter(|accepted| **accepted == Acceptance::Accepted).count(), 4_099);
    assert_eq!(db.count("headcount.inbox").await, 4_102);
}

async fn bytes_are_kept_as_signed(db: Db) {
    let store = db.store().await;
    let body = "{ \"type\":\"user.created\",\r\n\"data\":{\"id\":\"u\",\"n\":\"a\\u0000b \u{1f642}\",\"q\":\"'\\\\\"}}";
    store.accept(&[delivery("msg_1", body)]).await.unwrap();
    let stored = store.deliveries(&all(), true).await.unwrap().remove(0);
    assert_eq!(stored.body.as_deref(), Some(body));
    assert_eq!(store.delivery(stored.seq).await.unwrap(), Some(stored));
    assert_eq!(store.delivery(99).await.unwrap(), None);
}

async fn an_unused_type_is_kept_without_its_body(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("email.created", json!({"id": "ema_1", "body": "code 123456"}), 0)]).await;
    let stored = store.deliveries(&all(), true).await.unwrap().remove(0);
    assert_eq!((stored.status.as_str(), stored.body), ("ignored", None));
    assert!(stored.finished_at.is_some());
}

async fn the_unintelligible_becomes_a_dead_letter_beside_its_neighbours(db: Db) {
    let store = db.store().await;
    let mut nul = user("user_nul", 0, None, None, "A");
    nul["first_name"] = json!("A\0nn");
    let mut absurd = vec![
        event("user.created", nul, 0),
        event("user.created", user(&"x".repeat(3_000), 0, None, None, "B"), 0),
        event("user.updated", json!({"id": "user_versionless"}), 0),
        event("user.created", user("user_good", 0, Some("good@example.com"), None, "G"), 0),
        format!(
            r#"{{"type":"user.created","data":{{"id":"user_deep","updated_at":1,"x":{}{}}}}}"#,
            "[".repeat(500),
            "]".repeat(500)
        ),
    ];
    absurd.push(event("user.created", user("user_9999", 251_635_000_000_000, None, None, "Y"), 0));
    deliver(&store, &absurd).await;
    let statuses: Vec<String> = store
        .deliveries(&all(), false)
        .await
        .unwrap()
        .into_iter()
        .rev()
        .map(|delivery| delivery.status)
        .collect();
    assert_eq!(statuses, ["applied", "dead", "dead", "applied", "applied", "applied"]);
    assert_eq!(db.count("users").await, 4);
    let mut deliveries = store.deliveries(&all(), false).await.unwrap();
    let odd = deliveries.pop().unwrap();
    assert_eq!(odd.last_error.as_deref(), Some("parts of it could not be decoded and were replaced"));
    let dead = deliveries.pop().unwrap();

    assert_eq!(store.retry(&Selection::Seqs(vec![dead.seq])).await.unwrap(), 1);
    drain(&store).await;
    assert_eq!(store.delivery(dead.seq).await.unwrap().unwrap().status, "dead");
    assert_eq!(store.discard(&Selection::Status("dead".into())).await.unwrap(), 2);
    let discarded = store.delivery(dead.seq).await.unwrap().unwrap();
    assert_eq!((discarded.status.as_str(), discarded.body), ("ignored", None));
    assert_eq!(
        store.retry(&Selection::Seqs(vec![dead.seq])).await.unwrap(),
        0,
        "there is nothing left of it"
    );
}

async fn what_is_old_is_forgotten(db: Db) {
    let store = db.store().await;
    let bodies: Vec<String> =
        (0..4).map(|n| event("user.created", user(&format!("user_{n}"), 0, None, None, "A"), 0)).collect();
    deliver(&store, &bodies).await;
    let ages = [("msg_0", "2020-01-01T00:00:00.000Z"), ("msg_1", "2020-01-01T00:00:00.000Z")];
    for (id, age) in ages {
        db.execute(&format!("UPDATE headcount.inbox SET received_at = '{age}' WHERE message_id = '{id}'"))
            .await;
    }
    db.execute("UPDATE headcount.inbox SET status = 'dead' WHERE message_id = 'msg_1'").await;
    let recent = headcount::clock::Clock::now(&headcount::clock::SystemClock).ms() - 40 * 86_400_000;
    let recent = headcount::core::timestamp::Timestamp::clamped(recent);
    db.execute(&format!("UPDATE headcount.inbox SET received_at = '{recent}' WHERE message_id = 'msg_2'"))
        .await;
    let mut after = 0;
    while let Some(end) = store.prune(30 * 86_400_000, after).await.unwrap() {
        assert!(end > after);
        after = end;
    }
    let left: Vec<(String, bool)> = store
        .deliveries(&all(), true)
        .await
        .unwrap()
        .into_iter()
        .map(|delivery| (delivery.message_id, delivery.body.is_some()))
        .collect();
    let expected = [("msg_3", true), ("msg_2", false), ("msg_1", true)];
    assert_eq!(left, expected.map(|(id, body)| (id.to_owned(), body)));
}

async fn deletions_beyond_the_limit_are_held_until_a_person_decides(db: Db) {
    let store = db.store().await;
    let created: Vec<String> =
        (0..6).map(|n| event("user.created", user(&format!("user_{n}"), 0, None, None, "A"), 0)).collect();
    deliver(&store, &created).await;
    let deleted: Vec<_> = (0..6)
        .map(|n| {
            delivery(&format!("msg_d{n}"), &event("user.deleted", json!({"id": format!("user_{n}")}), 9))
        })
        .collect();
    let careful = applier(&store, DeleteLimit::Accounts(4));
    store.accept(&deleted[..3]).await.unwrap();
    assert_eq!(careful.apply_batch().await.unwrap().held, 0);
    // The hour's deletions count, not the batch's alone; somebody unknown is no loss.
    let unknown = delivery("msg_unknown", &event("user.deleted", json!({"id": "user_unknown"}), 9));
    store.accept(&[unknown, deleted[3].clone(), deleted[4].clone(), deleted[5].clone()]).await.unwrap();
    assert_eq!(careful.apply_batch().await.unwrap().held, 2);
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 4);
    let held = store.deliveries(&with_status("held"), false).await.unwrap();
    assert!(held[0].last_error.as_ref().unwrap().contains("HEADCOUNT_MAX_DELETE_DELIVERED"));
    assert_eq!(store.retry(&Selection::Status("held".into())).await.unwrap(), 2);
    assert_eq!(careful.apply_batch().await.unwrap().held, 0);
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 6);
}

async fn refusals_add_up(db: Db) {
    let store = db.store().await;
    for count in [2, 3] {
        store
            .add_refusals(&[
                ("clerk".into(), "too_old".into(), count),
                (String::new(), "unknown_source".into(), 1),
            ])
            .await
            .unwrap();
    }
    let report = store.status(&["clerk".into()]).await.unwrap();
    let counts: Vec<(String, u64)> =
        report.refusals.into_iter().map(|refusal| (refusal.reason, refusal.count)).collect();
    assert_eq!(counts, [("unknown_source".to_owned(), 2), ("too_old".to_owned(), 5)]);
    assert_eq!(report.sources[0].last_delivery, None);
}
