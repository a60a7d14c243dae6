//! Ten thousand deliveries, signed by an official library, shuffled, a tenth of them repeated: the tables equal the model.

use super::process::Server;
use super::support::sizes::size;
use super::support::{Backend, Db, Dice, SECRET, event, history, user};
use headcount::clock::{Clock, SystemClock};
use standardwebhooks::Webhook;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Requests that are under way at once.
const CONCURRENT: usize = 64;

async fn ten_thousand(db: Db) {
    let server = Arc::new(Server::start(&db).await);
    let (mut sent, people) = history(2_026, size("HEADCOUNT_TEST_DELIVERIES", 10_000).try_into().unwrap());
    let mut dice = Dice(1);
    for _ in 0..sent.len() / 10 {
        sent.push(sent[dice.roll(sent.len())].clone());
    }
    dice.shuffle(&mut sent);
    let total = sent.len();
    let slots = Arc::new(Semaphore::new(CONCURRENT));
    let mut requests = tokio::task::JoinSet::new();
    for (id, body) in sent {
        let (server, slots) = (server.clone(), slots.clone());
        requests.spawn(async move {
            let _slot = slots.acquire().await.unwrap();
            let now = SystemClock.now().seconds();
            let official = Webhook::new(SECRET).unwrap();
            let signature = official.sign(&id, now, body.as_bytes()).unwrap();
            let headers = [
                ("webhook-id", &*id),
                ("webhook-timestamp", &*now.to_string()),
                ("webhook-signature", &*signature),
            ];
            server.post("clerk", &headers, body).await.unwrap().0.as_u16()
        });
    }
    let answers = requests.join_all().await;
    let accepted = answers.iter().filter(|status| **status == 202).count();
    let duplicates = answers.iter().filter(|status| **status == 200).count();
    assert_eq!(accepted + duplicates, total);
    assert_eq!(db.count("headcount.inbox").await, accepted as u64);
    server.drained(&db).await;
    assert_eq!(db.people().await, people);
    let unfinished = db.count("headcount.inbox WHERE status NOT IN ('applied', 'stale')").await;
    assert_eq!(unfinished, 0);
    // Debug logs were on: nothing of anybody is in them.
    let log = std::fs::read_to_string(&server.log).unwrap();
    for private in ["@example.com", "MfKQ9r8", "Name1 ", "private-marker"] {
        assert!(!log.contains(private), "{private} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_on_sqlite() {
    ten_thousand(Db::new(Backend::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_on_postgres() {
    ten_thousand(Db::new(Backend::Postgres).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_through_pgbouncer() {
    ten_thousand(Db::new(Backend::Bouncer).await).await;
}

/// One process takes, two others apply, the whole on one database.
async fn roles_are_shared_out(db: Db) {
    let ingest = Server::start_with(&db, &["--role", "ingest"], &[]).await;
    let first = Server::start_with(&db, &["--role", "apply"], &[]).await;
    let _second = Server::start_with(&db, &["--role", "apply"], &[]).await;
    let (sent, people) = history(4, 300);
    for (id, body) in &sent {
        assert_eq!(ingest.deliver(id, body).await.unwrap().as_u16(), 202);
    }
    assert_eq!(first.deliver("msg_x", "{}").await.unwrap().as_u16(), 404, "it takes no deliveries");
    first.drained(&db).await;
    assert_eq!(db.people().await, people);
    // What is left when the last one that applies is gone waits for the next.
    drop((first, _second));
    let late = event("user.created", user("user_late", 0, Some("late@example.com"), None, "L"), 0);
    assert_eq!(ingest.deliver("msg_late", &late).await.unwrap().as_u16(), 202);
    assert_eq!(db.count("headcount.inbox WHERE status = 'pending'").await, 1);
    Server::start(&db).await.drained(&db).await;
    assert_eq!(db.count("users WHERE email = 'late@example.com'").await, 1);
}

crate::on_each_database!(roles_are_shared_out);
