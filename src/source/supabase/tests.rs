//! What rows and hooks of Supabase say, and what is kept of them.

use super::*;
use crate::source::Kept;
use crate::source::signature::SignedHeaders;

const VECTORS: &str = include_str!("../../../tests/vectors/supabase-user.json");

fn vector(name: &str) -> Value {
    serde_json::from_str::<Value>(VECTORS).unwrap()[name].take()
}

/// The row that a webhook carries, with everything that it may have.
fn webhook(kind: &str, change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let mut body = vector("database_webhook_insert");
    body["type"] = kind.into();
    let mut row = body["record"].take().as_object().unwrap().clone();
    for secret in [
        "confirmation_token",
        "recovery_token",
        "email_change_token_new",
        "email_change_token_current",
        "phone_change_token",
        "reauthentication_token",
        "a_column_of_next_year",
    ] {
        row.insert(secret.into(), "hush-hush".into());
    }
    change(&mut row);
    let (record, old) = if kind == "DELETE" { (Value::Null, row.into()) } else { (row.into(), Value::Null) };
    (body["record"], body["old_record"]) = (record, old);
    body.to_string()
}

fn upsert(body: &str) -> Result<Snapshot, Unintelligible> {
    match Supabase.normalize("supabase", body, &Layout::default())?.kind {
        EventKind::Upsert(snapshot) => Ok(snapshot),
        EventKind::Delete => Err(Unintelligible::Missing { field: "a snapshot" }),
    }
}

#[test]
fn a_row_and_the_apis_user_are_one_and_the_same() {
    let delivered = upsert(&webhook("INSERT", |_| {})).unwrap();
    let api = directory::SupabaseApi;
    let read = api
        .read_one(&vector("admin_user").to_string(), &Layout::default(), &Supabase.keeps())
        .unwrap()
        .snapshot
        .unwrap();
    assert_eq!(delivered, read);
    assert_eq!(delivered.version, 1_795_413_506_160_000, "microseconds");
    let cell = |column| delivered.columns.get(column);
    assert_eq!((cell(Column::Email), cell(Column::EmailVerified)), (Some("alice@example.com"), Some("true")));
    assert_eq!((cell(Column::Phone), cell(Column::DisplayName)), (None, Some("Alice")));
    assert_eq!(Supabase.recall(read.version, read.profile.clone(), &Layout::default()), read);
}

#[test]
fn versions_a_microsecond_apart_are_two() {
    let at = |time: &str| {
        let body = webhook("UPDATE", |row| drop(row.insert("updated_at".into(), time.into())));
        upsert(&body).map(|snapshot| snapshot.version)
    };
    assert_eq!(at("2026-11-23T05:58:26.160001+00:00").unwrap() - at("2026-11-23T05:58:26.16Z").unwrap(), 1);
    assert_eq!(at("2026-11-23 06:58:26.16+01"), at("2026-11-23T05:58:26.160000Z"));
    assert!(at("yesterday").is_err() && at("").is_err());
}

