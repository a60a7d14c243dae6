//! What an emitter's delivery says, and what a row means.

use super::*;

fn user(more: &[(&str, Value)]) -> Map<String, Value> {
    let mut user: Map<String, Value> = serde_json::from_str(
        r#"{"id":"BDZ1","name":"Ann Doe","email":"ann@example.com","emailVerified":true,"image":"https://img.example.com/a",
            "createdAt":"2026-01-02T03:04:05.006Z","updatedAt":"2026-01-02T03:04:05.007Z","username":"ann",
            "displayUsername":"Ann","phoneNumber":null,"role":"user","banned":false,"banExpires":null}"#,
    )
    .unwrap();
    user.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    user
}

fn body(event_type: &str, user: &Map<String, Value>) -> String {
    serde_json::json!({"type": event_type, "timestamp": "2026-01-02T03:04:06.000Z", "data": user}).to_string()
}

fn event(event_type: &str, user: &Map<String, Value>) -> Event {
    BetterAuth.normalize("better-auth", &body(event_type, user), &Layout::default()).unwrap()
}

fn told(more: &[(&str, Value)]) -> Snapshot {
    match event("user.updated", &user(more)).kind {
        EventKind::Upsert(snapshot) => snapshot,
        EventKind::Delete => panic!("a deletion"),
    }
}

fn email_of(more: &[(&str, Value)]) -> (Option<String>, Option<String>) {
    let columns = told(more).columns;
    let cell = |column| columns.get(column).map(str::to_owned);
    (cell(Column::Email), cell(Column::EmailVerified))
}

#[test]
fn a_row_fills_the_columns() {
    let snapshot = told(&[]);
    assert_eq!(snapshot.version, 1_767_323_045_007_000);
    for (column, expected) in [
        (Column::Email, Some("ann@example.com")),
        (Column::EmailVerified, Some("true")),
        (Column::Username, Some("ann")),
        (Column::DisplayName, Some("Ann Doe")),
        (Column::AvatarUrl, Some("https://img.example.com/a")),
        (Column::CreatedAt, Some("2026-01-02T03:04:05.006Z")),
        (Column::Phone, None),
        (Column::FirstName, None),
    ] {
        assert_eq!(snapshot.columns.get(column), expected, "{column:?}");
    }
    assert!(!snapshot.suspended && !snapshot.profile.contains("updatedAt"), "{}", snapshot.profile);
    assert_eq!(BetterAuth.recall(snapshot.version, snapshot.profile.clone(), &Layout::default()), snapshot);
}

