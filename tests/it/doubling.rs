//! A second source doubles nobody: its first run is held where its accounts are people who are here already.

use super::process::{headcount, run};
use super::provider::{KEY, Provider, told};
use super::support::Db;
use crate::on_each_database;
use headcount::simulate::{Kind, Options};
use serde_json::{Value, json};

on_each_database!(people_whom_the_new_source_names_are_not_doubled, verified_addresses_are_evidence_as_well);

const PEOPLE: usize = 8;

/// Clerk with so many people, and WorkOS with the same ones.
async fn moved(db: &Db, with_external_id: bool) -> (Provider, Provider) {
    // Another seed, for the same one gives the same ids.
    let empty = |kind, seed| Provider::start(Options { kind, seed, users: 0, ..Options::default() });
    let (clerk, workos) = (empty(Kind::Clerk, 1).await, empty(Kind::WorkOs, 99).await);
    let client = reqwest::Client::new();
    let make = async |url: String, body: Value| -> Value {
        let request = client.post(url).bearer_auth(KEY).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    for n in 0..PEOPLE {
        let email = format!("p{n}@example.com");
        let person = json!({"email_address": [email], "first_name": format!("P{n}")});
        let made = make(format!("{}/v1/users", clerk.url), person).await;
        let external_id = with_external_id.then(|| made["id"].clone());
        let person = json!({"email": email, "email_verified": true, "first_name": format!("P{n}"), "external_id": external_id});
        make(format!("{}/user_management/users", workos.url), person).await;
    }
    let (code, first, error) = clerk.resync(db, &[]);
    assert_eq!((code, &first["created"]), (Some(0), &json!(PEOPLE)), "{error}");
    (clerk, workos)
}

/// A run of the second source with this line in its table.
fn resync_with(db: &Db, workos: &Provider, setting: &str) -> (Option<i32>, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.toml");
    let table = format!(
        "[sources.workos]\nkind = \"workos\"\napi_key_env = \"WK\"\napi_url = \"{}\"\n{setting}\n",
        workos.url
    );
    std::fs::write(&file, table).unwrap();
    let mut command = headcount(&db.url);
    command.args(["resync", "workos", "--json"]).env("WK", KEY).env("HEADCOUNT_CONFIG", &file);
    told(&run(command.env("HEADCOUNT_CONFIRM_AFTER", "300ms").env("HEADCOUNT_RATE_SHARE", "100%")))
}

async fn people_whom_the_new_source_names_are_not_doubled(db: Db) {
    let (_clerk, workos) = moved(&db, true).await;
    let (code, held, error) = workos.resync(&db, &[]);
    assert_eq!((code, &held["status"]), (Some(3), &json!("held")), "{held} {error}");
    for part in ["8 of the 8 accounts", "their external_id (8)", "`share_ids = true`", "runs approve"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(db.count("users").await, PEOPLE as u64);
    let (code, linked, error) = resync_with(&db, &workos, "share_ids = true");
    assert_eq!((code, &linked["status"]), (Some(0), &json!("succeeded")), "{linked} {error}");
    assert_eq!(db.count("users").await, PEOPLE as u64);
    assert_eq!(db.count("headcount.identities WHERE linked_by = 'shared-external-id'").await, PEOPLE as u64);
}

async fn verified_addresses_are_evidence_as_well(db: Db) {
    let (_clerk, workos) = moved(&db, false).await;
    let (code, held, error) = workos.resync(&db, &[]);
    assert_eq!((code, &held["status"]), (Some(3), &json!("held")), "{held} {error}");
    assert!(error.contains("`link_verified_emails = true`"), "{error}");
    // Whoever means two users says so.
    let id = held["run"].as_str().unwrap();
    let (code, _, error) = workos.command(&db, &["runs", "approve", id, "--yes"]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(db.count("users").await, 2 * PEOPLE as u64);
}
