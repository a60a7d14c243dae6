//! The conformance suite: what headcount promises of its database, on every kind of database.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

mod adopting;
mod applying;
mod awaiting;
mod both_ways;
mod calling;
mod catalog;
mod clock_ahead;
mod common_schema;
mod corrupt;
mod elsewhere;
mod erasing;
mod feed;
mod hidden;
mod holding;
mod inbox;
mod linking;
mod mapping;
mod migrating;
mod odd;
mod offering;
mod outbox;
mod read_back;
mod reading;
mod refusing;
mod relinking;
mod rows;
mod seeding;
mod shared_ids;
mod sources;
mod states;
mod switching;
mod their_migrations;
mod two_weeks;
mod upgrading;

use headcount::clock::SystemClock;
use headcount::core::brake::DeleteLimit;
use headcount::core::timestamp::Timestamp;
use headcount::live::Live;
use headcount::reconcile::{Deliveries, DeliveriesOutcome, Reads};
use headcount::source::{Source, provider};
use headcount::store::{DeliveryFilter, NewDelivery, Store};
use std::sync::Arc;
use std::time::Duration;

pub fn source() -> Source {
    Source::recorded("clerk", provider("clerk").unwrap())
}

pub fn applier(store: &Store, delete_limit: DeleteLimit) -> Deliveries {
    Deliveries {
        store: store.clone(),
        sources: Arc::new(vec![source()]),
        clock: Arc::new(SystemClock),
        delete_limit,
        batch_max: 100,
        unread: Live::default(),
    }
}

pub fn reads(store: &Store) -> Reads {
    let sources = Arc::new(vec![source()]);
    Reads {
        store: store.clone(),
        source: source(),
        sources,
        clock: Arc::new(SystemClock),
        confirm_after_ms: 0,
    }
}

pub fn delivery(message_id: &str, body: &str) -> NewDelivery {
    let glance = source().provider.glance(body);
    NewDelivery {
        source: "clerk".into(),
        message_id: message_id.into(),
        event_type: glance.event_type,
        provider_id: glance.provider_id,
        occurred_at: glance.occurred_at,
        signed_at: Timestamp::clamped(support::EPOCH_MS),
        signature: "v1,none".into(),
        body: glance.used.then(|| body.to_owned()),
        dead_because: None,
    }
}

/// Stores the bodies, each under the message id of its number, and applies what lies there.
pub async fn deliver(store: &Store, bodies: &[String]) {
    let before = store.deliveries(&all(), false).await.unwrap().len();
    let deliveries: Vec<NewDelivery> =
        bodies.iter().enumerate().map(|(n, body)| delivery(&format!("msg_{}", before + n), body)).collect();
    store.accept(&deliveries).await.unwrap();
    drain(store).await;
}

pub async fn drain(store: &Store) -> DeliveriesOutcome {
    let mut total = DeliveriesOutcome::default();
    loop {
        let applied = applier(store, DeleteLimit::Off).apply_batch().await.unwrap();
        total.finished += applied.finished;
        total.retried += applied.retried;
        if applied.claimed == 0 {
            return total;
        }
    }
}

/// Waits until the database's clock shows a later millisecond. Marks, receipts and ages are compared to the millisecond, and
/// what falls into one and the same is in doubt, whatever the test is about.
pub async fn tick(store: &Store) {
    let before = store.now().await.unwrap();
    while store.now().await.unwrap() <= before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub fn all() -> DeliveryFilter {
    DeliveryFilter { limit: 1_000_000, ..DeliveryFilter::default() }
}

pub fn with_status(status: &str) -> DeliveryFilter {
    DeliveryFilter { status: Some(status.into()), ..all() }
}
