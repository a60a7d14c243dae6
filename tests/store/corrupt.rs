//! One account's rows that nobody can read: its neighbours go past it, and it is told with table and column.

use super::support::{Backend, Db, event, user};
use super::{all, delivery, drain, reads, with_status};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use headcount::core::event::{EventKind, IdentityKey};
use headcount::core::layout::Layout;
use headcount::core::read::{Observation, Reading};
use headcount::core::timestamp::Timestamp;
use headcount::reconcile::ReadContext;
use headcount::store::{Counts, Store};
use serde_json::json;

on_each_database!(an_account_that_cannot_be_read_keeps_nobody_else_waiting);

/// Garbage as far as the database's types allow, and the column that is told.
fn garbage(backend: Backend) -> &'static [(&'static str, &'static str)] {
    match backend {
        Backend::Sqlite => &[
            ("version = 'x'", "version"),
            ("version = NULL", "version"),
            ("profile = NULL", "profile"),
            ("read_at = 'soon'", "read_at"),
            ("occurred_at = 7", "occurred_at"),
            ("replaced_version = 'low'", "replaced_version"),
            ("state = 'deleted', deleted_by = 'event', deleted_at = 'soon'", "deleted_at"),
            (
                "state = 'deleted', deleted_by = 'event', deleted_at = '2026-11-26T07:47:14.000Z'",
                "deletion_received_at",
            ),
            ("announced_at = x'ff00'", "announced_at"),
            ("hints = '[]'", "hints"),
        ],
        _ => &[
            ("version = NULL", "version"),
            ("profile = NULL", "profile"),
            ("read_at = '0044-03-15 BC'", "read_at"),
            ("occurred_at = '12026-01-01'", "occurred_at"),
            ("state = 'deleted', deleted_by = 'event', deleted_at = 'infinity'", "deleted_at"),
            ("state = 'deleted', deleted_by = 'event', deleted_at = now()", "deletion_received_at"),
            ("hints = '[]'", "hints"),
        ],
    }
}

fn body(id: &str, version: i64) -> String {
    event(
        "user.updated",
        user(id, version, Some(&format!("{id}@example.com")), None, &format!("v{version}")),
        version,
    )
}

fn reading(id: &str, version: i64, marked_at: Timestamp) -> (IdentityKey, Reading) {
    let understood =
        super::source().provider.normalize("clerk", &body(id, version), &Layout::default()).unwrap();
    let EventKind::Upsert(snapshot) = understood.kind else { panic!("no upsert") };
    (understood.key, Reading { observed: Observation::Present(snapshot), marked_at, is_of_the_row: false })
}

async fn accept(store: &Store, message_id: &str, body: &str) {
    store.accept(&[delivery(message_id, body)]).await.unwrap();
}

async fn an_account_that_cannot_be_read_keeps_nobody_else_waiting(db: Db) {
    let store = db.store().await;
    for (n, (set, column)) in garbage(db.backend).iter().enumerate() {
        let (bad, good) = (format!("bad_{n}"), format!("good_{n}"));
        for id in [&bad, &good] {
            accept(&store, &format!("first_{id}"), &body(id, 1)).await;
        }
        drain(&store).await;
        let name_of = |id: &str| format!("SELECT first_name FROM users WHERE email = '{id}@example.com'");
        db.execute(&format!("UPDATE headcount.identities SET {set} WHERE provider_id = '{bad}'")).await;
        for id in [&bad, &good] {
            accept(&store, &format!("second_{id}"), &body(id, 2)).await;
        }
        drain(&store).await;
        assert_eq!(db.one(&name_of(&good)).await, "v2", "{set}");
        assert_eq!(db.one(&name_of(&bad)).await, "v1", "{set}");
        let waiting = store.deliveries(&with_status("pending"), false).await.unwrap();
        let told = waiting.iter().find(|delivery| delivery.provider_id.as_deref() == Some(&bad)).unwrap();
        let reason = told.last_error.as_deref().unwrap_or_default();
        assert!(reason.contains(&format!("identities.{column}")), "{set}: {reason}");
        assert_eq!(told.attempts, 1, "{set}");

        let marked_at = store.now().await.unwrap();
        let page = [reading(&bad, 3, marked_at), reading(&good, 3, marked_at)];
        let read =
            reads(&store).apply(&page, &[], &ReadContext::default(), "", Counts::default()).await.unwrap();
        assert_eq!(db.one(&name_of(&good)).await, "v3", "{set}");
        assert_eq!((read.counts.updated, read.refusals.len()), (1, 1), "{set}: {:?}", read.refusals);
        let (key, reason) = &read.refusals[0];
        assert_eq!(key.provider_id, bad, "{set}");
        assert!(reason.contains(&format!("identities.{column}")), "{set}: {reason}");
    }
    let failed = garbage(db.backend).len();
    assert_eq!(store.deliveries(&all(), false).await.unwrap().len(), failed * 4);
    assert_eq!(store.deliveries(&with_status("applied"), false).await.unwrap().len(), failed * 3);
    // In the end it is a dead letter.
    for _ in 0..50 {
        db.execute("UPDATE headcount.delivery_states SET next_attempt_at = received_at FROM headcount.deliveries d WHERE d.seq = headcount.delivery_states.seq AND status = 'pending'").await;
        drain(&store).await;
    }
    assert_eq!(store.deliveries(&with_status("dead"), false).await.unwrap().len(), failed);
    let gone = event("user.deleted", json!({"id": "bad_0"}), 9);
    accept(&store, "gone", &gone).await;
    let applied = super::applier(&store, DeleteLimit::Off).apply_batch().await.unwrap();
    assert_eq!((applied.claimed, applied.retried), (1, 1), "nothing is decided about what nobody can read");
}
