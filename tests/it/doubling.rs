//! A second source doubles nobody: its first run is held where its accounts are people who are here already.

use super::process::{APP_TOKEN, Server, headcount, run};
use super::provider::{KEY, Provider, told};
use super::support::Db;
use crate::on_each_database;
use headcount::simulate::{Kind, Options};
use serde_json::{Value, json};

on_each_database!(
    people_whom_the_new_source_names_are_not_doubled,
    verified_addresses_are_evidence_as_well,
    a_sign_up_under_a_known_address_waits_until_it_is_verified,
);

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

/// As an application sees it: who waits is told so, asked again once it is verified, and nobody is doubled.
async fn a_sign_up_under_a_known_address_waits_until_it_is_verified(db: Db) {
    let (clerk, workos) = moved(&db, false).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.toml");
    let table = format!(
        "[sources.workos]\nkind = \"workos\"\napi_key_env = \"WK\"\napi_url = \"{}\"\nlink_verified_emails = true\n",
        workos.url
    );
    std::fs::write(&file, table).unwrap();
    let file = file.to_str().unwrap();
    let more = [("WK", KEY), ("HEADCOUNT_CONFIG", file), ("HEADCOUNT_RESYNC_SCHEDULE", "off")];
    let server = Server::start_with(&db, &[], &[clerk.variables(), more.to_vec()].concat()).await;
    let client = reqwest::Client::new();
    let at_workos = async |request: reqwest::RequestBuilder, body: Value| -> Value {
        let request = request.bearer_auth(KEY).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    let users = format!("{}/user_management/users", workos.url);
    let clerks = json!({"email_address": ["late@example.com"], "first_name": "Late"});
    at_workos(client.post(format!("{}/v1/users", clerk.url)), clerks).await;
    assert_eq!(clerk.resync(&db, &[]).0, Some(0));
    let made =
        at_workos(client.post(&users), json!({"email": "late@example.com", "email_verified": false})).await;
    let id = made["id"].as_str().unwrap();
    let known = db.count("users").await;
    let ask = json!({"source": "workos", "provider_id": id, "hints": {"email": "late@example.com"}});
    let (status, problem) = server.call("POST", "/v1/users/ensure", APP_TOKEN, Some(ask.clone())).await;
    assert_eq!((status, &problem["type"]), (409, &json!("/problems/address-of-another-user")), "{problem}");
    assert_eq!(db.count("users").await, known);
    let command = |args: &[&str]| {
        let mut command = headcount(&db.url);
        told(&run(command.args(args).env("WK", KEY).env("HEADCOUNT_CONFIG", file)))
    };
    let (_, waiting, error) = command(&["users", "waiting", "--json"]);
    assert_eq!(waiting["accounts"][0]["provider_id"], json!(id), "{waiting} {error}");
    let owner = waiting["accounts"][0]["other_user"].as_str().unwrap().to_owned();
    let (_, _, explained) = command(&["explain", id]);
    assert!(explained.contains(&owner) && explained.contains("who had it first"), "{explained}");
    let (_, status, error) = command(&["status", "--json"]);
    assert_eq!(status["sources"][0]["awaiting_address"], json!(1), "{status} {error}");
    at_workos(client.put(format!("{users}/{id}")), json!({"email_verified": true})).await;
    let (status, user) = server.call("POST", "/v1/users/ensure", APP_TOKEN, Some(ask)).await;
    assert_eq!((status, user["id"].as_str()), (200, Some(owner.as_str())), "{user}");
    assert_eq!(db.count("users").await, known);
}
