use super::*;
use serde_json::json;

const CREATED: &str = include_str!("../../../tests/vectors/clerk-user-created.json");
const DELETED: &str = include_str!("../../../tests/vectors/clerk-user-deleted.json");
const TYPES: &str = include_str!("../../../tests/vectors/clerk-event-types.txt");

fn snapshot_of(change: impl FnOnce(&mut Value)) -> Result<Snapshot, Unintelligible> {
    let mut body: Value = serde_json::from_str(CREATED).unwrap();
    change(&mut body["data"]);
    match Clerk.normalize("clerk", &body.to_string(), &Layout::default())?.kind {
        EventKind::Upsert(snapshot) => Ok(snapshot),
        EventKind::Delete => panic!("an upsert was expected"),
    }
}

fn column(column: Column, change: impl FnOnce(&mut Value)) -> Option<String> {
    snapshot_of(change).unwrap().columns.get(column).map(str::to_owned)
}

#[test]
fn every_type_of_the_catalogue_is_classified() {
    let types: Vec<&str> = TYPES.lines().collect();
    assert_eq!(types.len(), 46);
    for event_type in types {
        let glance = Clerk.glance(&json!({"type": event_type, "data": {"id": "x"}}).to_string());
        let used = ["user.created", "user.updated", "user.deleted"].contains(&event_type);
        assert_eq!((glance.used, glance.event_type.as_str()), (used, event_type));
    }
    assert!(!Clerk.glance(r#"{"type":"user.levitated"}"#).used);
    for odd in ["[]", "1", "null", "{}", r#"{"type":7}"#, r#"{"type":null}"#] {
        let glance = Clerk.glance(odd);
        assert_eq!(glance, Glance { is_json: glance.is_json, ..Glance::default() }, "{odd}");
    }
}

#[test]
fn the_specified_user_becomes_columns() {
    let snapshot = snapshot_of(|_| {}).unwrap();
    let columns = &snapshot.columns;
    assert_eq!(columns.get(Column::Email), Some("ada@example.com"));
    assert_eq!(columns.get(Column::EmailVerified), Some("true"));
    assert_eq!(columns.get(Column::Phone), Some("+15555550100"));
    assert_eq!(columns.get(Column::Username), None);
    assert_eq!(columns.get(Column::DisplayName), Some("Ada Lovelace"));
    assert_eq!(columns.get(Column::AvatarUrl), None, "has_image is false");
    assert_eq!(columns.get(Column::CreatedAt), Some("2024-05-28T08:00:00.000Z"));
    assert_eq!(snapshot.version, 1_716_883_200_000);
    assert!(!snapshot.suspended);
    assert_eq!(Clerk.recall(snapshot.version, snapshot.profile.clone(), &Layout::default()), snapshot);
}

#[test]
fn the_primary_address_is_the_named_one_or_none() {
    let second = json!("idn_2g7npEmail0000000000000002");
    let email = |id: Value| column(Column::Email, |user| user["primary_email_address_id"] = id);
    assert_eq!(email(second.clone()).as_deref(), Some("ada.second@example.com"));
    assert_eq!(email(json!(null)), None);
    assert_eq!(email(json!("idn_of_nobody")), None);
    assert_eq!(column(Column::Email, |user| user["email_addresses"] = json!([])), None);
    let verified = column(Column::EmailVerified, |user| user["primary_email_address_id"] = second);
    assert_eq!(verified.as_deref(), Some("false"), "its verification is null");
}

#[test]
fn nothing_but_an_id_and_a_version_is_needed() {
    let body = json!({"type": "user.updated", "data": {"id": "user_1", "updated_at": 5}});
    let event = Clerk.normalize("clerk", &body.to_string(), &Layout::default()).unwrap();
    assert_eq!(event.occurred_at, None);
    let EventKind::Upsert(snapshot) = event.kind else { panic!() };
    let mut nobody = Columns::default();
    nobody.set(Column::EmailVerified, Some("false".into()));
    assert_eq!(snapshot.columns, nobody);
}

#[test]
fn a_deletion_needs_hardly_anything() {
    for body in [DELETED, r#"{"type":"user.deleted","data":{"id":"user_2g7np7Hrk0SN6kj5EDMLDaKNL0S"}}"#] {
        let event = Clerk.normalize("clerk", body, &Layout::default()).unwrap();
        assert_eq!(event.key.provider_id, "user_2g7np7Hrk0SN6kj5EDMLDaKNL0S");
        assert_eq!(event.kind, EventKind::Delete);
    }
    let nobody =
        Clerk.normalize("clerk", r#"{"type":"user.deleted","data":{"deleted":true}}"#, &Layout::default());
    assert_eq!(nobody, Err(Unintelligible::Missing { field: "the account's id" }));
}

#[test]
fn the_time_of_the_event_may_be_in_seconds_or_milliseconds() {
    for (given, expected) in [
        (json!(1_716_883_200), Some(1_716_883_200_000)),
        (json!(1_716_883_200_123_i64), Some(1_716_883_200_123)),
        (json!(null), None),
        (json!("soon"), None),
        (json!(-1), None),
        (json!(1e300), None),
    ] {
        assert_eq!(instant(Some(&given)).map(Timestamp::ms), expected, "{given}");
    }
}

#[test]
fn a_name_is_never_an_address() {
    let name = |first: Value, last: Value, username: Value| {
        column(Column::DisplayName, |user| {
            user["first_name"] = first;
            user["last_name"] = last;
            user["username"] = username;
        })
    };
    assert_eq!(name(json!("Ada"), json!(null), json!("ada")).as_deref(), Some("Ada"));
    assert_eq!(name(json!(null), json!(""), json!("ada")).as_deref(), Some("ada"));
    assert_eq!(name(json!(null), json!(null), json!(null)), None);
}

#[test]
fn bans_suspend_and_lockouts_do_not() {
    assert!(snapshot_of(|user| user["banned"] = json!(true)).unwrap().suspended);
    assert!(snapshot_of(|user| user["deprovisioned"] = json!(true)).unwrap().suspended);
    let locked = snapshot_of(|user| {
        user["locked"] = json!(true);
        user["lockout_expires_in_seconds"] = json!(3600);
    });
    assert_eq!(locked.unwrap(), snapshot_of(|_| {}).unwrap());
}

#[test]
fn what_moves_without_meaning_and_what_is_secret_stays_out_of_the_profile() {
    let base = snapshot_of(|_| {}).unwrap();
    let moved = snapshot_of(|user| {
        user["last_active_at"] = json!(1_800_000_000_000_i64);
        user["last_sign_in_at"] = json!(null);
        user["verification_attempts_remaining"] = json!(3);
        user["email_addresses"][0]["verification"]["expire_at"] = json!(1);
        user["email_addresses"][0]["verification"]["attempts"] = json!(2);
        user["private_metadata"] = json!({"salary": 1});
        user["phone_numbers"][0]["backup_codes"] = json!(["secret"]);
    });
    assert_eq!(moved.unwrap(), base);
}

#[test]
fn absurd_users_are_refused_with_the_field_and_not_its_value() {
    let error = |change: fn(&mut Value)| snapshot_of(change).unwrap_err().to_string();
    assert_eq!(error(|u| u["id"] = json!("x".repeat(3_000))), "the account's id is longer than 255 bytes");
    assert_eq!(error(|u| u["id"] = json!("")), "the account's id is missing");
    assert_eq!(
        error(|u| u["id"] = json!("a\0b")),
        "the account's id holds a character that cannot be decoded or stored"
    );
    assert_eq!(error(|u| u["updated_at"] = json!(null)), "data.updated_at is missing");
    for odd in [json!("2024"), json!(-1), json!(1e300), json!(i64::MAX)] {
        let refused = snapshot_of(|u| u["updated_at"] = odd).unwrap_err();
        assert_eq!(refused.to_string(), "data.updated_at is out of range");
    }
    let deep = format!(
        r#"{{"type":"user.updated","data":{{"id":"u","updated_at":1,"x":{}1{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let lone =
        r#"{"type":"user.updated","data":{"id":"u","updated_at":1,"first_name":"\ud800","banned":true}}"#;
    for body in [&*deep, lone] {
        assert_eq!(Clerk.glance(body).provider_id.as_deref(), Some("u"));
        let event = Clerk.normalize("clerk", body, &Layout::default()).unwrap();
        assert!(event.mended, "{body}");
        let EventKind::Upsert(snapshot) = event.kind else { panic!("it is an upsert") };
        assert_eq!(snapshot.suspended, body == lone);
    }
}

#[test]
fn doubt_about_a_ban_fails_closed() {
    for (value, is_banned) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(1), true),
        (json!({"until": 5}), true),
        (json!(false), false),
        (json!(null), false),
        (json!("false"), false),
        (json!(0), false),
    ] {
        let mut user = json!({"id": "u", "updated_at": 5});
        user["banned"] = value.clone();
        let Value::Object(user) = user else { unreachable!() };
        assert_eq!(Clerk.snapshot_of(5, &user, &Layout::default()).suspended, is_banned, "{value}");
    }
}

#[test]
fn texts_have_limits() {
    let long = snapshot_of(|u| {
        u["first_name"] = json!("é".repeat(100_000));
        u["username"] = json!("x".repeat(100_000));
    })
    .unwrap();
    assert_eq!(long.columns.get(Column::FirstName).map(|name| name.chars().count()), Some(500));
    assert_eq!(long.columns.get(Column::Username), None);
}

#[test]
fn a_year_9999_and_a_nul_in_metadata_are_rows() {
    let far = snapshot_of(|u| u["updated_at"] = json!(253_402_300_799_000_i64)).unwrap();
    assert_eq!(far.version, 253_402_300_799_000);
    let nul = snapshot_of(|u| u["public_metadata"] = json!({"a": "x\0y"})).unwrap();
    assert!(nul.profile.contains("x\u{fffd}y") && !nul.profile.contains(r"\u0000"));
}