#[test]
fn metadata_survives_the_way_through_a_float() {
    let with = |numbers: &str| {
        let metadata: Value = serde_json::from_str(numbers).unwrap();
        let body = webhook("UPDATE", |row| drop(row.insert("raw_app_meta_data".into(), metadata)));
        upsert(&body).unwrap().profile
    };
    assert_eq!(with(r#"{"n":1.0,"id":123456789012345678}"#), with(r#"{"n":1,"id":123456789012345680}"#));
    assert!(with(r#"{"n":7}"#).contains("\"n\":7"));
}

#[test]
fn nothing_secret_is_kept() {
    for kind in ["INSERT", "UPDATE", "DELETE"] {
        let body = webhook(kind, |_| {});
        let kept = Supabase.kept(&body, Timestamp::clamped(0), &Kept::default()).unwrap();
        assert!(!kept.contains("hush") && !kept.contains("$2a") && !kept.contains("next_year"), "{kept}");
        assert!(kept.contains("alice@example.com"));
        let event = |body: &str| Supabase.normalize("supabase", body, &Layout::default());
        assert_eq!(event(&kept), event(&body), "what is kept says the same");
        assert_eq!(Supabase.glance(&kept), Supabase.glance(&body));
    }
    // Of an update, what the row was is not kept at all; an odd value is kept as it came.
    let mut body: Value = serde_json::from_str(&webhook("UPDATE", |_| {})).unwrap();
    body["old_record"] = serde_json::json!({"email": "before@example.com", "encrypted_password": "$2a"});
    let text = body.to_string().replacen("\"Alice\"", "\"\\ud800\"", 1);
    let kept = Supabase.kept(&text, Timestamp::clamped(0), &Kept::default()).unwrap();
    assert!(!kept.contains("before@") && kept.contains("\\ud800"), "{kept}");
    assert!(upsert(&kept).unwrap().profile.contains('\u{fffd}'));
    let twice = r#"{"type":"INSERT","schema":"auth","table":"users","record":{"encrypted_password":"$2a","encrypted_password":"$2b","id":"1"}}"#;
    assert!(!Supabase.kept(twice, Timestamp::clamped(0), &Kept::default()).unwrap().contains("$2"));
}

#[test]
fn a_soft_delete_is_a_version_and_a_deletion_is_one() {
    let soft = webhook("UPDATE", |row| drop(row.insert("deleted_at".into(), "2026-11-24T00:00:00Z".into())));
    let snapshot = upsert(&soft).unwrap();
    assert_eq!(snapshot.ended_at.map(|at| at.to_string()).as_deref(), Some("2026-11-24T00:00:00.000Z"));
    let gone = Supabase.normalize("supabase", &webhook("DELETE", |_| {}), &Layout::default()).unwrap();
    assert_eq!(gone.kind, EventKind::Delete);
    assert_eq!(gone.key.provider_id, "8e7fbc8a-1d7e-4a9e-9b61-3a0f7f4b1a11");
}

#[test]
fn a_ban_holds_as_of_its_version_and_has_an_end() {
    let banned = |until: &str| {
        upsert(&webhook("UPDATE", |row| drop(row.insert("banned_until".into(), until.into())))).unwrap()
    };
    let snapshot = banned("2126-01-01T00:00:00Z");
    assert!(snapshot.suspended && snapshot.suspended_until.is_some());
    assert!(!banned("2026-11-23T05:58:26.159999Z").suspended, "over when this version came about");
    assert!(!upsert(&webhook("UPDATE", |_| {})).unwrap().suspended);
}

#[test]
fn a_hook_is_verified_and_is_no_creation() {
    let hook = vector("auth_hook_before_user_created").to_string();
    let glance = Supabase.glance(&hook);
    assert!(!glance.used && glance.provider_id.is_none());
    assert_eq!(glance.event_type, "before-user-created");
    assert_eq!(glance.message_id.as_deref(), Some("8b34dcdd-9df1-4c10-850a-b3277c653040"));
    let keys = Supabase.keys("v1,whsec_c2VjcmV0c2VjcmV0c2VjcmV0|v1,whsec_b3RoZXJvdGhlcm90aGVy").unwrap();
    let now = Timestamp::clamped(1_763_877_506_000);
    let signed = |key: &SigningKey| key.sign("msg_1", now, hook.as_bytes());
    let [first, second]: [SignedHeaders; 2] = keys
        .iter()
        .filter(|key| key.scheme == Scheme::Standard)
        .map(signed)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    // As Supabase joins them: with a comma and a blank.
    let both =
        SignedHeaders { signature: format!("{}, {}", first.signature, second.signature), ..first.clone() };
    for one in keys.chunks(2) {
        assert_eq!(both.verify(one, hook.as_bytes(), now), Ok(now));
    }
}

#[test]
fn other_tables_are_of_no_use() {
    let body = webhook("INSERT", |_| {});
    for (from, to) in
        [("\"users\"", "\"profiles\""), ("\"auth\"", "\"public\""), ("\"INSERT\"", "\"TRUNCATE\"")]
    {
        let other = body.replacen(from, to, 1);
        let glance = Supabase.glance(&other);
        assert!(!glance.used && glance.provider_id.is_none(), "{to}: {glance:?}");
    }
    assert!(!Supabase.glance("[]").used);
    assert_eq!(
        upsert(&webhook("INSERT", |row| drop(row.remove("id")))).unwrap_err().to_string(),
        "the account's id is missing"
    );
    let without = r#"{"type":"UPDATE","schema":"auth","table":"users","record":"x"}"#;
    assert_eq!(upsert(without).unwrap_err().to_string(), "record is missing");
}

#[test]
fn whoever_is_banned_for_ever_is_suspended() {
    for (until, is_suspended) in [
        ("infinity", true),
        ("9999-12-31 23:59:59-03:00", true),
        ("294276-12-31 23:59:59+00", true),
        ("2099-01-01 00:00:00+00", true),
        ("when hell freezes over", true),
        ("-infinity", false),
        ("0044-03-15 00:00:00+00 BC", false),
        ("2001-01-01 00:00:00", false),
    ] {
        let body = webhook("UPDATE", |row| drop(row.insert("banned_until".into(), until.into())));
        assert_eq!(upsert(&body).unwrap().suspended, is_suspended, "{until}");
    }
}
