//! The fixtures of this repository are whole, and end as they say.
//!
//! After a change of a fixture's body: `HEADCOUNT_TEST_RESIGN=1 cargo test --test it fixtures`.

use super::support::Db;
use headcount::core::timestamp::Timestamp;
use headcount::replay::{FIXTURE_KEY, Fixture, collect_paths};
use headcount::source::signature::SigningKey;
use std::path::PathBuf;

fn paths() -> Vec<PathBuf> {
    collect_paths(&[PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))]).unwrap()
}

#[test]
fn every_fixture_is_signed_with_the_public_key() {
    assert!(paths().len() >= 29);
    for path in paths() {
        let mut fixture = Fixture::read(&path).unwrap();
        let key = SigningKey::read(fixture.headers.scheme, FIXTURE_KEY).unwrap();
        // A bearer says nothing of its time.
        let at = fixture.headers.sent_at().unwrap_or(Timestamp::clamped(0));
        if std::env::var_os("HEADCOUNT_TEST_RESIGN").is_some() {
            fixture = fixture.signed(&key, at);
            std::fs::write(&path, fixture.render()).unwrap();
        }
        assert_eq!(fixture.key.as_deref(), Some(FIXTURE_KEY), "{}", path.display());
        let verified = fixture.headers.verify(std::slice::from_ref(&key), fixture.body.as_bytes(), at);
        assert_eq!(verified, Ok(at), "{}", path.display());
        assert!(!fixture.about.is_empty(), "{} says what it is", path.display());
        assert_eq!(Fixture::parse(&fixture.render()).unwrap(), fixture);
    }
}

/// The state in which each person of `fixtures/clerk` ends.
pub async fn end_as_they_say(db: &Db) {
    let people = db.people().await;
    let seen: Vec<(&str, &str, Option<&str>)> = people
        .iter()
        .map(|(id, person)| (&id[13..17], person[0].as_deref().unwrap(), person[2].as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            ("Ada0", "active", Some("ada@example.com")),
            ("Bann", "suspended", Some("mallory@example.com")),
            ("Dele", "deleted", None),
            ("Lock", "active", Some("bob@example.com")),
            ("NoEn", "incomplete", None),
            ("Oaut", "active", Some("grace@example.com")),
            ("Phon", "incomplete", None),
            ("Unic", "active", Some("žofia@пример.example")),
        ]
    );
}
