//! What events of WorkOS say.

use super::*;

const CREATED: &str = include_str!("../../../tests/vectors/workos-user-created.json");

fn upsert(body: &str) -> Result<Snapshot, Unintelligible> {
    match WorkOs.normalize("workos", body, &Layout::default())?.kind {
        EventKind::Upsert(snapshot) => Ok(snapshot),
        EventKind::Delete => Err(Unintelligible::Missing { field: "a snapshot" }),
    }
}

#[test]
fn the_providers_sample_is_understood() {
    let glance = WorkOs.glance(CREATED);
    assert!(glance.used);
    assert_eq!(glance.event_type, "user.created");
    assert_eq!(glance.provider_id.as_deref(), Some("user_01H5JQDV7R7ATEYZDEG0W5PRYS"));
    assert_eq!(glance.message_id.as_deref(), Some("event_01H5JQDV7R7ATEYZDEG0W5PRYT"));
    let snapshot = upsert(CREATED).unwrap();
    assert_eq!(snapshot.version, 1_689_646_039_911_000);
    assert_eq!(snapshot.versioned_at.map(|at| at.to_string()).as_deref(), Some("2023-07-18T02:07:19.911Z"));
    let cell = |column| snapshot.columns.get(column);
    assert_eq!(cell(Column::Email), Some("test01@example.com"));
    assert_eq!(cell(Column::EmailVerified), Some("true"));
    assert_eq!((cell(Column::FirstName), cell(Column::LastName)), (Some("Test 01"), Some("User")));
    assert_eq!(cell(Column::DisplayName), Some("Test 01 User"));
    assert_eq!(cell(Column::AvatarUrl), Some("https://example.com/profile_picture.jpg"));
    assert_eq!(cell(Column::CreatedAt), Some("2023-07-18T02:07:19.911Z"));
    assert!(!snapshot.profile.contains("last_sign_in_at") && !snapshot.profile.contains("updated_at"));
    assert_eq!(WorkOs.recall(snapshot.version, snapshot.profile.clone(), &Layout::default()), snapshot);
}

#[test]
fn a_deletion_carries_the_whole_user_and_is_one_all_the_same() {
    let body = CREATED.replace("user.created", "user.deleted");
    let event = WorkOs.normalize("workos", &body, &Layout::default()).unwrap();
    assert_eq!(event.kind, EventKind::Delete);
    assert_eq!(event.occurred_at.map(|at| at.to_string()).as_deref(), Some("2023-07-18T02:07:19.911Z"));
}

#[test]
fn what_is_not_of_a_user_is_of_no_use() {
    for event in ["session.created", "email_verification.created", "authentication.oauth_succeeded", ""] {
        assert!(!WorkOs.glance(&CREATED.replace("user.created", event)).used, "{event}");
    }
    assert!(!WorkOs.glance("[]").used && !WorkOs.glance("{\"event\":5}").used);
}

#[test]
fn what_cannot_be_understood_says_why() {
    for (from, to, why) in [
        ("\"updated_at\":\"2023-07-18T02:07:19.911Z\"", "\"updated_at\":null", "data.updated_at is missing"),
        ("\"updated_at\":\"2023", "\"updated_at\":\"year 2023", "data.updated_at is out of range"),
        ("\"updated_at\":\"2023", "\"updated_at\":\"1923", "data.updated_at is out of range"),
        ("\"id\":\"user_01H5JQDV7R7ATEYZDEG0W5PRYS\"", "\"id\":7", "the account's id is missing"),
        ("user_01H5JQDV7R7ATEYZDEG0W5PRYS\"", "user_\\ud800\"", "cannot be decoded"),
    ] {
        let body = CREATED.replacen(from, to, 1);
        let error = upsert(&body).unwrap_err().to_string();
        assert!(error.contains(why), "{to}: {error}");
        let glance = WorkOs.glance(&body);
        assert!(glance.used, "it becomes a dead letter");
        assert!(glance.message_id.is_some(), "under its own id: {to}");
    }
}

#[test]
fn an_address_that_is_not_there_is_not_verified() {
    let snapshot = upsert(&CREATED.replace("\"test01@example.com\"", "null")).unwrap();
    assert_eq!(
        (snapshot.columns.get(Column::Email), snapshot.columns.get(Column::EmailVerified)),
        (None, Some("false"))
    );
}
