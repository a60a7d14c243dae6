//! The simulator is what it says: Clerk's own client and Clerk's own rules, and its deliveries arrive.

use super::process::{Server, fails_quietly_with, headcount, text};
use super::provider::{Provider, people};
use super::support::needs::CLERK_CLIENT;
use super::support::wait::until;
use super::support::{Backend, Db, Dice};
use headcount::simulate::{Options, Simulator, WEBHOOK_SECRET};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

const KEY: &str = "sk_test_simulated";

async fn simulator(users: u64) -> (Simulator, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = Options { users, secret_key: KEY.into(), ..Options::default() };
    let simulator = Simulator::start(options, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = simulator.url();
    (simulator, url)
}

async fn get(url: &str, path: &str) -> (StatusCode, Value) {
    let answer = Client::new().get(format!("{url}{path}")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let status = answer.status();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn clerks_own_client_gets_along_with_it() {
    let Some(folder) = CLERK_CLIENT.found() else { return };
    let (_simulator, url) = simulator(50).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clerk/check.cjs");
    let checked = tokio::task::spawn_blocking(move || {
        Command::new("node").args([script, &folder, &url, KEY]).output().unwrap()
    });
    let output = checked.await.unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), "{\"ok\":true}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_the_specification() {
    let (simulator, url) = simulator(40).await;
    let ids = |page: &Value| -> Vec<String> {
        page.as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
    };
    let (_, newest) = get(&url, "/v1/users").await;
    let mut all: Vec<String> = simulator.truth().into_iter().map(|truth| truth.id).collect();
    all.reverse();
    assert_eq!(ids(&newest), all[..10], "ten, the newest first");
    let after = format!("/v1/users?limit=7&order_by=%2Bcreated_at&starting_after={}", all[39]);
    let oldest: Vec<String> = all.iter().rev().skip(1).take(7).cloned().collect();
    assert_eq!(ids(&get(&url, &after).await.1), oldest);
    assert_eq!(ids(&get(&url, "/v1/users?limit=501").await.1).len(), 10, "silently the default");
    for wrong in [
        format!("starting_after={}&order_by=-updated_at", all[0]),
        format!("starting_after={}&offset=3", all[0]),
        "order_by=-shoe_size".into(),
        "offset=-1".into(),
        "limit=many".into(),
    ] {
        let (status, body) = get(&url, &format!("/v1/users?{wrong}")).await;
        assert_eq!(status, 422, "{wrong}");
        assert!(body["errors"][0]["long_message"].is_string(), "{body}");
    }
    assert_eq!(get(&url, "/v1/users/count").await.1, json!({"object": "total_count", "total_count": 40}));
    assert_eq!(get(&url, "/v1/instance").await.1["id"], "ins_simulated");
    let user = get(&url, &format!("/v1/users/{}", all[3])).await.1;
    let required = include_str!("../vectors/clerk-user-created.json");
    let required: Value = serde_json::from_str(required).unwrap();
    for field in required["data"].as_object().unwrap().keys() {
        assert!(user.get(field).is_some() || field == "organization_memberships", "{field} is missing");
    }
    let both = format!("{url}/v1/users?__clerk_api_version=2026-05-12");
    let refused = Client::new()
        .get(both)
        .bearer_auth(KEY)
        .header("clerk-api-version", "2026-05-12")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_makes_the_same_people_and_changes() {
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (simulator, _) = simulator(60).await;
        simulator.change(200);
        let people: Vec<_> = simulator
            .truth()
            .into_iter()
            .map(|truth| (truth.id, truth.email, truth.first_name, truth.banned))
            .collect();
        ends.push(people);
    }
    assert_eq!(ends[0], ends[1]);
}

/// A receiver that is down at first gets everything all the same: the retry schedule, a thousand times faster.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_tried_again_until_they_arrive() {
    let db = Db::new(Backend::Sqlite).await;
    let provider = Provider::with_users(30).await;
    provider.resync(&db, &[]);
    // Nobody listens there, yet.
    provider.simulator.deliver_to("http://127.0.0.1:9/webhooks/clerk".parse().unwrap());
    provider.simulator.change(40);
    until("each was tried", || async { provider.simulator.tally().attempts >= 40 }).await;
    assert_eq!(provider.simulator.tally().delivered, 0);
    let server = provider.server(&db).await;
    provider.simulator.delivered().await;
    server.drained(&db).await;
    let tally = provider.simulator.tally();
    assert_eq!((tally.delivered, tally.exhausted), (40, 0), "{tally:?}");
    assert!(tally.attempts > 40, "{tally:?}");
    provider.equals(&db).await;
}

/// As an application's CI would use it: the binary, its API, its controls.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_serves_and_is_told_what_goes_wrong() {
    let db = Db::new(Backend::Sqlite).await;
    // Below the ports that the system gives to outgoing connections.
    let port = 20_000 + Dice(u64::from(std::process::id())).roll(12_000);
    let listen = format!("127.0.0.1:{port}");
    let server = Server::start_with(&db, &[], &[("CLERK_WEBHOOK_SIGNING_SECRET", WEBHOOK_SECRET)]).await;
    let to = format!("http://{}/webhooks/clerk", server.address);
    let mut command = headcount("")
        .args(["simulate", "--listen", &listen, "--users", "5", "--to", &to, "--compress", "1000"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://{listen}");
    let client = server.client();
    server.until(|| async { client.get(format!("{url}/simulate")).send().await.is_ok() }).await;
    let body = json!({"email_address": ["ci@example.com"], "first_name": "Ci"}).to_string();
    let made =
        client.post(format!("{url}/v1/users")).bearer_auth(KEY).body(body.clone()).send().await.unwrap();
    assert_eq!(made.status(), 200);
    server.until(|| async { people(&db).await.len() == 1 }).await;
    let faults = client.put(format!("{url}/simulate/faults")).body(json!({"outage": true}).to_string());
    assert_eq!(faults.send().await.unwrap().status(), 200);
    let failing = client.post(format!("{url}/v1/users")).bearer_auth(KEY).body(body).send().await.unwrap();
    assert_eq!(failing.status(), 503);
    let wrong = client.put(format!("{url}/simulate/faults")).body(json!({"drpo": 1}).to_string());
    let wrong = wrong.send().await.unwrap();
    assert!(wrong.status() == 400 && wrong.text().await.unwrap().contains("drpo"));
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(command.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(command.wait().unwrap().code(), Some(0));
    let elsewhere = super::process::run(headcount("").args(["simulate", "--listen", "0.0.0.0:0"]));
    fails_quietly_with("a public simulator", elsewhere.status.code(), &text(&elsewhere.stderr), "loopback");
}

/// The move, told against stand-ins alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_of_a_move_ends_with_everybody_who_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = headcount("postgres://nobody:hush@127.0.0.1:1/nothing");
    let demo = demo.args(["demo", "--move", "--exit", "--json", "--users", "120"]).current_dir(&folder);
    let output = super::process::run(demo.env("TMPDIR", folder.path()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let story = super::process::json(&output);
    assert_eq!(
        (&story["equal"], &story["back_is_as_before"], &story["deleted"]),
        (&json!(true), &json!(true), &json!(0)),
        "{story}"
    );
    assert!(story["rewritten"].as_u64().unwrap() > 20, "{story}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "it removes what it made");
}

/// The README's first command: a database of its own, whatever is configured, and an end that can be checked.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_with_source_and_tables_equal() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = headcount("postgres://nobody:hush@127.0.0.1:1/nothing");
    let demo = demo.args(["demo", "--exit", "--json", "--users", "120", "--seed", "3"]).current_dir(&folder);
    std::fs::write(folder.path().join("headcount.toml"), "this is = no configuration of a demo").unwrap();
    let output = super::process::run(demo.env("TMPDIR", folder.path()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let story = super::process::json(&output);
    assert_eq!(story["equal"], true, "{story}");
    assert!(story["dropped"].as_u64().unwrap() > 10, "{story}");
    assert!(
        story["drift"]["outdated"].as_u64().unwrap() > 0 && story["updated"].as_u64().unwrap() > 0,
        "{story}"
    );
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["headcount.toml"], "it removes what it made");
    // For a person without a terminal: plain lines, in the order of the story.
    let mut told =
        headcount("").args(["demo", "--users", "40"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(told.stdout.take().unwrap());
    let mut lines = String::new();
    output.read_line(&mut lines).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(told.id()).unwrap()),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    assert!(told.wait().is_ok());
    output.read_to_string(&mut lines).unwrap();
    assert!(lines.starts_with("1  A stand-in Clerk with 40 users") && !lines.contains('\u{1b}'), "{lines}");
}
