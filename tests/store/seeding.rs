//! A seed repeats what headcount takes from chance: ids of users, and delays of what failed.

use super::support::{Db, history};
use super::{delivery, source};
use crate::on_each_database;
use headcount::clock::{Clock, SeededClock};
use headcount::core::brake::DeleteLimit;
use headcount::core::retry_policy::PROCESS;
use headcount::core::timestamp::Timestamp;
use headcount::live::Live;
use headcount::reconcile::Deliveries;
use headcount::retry::Backoff;
use std::sync::Arc;
use std::time::Duration;

on_each_database!(one_seed_gives_the_same_users_and_delays);

/// The users that a history ends with, and the delays that a failing loop would have then.
async fn run(db: &Db, seed: u64) -> (Vec<Vec<Option<String>>>, Vec<Duration>) {
    let store = db.store().await;
    let clock: Arc<dyn Clock> = Arc::new(SeededClock::new(seed, Timestamp::clamped(1_700_000_000_000)));
    let (sent, _) = history(7, 100);
    let deliveries: Vec<_> = sent.iter().map(|(id, body)| delivery(id, body)).collect();
    store.accept(&deliveries).await.unwrap();
    let deliveries = Deliveries {
        store: store.clone(),
        sources: Arc::new(vec![source()]),
        clock: clock.clone(),
        delete_limit: DeleteLimit::Off,
        batch_max: 100,
        unread: Live::default(),
    };
    while deliveries.apply_batch().await.unwrap().claimed > 0 {}
    let users = db
        .query(
            "SELECT CAST(user_id AS text) FROM headcount.identities WHERE user_id IS NOT NULL ORDER BY provider_id",
        )
        .await;
    let mut backoff = Backoff::new(&PROCESS, &clock);
    (users, (0..5).map(|_| backoff.next_delay()).collect())
}

async fn one_seed_gives_the_same_users_and_delays(db: Db) {
    let first = run(&db, 1).await;
    assert!(first.0.len() > 10, "{} users", first.0.len());
    assert_eq!(run(&Db::new(db.backend).await, 1).await, first);
    assert_ne!(run(&Db::new(db.backend).await, 2).await, first);
}
