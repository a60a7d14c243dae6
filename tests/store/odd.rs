//! A part of a delivery that cannot be decoded keeps nothing else from being applied.

use super::support::{Db, event, user};
use super::{deliver, drain};
use crate::on_each_database;
use serde_json::json;

on_each_database!(a_ban_is_applied_whatever_else_the_person_has_written, an_odd_id_is_nobodys);

async fn a_ban_is_applied_whatever_else_the_person_has_written(db: Db) {
    let store = db.store().await;
    let nested = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
    let odd = [r#""\ud800""#, r#""a\u0000b""#, "1e400", &nested, r#"{"\udfff":1}"#];
    for (n, odd) in odd.into_iter().enumerate() {
        let id = format!("user_{n}");
        let email = format!("p{n}@example.com");
        deliver(&store, &[event("user.created", user(&id, 1, Some(&email), None, "A"), 1)]).await;
        for field in ["first_name", "unsafe_metadata"] {
            let mut banned = user(&id, 2, Some(&email), None, "A");
            banned["banned"] = json!(true);
            banned[field] = json!("ODD");
            let body = event("user.updated", banned, 2).replace("\"ODD\"", odd);
            deliver(&store, &[body]).await;
            let state = db.one("SELECT account_state FROM users ORDER BY id DESC LIMIT 1").await;
            assert_eq!(state, "suspended", "{field}: {}", &odd[..odd.len().min(20)]);
        }
    }
    assert_eq!(db.count("headcount.inbox WHERE status NOT IN ('applied', 'stale')").await, 0);
    assert!(db.count("headcount.inbox WHERE last_error LIKE '%could not be decoded%'").await > 0);
    drain(&store).await;
}

async fn an_odd_id_is_nobodys(db: Db) {
    let store = db.store().await;
    let body = event("user.created", user("ODD", 1, None, None, "A"), 1);
    deliver(&store, &[body.replace("ODD", r"user_\ud800"), body.replace("ODD", r"user_\u0000")]).await;
    assert_eq!(db.count("headcount.inbox WHERE status = 'dead'").await, 2);
    assert_eq!(db.count("headcount.identities").await, 0);
}
