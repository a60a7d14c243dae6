//! The tables that docs/sources.md has for providers by name are understood, and so are those providers' deliveries.

use super::source::read;
use headcount::config::{Config, Environment};
use headcount::core::columns::Column;
use headcount::core::event::{EventKind, Snapshot};
use headcount::core::layout::Layout;
use headcount::core::timestamp::Timestamp;
use headcount::simulate::WEBHOOK_SECRET;
use headcount::source::Source;

/// The source that the section of this title describes.
fn described(title: &str) -> Source {
    let sources = read("docs/sources.md");
    let section = sources.split(&format!("\n### {title}\n")).nth(1).unwrap_or_else(|| panic!("no {title}"));
    let table = section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let variable = table.split("webhook_secret_env = \"").nth(1).unwrap().split('"').next().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), table).unwrap();
    let environment = Environment::of([(variable.to_owned(), WEBHOOK_SECRET.to_owned())].into());
    let config = Config::resolve(&[], &environment, file.path().to_str()).unwrap();
    config.sources.into_iter().next().unwrap()
}

/// What a delivery says once it was stored.
fn kept(source: &Source, body: &str) -> EventKind {
    assert!(source.provider.glance(body).used, "{body}");
    let stored = source.provider.kept(body, Timestamp::clamped(1_767_323_045_000), &source.keep).unwrap();
    source.provider.normalize(&source.name, &stored, &Layout::default()).unwrap().kind
}

fn snapshot(source: &Source, body: &str) -> Snapshot {
    match kept(source, body) {
        EventKind::Upsert(snapshot) => snapshot,
        EventKind::Delete => panic!("{body} deletes"),
    }
}

/// Fields as in Stytch's published event catalogue for consumers.
#[test]
fn stytch_is_understood() {
    let stytch = described("Stytch");
    let body = |action: &str, user: &str| {
        format!(
            r#"{{"action":"{action}","event_id":"webhook-event-test-1","id":"user-test-1","object_type":"user","source":"DIRECT",
                "project_id":"project-test-1","timestamp":"2026-01-02T03:04:05.555247073Z","vertical":"CONSUMER"{user}}}"#
        )
    };
    let user = r#","user":{"created_at":"2026-01-01T03:04:05Z","emails":[{"email":"ada@example.com","email_id":"email-test-1",
        "verified":true}],"external_id":"","name":{"first_name":"Ada","last_name":"Example","middle_name":""},
        "phone_numbers":[{"phone_id":"phone-test-1","phone_number":"+15555550100","verified":true}],"password":null,
        "status":"active","totps":[],"trusted_metadata":{},"user_id":"user-test-1"}"#;
    let ada = snapshot(&stytch, &body("CREATE", user));
    let cell = |column| ada.columns.get(column);
    assert_eq!(cell(Column::Email), Some("ada@example.com"));
    assert_eq!(cell(Column::EmailVerified), Some("true"));
    assert_eq!(cell(Column::Phone), Some("+15555550100"));
    assert_eq!((cell(Column::FirstName), cell(Column::LastName)), (Some("Ada"), Some("Example")));
    assert_eq!(cell(Column::CreatedAt), Some("2026-01-01T03:04:05.000Z"));
    assert!(!ada.suspended && ada.external_id.is_none());
    assert_eq!(kept(&stytch, &body("DELETE", "")), EventKind::Delete);
    let without = snapshot(&stytch, &body("UPDATE", r#","user":{"emails":[],"phone_numbers":[]}"#));
    assert_eq!((without.columns.get(Column::Email), without.columns.get(Column::Phone)), (None, None));
}

/// Fields as in Stack Auth's own users.
#[test]
fn stack_auth_is_understood() {
    let stack = described("Stack Auth");
    let body = |kind: &str, more: &str| {
        format!(r#"{{"type":"user.{kind}","data":{{"id":"3da0df92-6f63-4ee2-b33d-3aa56e90d31d"{more}}}}}"#)
    };
    let more = r#","display_name":"Ada","primary_email":"ada@example.com","primary_email_verified":true,"has_password":false,
        "profile_image_url":null,"signed_up_at_millis":1767323045000,"oauth_providers":[],"client_metadata":null,
        "restricted_by_admin":false"#;
    let ada = snapshot(&stack, &body("created", more));
    let cell = |column| ada.columns.get(column);
    assert_eq!((cell(Column::Email), cell(Column::EmailVerified)), (Some("ada@example.com"), Some("true")));
    assert_eq!((cell(Column::DisplayName), cell(Column::AvatarUrl)), (Some("Ada"), None));
    assert_eq!(cell(Column::CreatedAt), Some("2026-01-02T03:04:05.000Z"));
    assert!(!ada.suspended && ada.version > 0);
    assert!(snapshot(&stack, &body("updated", &more.replace("admin\":false", "admin\":true"))).suspended);
    assert_eq!(kept(&stack, &body("deleted", r#","teams":[]"#)), EventKind::Delete);
}
