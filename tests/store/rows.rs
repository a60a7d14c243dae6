//! Supabase's rows: ends that a later version takes back, bans that end by themselves, and nothing secret anywhere.

use super::sources::{columns, deliver, open, source};
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::clock::SystemClock;
use headcount::core::timestamp::Timestamp;
use headcount::reconcile::{CallError, Calls};
use serde_json::{Value, json};
use std::sync::Arc;

on_each_database!(a_row_of_supabase_is_soft_deleted_banned_and_freed);

fn row(id: &str, us: i64, change: impl FnOnce(&mut Value)) -> String {
    let at = format!("2026-11-23T05:58:26.{us:06}+00:00");
    let mut record = json!({
        "id": id, "aud": "authenticated", "role": "authenticated", "email": format!("{id}@example.com"), "phone": null,
        "encrypted_password": "$2a$10$hush", "confirmation_token": "hush", "email_confirmed_at": at,
        "raw_user_meta_data": {"full_name": "Sue"}, "raw_app_meta_data": {}, "created_at": at, "updated_at": at,
        "banned_until": null, "deleted_at": null,
    });
    change(&mut record);
    json!({"type": "UPDATE", "table": "users", "schema": "auth", "record": record, "old_record": {"encrypted_password": "$2a$10$hush"}})
        .to_string()
}

async fn a_row_of_supabase_is_soft_deleted_banned_and_freed(db: Db) {
    let store = open(&db, &[]).await;
    let sources = vec![source("supabase", "supabase", |_| {})];
    let send = async |body: String| deliver(&store, &sources, &[("supabase", body)]).await;
    send(row("sue", 1, |_| {})).await;
    let soft = |record: &mut Value| {
        (record["deleted_at"], record["email"]) = (json!("2026-11-23T06:00:00+00:00"), json!("obfuscated"));
    };
    send(row("sue", 3, soft)).await;
    let now = columns(&db).await;
    assert_eq!((now[0][1].as_deref(), now[0][2].as_deref()), (Some("deleted"), None));
    assert_eq!(db.one("SELECT deleted_by FROM headcount.identities").await, "event");
    // It is a version like any other: an older one changes nothing, a younger one takes it back.
    send(row("sue", 2, |_| {})).await;
    assert_eq!(columns(&db).await, now);
    send(row("sue", 4, |_| {})).await;
    let back = columns(&db).await;
    assert_eq!((back[0][1].as_deref(), back[0][2].as_deref()), (Some("active"), Some("sue@example.com")));
    assert_eq!(db.count("headcount.changes WHERE kind = 'revived'").await, 1);
    // A deletion is none.
    let hard = row("sue", 4, |_| {}).replace("\"UPDATE\"", "\"DELETE\"");
    let mut hard: Value = serde_json::from_str(&hard).unwrap();
    hard["old_record"] = hard["record"].take();
    send(hard.to_string()).await;
    send(row("sue", 9, |_| {})).await;
    assert_eq!(columns(&db).await[0][1].as_deref(), Some("deleted"));

    // A ban holds from its version on, and ends by itself.
    let banned = |record: &mut Value| record["banned_until"] = json!("2026-11-23T05:59:00+00:00");
    send(row("ben", 1, banned)).await;
    let state = "SELECT account_state FROM users WHERE email = 'ben@example.com'";
    assert_eq!(db.one(state).await, "suspended");
    db.execute("UPDATE headcount.identities SET suspended_until = '2020-01-01T00:00:00.000Z' WHERE provider_id = 'ben'")
        .await;
    let calls =
        Calls { store: store.clone(), sources: Arc::new(sources.clone()), clock: Arc::new(SystemClock) };
    let over: Result<usize, CallError> = calls.end_bans(10).await;
    // The snapshot says until when: the row's own column only finds it.
    assert_eq!(over.unwrap(), 1);
    let is_over =
        headcount::clock::Clock::now(&SystemClock) > Timestamp::parse("2026-11-23T05:59:00Z").unwrap();
    assert_eq!(db.one(state).await, if is_over { "active" } else { "suspended" });
    // The same row again does not ban anew.
    send(row("ben", 1, banned)).await;
    assert_eq!(db.one(state).await, if is_over { "active" } else { "suspended" });

    for table in ["inbox", "identities", "changes"] {
        let cells = match db.backend {
            Backend::Sqlite => format!("SELECT * FROM headcount.{table}"),
            _ => format!("SELECT CAST(t AS text) FROM headcount.{table} t"),
        };
        let rows = db.query(&cells).await;
        assert!(rows.iter().flatten().flatten().all(|cell| !cell.contains("hush")), "{table}");
    }
}