#[test]
fn every_form_of_a_time_is_the_same_version() {
    for at in [
        Value::from("2026-01-02T03:04:05.007Z"),
        Value::from(1_767_323_045_007_i64),
        Value::from("2026-01-02T04:04:05.007+01:00"),
    ] {
        assert_eq!(told(&[("updatedAt", at)]).version, 1_767_323_045_007_000);
    }
    for (at, field) in [
        (Value::Null, "missing"),
        (Value::from(true), "out of range"),
        (Value::from("later"), "out of range"),
    ] {
        let body = body("user.updated", &user(&[("updatedAt", at)]));
        let error = BetterAuth.normalize("s", &body, &Layout::default()).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn a_ban_that_has_ended_is_over_although_the_row_says_banned() {
    let banned = |ends: Value| {
        let snapshot = told(&[("banned", true.into()), ("banExpires", ends)]);
        (snapshot.suspended, snapshot.suspended_until.map(|at| at.to_string()))
    };
    assert_eq!(banned(Value::Null), (true, None));
    assert_eq!(banned("2026-02-01T00:00:00.000Z".into()), (true, Some("2026-02-01T00:00:00.000Z".into())));
    assert_eq!(banned(1_769_904_000_000_i64.into()), (true, Some("2026-02-01T00:00:00.000Z".into())));
    assert_eq!(banned("2025-02-01T00:00:00.000Z".into()), (false, None));
    assert_eq!(banned("some day".into()), (true, None), "doubt about a ban fails closed");
    assert!(told(&[("banned", 1.into())]).suspended, "SQLite's form");
    let unbanned = told(&[("banned", false.into()), ("banExpires", "2026-02-01T00:00:00.000Z".into())]);
    assert_eq!((unbanned.suspended, unbanned.suspended_until), (false, None));
}

#[test]
fn an_invented_address_is_no_email() {
    let address = |address: &str| ("email", Value::from(address));
    let phone = ("phoneNumber", Value::from("+49 151 2345678"));
    let unverified = ("emailVerified", Value::from(false));
    let none = (None, Some("false".to_owned()));
    assert_eq!(email_of(&[("isAnonymous", true.into()), address("temp-x@example.com")]), none);
    assert_eq!(email_of(&[address("491512345678@my-site.com"), phone.clone(), unverified.clone()]), none);
    let own = (Some("a@b.com".to_owned()), Some("false".to_owned()));
    assert_eq!(email_of(&[address("a@b.com"), phone.clone(), unverified]), own);
    let proven = (Some("491512345678@my-site.com".to_owned()), Some("true".to_owned()));
    assert_eq!(email_of(&[address("491512345678@my-site.com"), phone]), proven, "who has proven it has it");
}

#[test]
fn a_deletion_needs_nothing_but_an_id() {
    let deleted = event("user.deleted", &user(&[("updatedAt", Value::Null)]));
    assert_eq!(deleted.kind, EventKind::Delete);
    assert_eq!(deleted.key.provider_id, "BDZ1");
    assert_eq!(deleted.occurred_at.unwrap().to_string(), "2026-01-02T03:04:06.000Z");
}

#[test]
fn other_types_are_not_used_and_odd_parts_lose_nobody() {
    assert!(!BetterAuth.glance(r#"{"type":"session.created","data":{"id":"s"}}"#).used);
    let odd = r#"{"type":"user.updated","data":{"id":"BDZ1","name":"\ud800","banned":true,"updatedAt":1767323045007}}"#;
    let glance = BetterAuth.glance(odd);
    assert!(glance.used && glance.provider_id.as_deref() == Some("BDZ1"), "{glance:?}");
    let event = BetterAuth.normalize("s", odd, &Layout::default()).unwrap();
    let EventKind::Upsert(snapshot) = event.kind else { panic!("a deletion") };
    assert!(event.mended && snapshot.suspended, "a ban is applied whatever else is there");
}

#[test]
fn nothing_is_kept_but_what_is_on_the_list() {
    let secret = user(&[("password", "p".into()), ("banReason", "r".into()), ("apiToken", "t".into())]);
    let kept =
        BetterAuth.kept(&body("user.updated", &secret), Timestamp::clamped(0), &BetterAuth.keeps()).unwrap();
    for gone in ["password", "banReason", "apiToken"] {
        assert!(!kept.contains(gone), "{kept}");
    }
    assert!(kept.contains("ann@example.com") && kept.contains("banExpires"), "{kept}");
}

#[test]
fn a_row_is_the_same_profile_wherever_it_was_read() {
    let hook = told(&[]);
    let of_sqlite = [
        ("emailVerified", Value::from(1)),
        ("banned", 0.into()),
        ("isAnonymous", false.into()),
        ("phoneNumberVerified", Value::Null),
        ("createdAt", 1_767_323_045_006_i64.into()),
        ("updatedAt", 1_767_323_045_007_i64.into()),
    ];
    assert_eq!(told(&of_sqlite), hook);
    let banned = |banned: Value, ends: Value| told(&[("banned", banned), ("banExpires", ends)]);
    assert_eq!(
        banned(true.into(), "2126-01-02T03:04:05Z".into()),
        banned(1.into(), 4_922_996_645_000_i64.into())
    );
}
