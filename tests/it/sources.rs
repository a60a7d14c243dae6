//! WorkOS, Supabase and whoever signs by Standard Webhooks: what deliveries missed is repaired, and nobody is taken in.

use super::process::{Server, json as last_json, run, text};
use super::provider::{Provider, footprint, people};
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::simulate::{Kind, Options, ROW_SECRET, WEBHOOK_SECRET};
use serde_json::json;
use std::time::Duration;

on_each_database!(
    what_workos_missed_is_repaired,
    what_supabase_missed_is_repaired,
    what_supabase_missed_is_repaired_by_cursor,
    what_better_auth_missed_is_repaired,
    a_walk_by_ids_that_was_killed_deletes_nobody_wrongly,
    workos_events_are_read_although_they_come_late,
    a_described_source_is_held_true,
    a_source_is_retired_and_taken_up_again,
    recorded_deliveries_are_replayed,
    an_explanation_names_the_source_of_each_column,
);

pub async fn of(kind: Kind, users: u64, cursor_pages: bool) -> Provider {
    let provider = Provider::start(Options { kind, users, ..Options::default() }).await;
    provider.simulator.set_faults(|faults| faults.cursor_pages = cursor_pages);
    provider
}

async fn what_workos_missed_is_repaired(db: Db) {
    held_true(db, of(Kind::WorkOs, 700, false).await).await;
}

async fn what_supabase_missed_is_repaired(db: Db) {
    held_true(db, of(Kind::Supabase, 1_300, false).await).await;
}

async fn what_supabase_missed_is_repaired_by_cursor(db: Db) {
    held_true(db, of(Kind::Supabase, 1_300, true).await).await;
}

async fn what_better_auth_missed_is_repaired(db: Db) {
    held_true(db, of(Kind::BetterAuth, 1_300, false).await).await;
}

/// A list in the order of ids does not say which of the known accounts a page lacks: the run remembers whom it has met.
/// One that was killed has forgotten, and walks anew.
async fn a_walk_by_ids_that_was_killed_deletes_nobody_wrongly(db: Db) {
    let provider = of(Kind::BetterAuth, 3_000, false).await;
    assert_eq!(provider.resync(&db, &[]).0, Some(0));
    provider.simulator.set_faults(|faults| faults.latency_ms = 200);
    provider.simulator.change(300);
    let mut killed = provider.headcount(&db).args(["resync", "better-auth"]).spawn().unwrap();
    let pages = || async {
        db.one("SELECT CAST(max(pages) AS text) FROM headcount.runs WHERE status = 'running'").await
    };
    super::support::wait::until("some pages are read", || async {
        matches!(&*pages().await, "2" | "3" | "4")
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    provider.simulator.set_faults(|faults| faults.latency_ms = 0);
    let gone = [provider.ids()[3].clone(), provider.ids()[2_000].clone()];
    gone.iter().for_each(|id| assert!(provider.simulator.delete(id)));
    let (code, run, error) = provider.resync(&db, &[]);
    let there = provider.ids().len();
    assert_eq!(
        (code, &run["status"], &run["seen"]),
        (Some(0), &json!("succeeded"), &json!(there)),
        "{error}"
    );
    assert_eq!(db.count("headcount.runs").await, 2, "the run that was killed went on");
    // Whoever is gone had been met by the process that was killed.
    assert_eq!(provider.resync(&db, &[]).0, Some(0));
    provider.equals(&db).await;
    provider.finds_nothing_new(&db).await;
}

/// Drops, repeats, reordering before the run, changes while it walks, then equal; the second run writes nothing.
async fn held_true(db: Db, provider: Provider) {
    let users = provider.ids().len() as u64;
    let (code, first, error) = provider.resync(&db, &[]);
    assert_eq!(
        (code, &first["created"], &first["status"]),
        (Some(0), &json!(users), &json!("succeeded")),
        "{error}"
    );
    let server = provider.server(&db).await;
    provider.simulator.set_faults(|faults| {
        (faults.drop, faults.repeat, faults.reorder, faults.delay_ms) = (0.33, 0.2, 0.2, 100);
    });
    provider.simulator.change(users / 3);
    provider.simulator.delivered().await;
    server.drained(&db).await;
    assert!(provider.simulator.tally().dropped > 20);
    assert_eq!(provider.resync(&db, &["--dry-run"]).0, Some(3));

    provider.simulator.set_faults(|faults| (faults.drop, faults.latency_ms) = (0.0, 60));
    let mut walking = provider.headcount(&db);
    walking.args(["resync", provider.name(), "--json"]).env("HEADCOUNT_MAX_DELETE", "50%");
    let walking = walking.stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..12 {
        provider.simulator.change(10);
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let walked = tokio::task::spawn_blocking(|| walking.wait_with_output().unwrap()).await.unwrap();
    assert!(walked.status.success(), "{}{}", text(&walked.stdout), text(&walked.stderr));
    provider.simulator.delivered().await;
    server.drained(&db).await;
    server.until(|| async { db.count("headcount.confirmations").await == 0 }).await;
    provider.equals(&db).await;

    provider.simulator.set_faults(|faults| faults.latency_ms = 0);
    provider.finds_nothing_new(&db).await;
    let rows = db.query("SELECT body FROM headcount.inbox WHERE body IS NOT NULL").await;
    assert!(!rows.is_empty() && rows.iter().flatten().flatten().all(|body| !body.contains(ROW_SECRET)));
    let log = std::fs::read_to_string(&server.log).unwrap();
    assert!(!log.contains(ROW_SECRET) && !log.contains(WEBHOOK_SECRET) && !log.contains("@example.com"));
}

async fn workos_events_are_read_although_they_come_late(db: Db) {
    let provider = of(Kind::WorkOs, 120, false).await;
    provider.resync(&db, &[]);
    let incremental = || provider.resync(&db, &["--incremental"]);
    provider.simulator.set_faults(|faults| faults.events_late_ms = 3_600_000);
    provider.simulator.change(90);
    let (code, first, error) = incremental();
    assert_eq!((code, &first["status"]), (Some(0), &json!("succeeded")), "{error}");
    let seen = first["seen"].as_u64().unwrap();
    assert!((30..90).contains(&seen), "some are held back: {first}");
    // A cursor behind the youngest would never see them.
    provider.simulator.set_faults(|faults| faults.events_late_ms = 0);
    let (_, second, _) = incremental();
    assert_eq!(second["seen"].as_u64().unwrap(), 90, "{second}");
    // What was overtaken says nothing new either.
    let unchanged = second["unchanged"].as_u64().unwrap();
    assert!((seen..90).contains(&unchanged), "{second}");
    provider.equals(&db).await;
    let before = footprint(&db).await;
    let (_, third, _) = incremental();
    assert_eq!((third["unchanged"].as_u64(), footprint(&db).await), (Some(90), before));
    // A delivery of an event that was read already is a duplicate: they share their id.
    let server = provider.server(&db).await;
    provider.simulator.change(1);
    provider.simulator.delivered().await;
    server.drained(&db).await;
    let (_, fourth, _) = incremental();
    assert_eq!((fourth["seen"].as_u64(), fourth["unchanged"].as_u64()), (Some(91), Some(91)), "{fourth}");
}

const ACCOUNTS: &str = r#"
[sources.accounts]
kind = "standard-webhooks"
webhook_secret_env = "ACCOUNTS_WEBHOOK_SECRET"
upsert = ["user.created", "user.updated"]
delete = ["user.deleted"]
id = "data.id"
version = "data.updatedAt"
columns = { email = "data.email", email_verified = "data.emailVerified", display_name = "data.name", avatar_url = "data.image" }
sample = '''{"type":"user.updated","data":{"id":"u","updatedAt":"2026-01-01T00:00:00Z","email":null,"emailVerified":false,"name":"N","image":null}}'''
"#;

/// Signed by the official library; repeated and shuffled.
async fn a_described_source_is_held_true(db: Db) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ACCOUNTS).unwrap();
    let secret = "whsec_YWNjb3VudHMgd2ViaG9vayBzZWNyZXQgMDAwMQ==";
    let variables =
        [("HEADCOUNT_CONFIG", file.path().to_str().unwrap()), ("ACCOUNTS_WEBHOOK_SECRET", secret)];
    let server = Server::start_with(&db, &[], &variables).await;
    let mut bodies = Vec::new();
    for person in 0..40 {
        for version in 0..4 {
            let event = if version == 0 { "user.created" } else { "user.updated" };
            let data = json!({
                "id": format!("u{person}"), "updatedAt": format!("2026-01-01T00:00:00.00000{version}Z"),
                "email": format!("p{person}v{version}@example.com"), "emailVerified": version > 1,
                "name": format!("Person {person} v{version}"), "image": null, "passwordHash": ROW_SECRET,
            });
            bodies
                .push((format!("msg_{person}_{version}"), json!({"type": event, "data": data}).to_string()));
        }
        if person % 10 == 0 {
            let data = json!({"id": format!("u{person}")});
            bodies.push((
                format!("msg_{person}_gone"),
                json!({"type": "user.deleted", "data": data}).to_string(),
            ));
        }
    }
    let repeated: Vec<_> = bodies.iter().step_by(3).cloned().collect();
    bodies.extend(repeated);
    super::support::Dice(7).shuffle(&mut bodies);
    let official = standardwebhooks::Webhook::new(secret).unwrap();
    for (id, body) in &bodies {
        let now = headcount::clock::Clock::now(&headcount::clock::SystemClock).seconds();
        let signature = official.sign(id, now, body.as_bytes()).unwrap();
        let now = now.to_string();
        let headers =
            [("webhook-id", id.as_str()), ("webhook-timestamp", &now), ("webhook-signature", &signature)];
        let (status, _) = server.post("accounts", &headers, body.clone()).await.unwrap();
        assert!(status.is_success(), "{status}");
    }
    server.drained(&db).await;
    let people = db.people().await;
    for person in 0..40 {
        let row = &people[&format!("u{person}")];
        let (state, email) = match person % 10 {
            0 => ("deleted", None),
            _ => ("active", Some(format!("p{person}v3@example.com"))),
        };
        assert_eq!((row[0].as_deref(), &row[2]), (Some(state), &email), "{person}");
        assert_eq!(row[4], Some(format!("Person {person} v3")));
    }
    let rows = db.query("SELECT body FROM headcount.inbox").await;
    assert!(rows.iter().flatten().flatten().all(|body| !body.contains(ROW_SECRET)));
}

async fn a_source_is_retired_and_taken_up_again(db: Db) {
    let provider = of(Kind::WorkOs, 30, false).await;
    provider.resync(&db, &[]);
    let server = provider.server(&db).await;
    let (code, refused, error) = provider.command(&db, &["source", "retire", "workos"]);
    assert!(code == Some(2) && error.contains("--yes"), "{refused} {error}");
    assert_eq!(provider.command(&db, &["source", "retire", "wrokos", "--yes"]).0, Some(2));
    let (code, retired, _) = provider.command(&db, &["source", "retire", "workos", "--yes"]);
    assert!(code == Some(0) && retired["retired_at"].is_string(), "{retired}");
    let post = || server.post("workos", &[], "{}".to_owned());
    server.until(|| async { post().await.is_some_and(|(status, _)| status == 404) }).await;
    for id in &provider.ids()[..5] {
        provider.simulator.delete(id);
    }
    let (code, _, error) = provider.resync(&db, &[]);
    assert!(code == Some(1) && error.contains("retired") && error.contains("--undo"), "{error}");
    assert_eq!(people(&db).await.len(), 30, "it deletes nobody");
    let (_, list, _) = provider.command(&db, &["source", "list"]);
    let row = list["sources"].as_array().unwrap().iter().find(|row| row["name"] == "workos").unwrap();
    assert_eq!((&row["takes_deliveries"], &row["accounts"]), (&json!(false), &json!(30)));
    let (_, status, _) = provider.command(&db, &["status"]);
    let row = status["sources"].as_array().unwrap().iter().find(|row| row["name"] == "workos").unwrap();
    assert!(row["retired_at"].is_string() && row["silence"].is_null(), "{row}");
    let shown = text(&run(provider.headcount(&db).arg("status")).stdout);
    assert!(shown.contains("Source workos is retired since"), "{shown}");
    assert_eq!(provider.command(&db, &["source", "retire", "workos", "--undo", "--yes"]).0, Some(0));
    let (code, run, error) = provider.resync(&db, &[]);
    assert_eq!((code, &run["deleted"]), (Some(0), &json!(5)), "{error}");
    provider.equals(&db).await;
}

/// Of every way of signing; what was recorded is replayed as it was.
async fn recorded_deliveries_are_replayed(db: Db) {
    let fixtures = ["workos", "supabase", "better-auth"]
        .map(|kind| format!("{}/fixtures/{kind}", env!("CARGO_MANIFEST_DIR")));
    let command =
        |db: &Db, args: &[&str]| last_json(&run(super::process::headcount(&db.url).args(args).arg("--json")));
    let told = command(&db, &["replay", &fixtures[0], &fixtures[1], &fixtures[2]]);
    let counts = |told: &serde_json::Value| {
        ["read", "applied", "stale", "ignored", "duplicate"].map(|count| told[count].as_u64().unwrap())
    };
    assert_eq!(counts(&told), [22, 17, 3, 2, 0], "{told}");
    let state =
        "SELECT display_name, account_state, email, phone FROM users ORDER BY display_name, account_state";
    let before = db.query(state).await;
    let again = command(&db, &["replay", &fixtures[0], &fixtures[1], &fixtures[2]]);
    assert_eq!(counts(&again), [22, 0, 0, 0, 22]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let recorded = command(&db, &["record", "--raw", "--out", out]);
    assert_eq!(recorded["written"], 20, "{recorded}");
    let again = Db::new(db.backend).await;
    // The signatures are the public key's, as the fixtures have it; a bearer's secret was never kept.
    let mut replay = super::process::headcount(&again.url);
    for variable in ["WORKOS_WEBHOOK_SECRET", "BETTER_AUTH_WEBHOOK_SECRET"] {
        replay.env(variable, headcount::replay::FIXTURE_KEY);
    }
    let told = last_json(&run(replay.args(["replay", out, "--json"])));
    assert_eq!(counts(&told), [20, 17, 3, 0, 0], "{told}");
    assert_eq!(again.query(state).await, before);
}

async fn an_explanation_names_the_source_of_each_column(db: Db) {
    let provider = of(Kind::WorkOs, 1, false).await;
    let id = "0198c0de-0000-7000-8000-000000000001";
    db.execute(&format!("INSERT INTO users (id, email) VALUES ('{id}', 'typed@example.com')")).await;
    let person = provider.ids()[0].clone();
    provider.simulator.edit(&person, &json!({"external_id": id, "email": "w@example.com"}));
    provider.resync(&db, &[]);
    let mut data = super::support::user("user_c", 0, Some("c@example.com"), Some("clara"), "Clara");
    data["external_id"] = json!(id);
    let server = provider.server(&db).await;
    let body = super::support::event("user.created", data, 0);
    server.deliver("msg_1", &body).await;
    server.drained(&db).await;
    let explained = |args: &[&str]| {
        let mut command = provider.headcount(&db);
        command.env("CLERK_WEBHOOK_SIGNING_SECRET", super::support::SECRET);
        run(command.args(["explain", id]).args(args))
    };
    let told = last_json(&explained(&["--json"]));
    let column = |name: &str| {
        told["columns"].as_array().unwrap().iter().find(|column| column["column"] == name).unwrap().clone()
    };
    let email = column("email");
    assert_eq!(
        (&email["source"], &email["value"], &email["word"]),
        (&json!("clerk"), &json!("c@example.com"), &json!("provider"))
    );
    let says: Vec<_> =
        email["sources_say"].as_array().unwrap().iter().map(|word| word["value"].clone()).collect();
    assert!(says.contains(&json!("w@example.com")) && says.contains(&json!("c@example.com")), "{email}");
    assert_eq!(column("last_name")["source"], "workos", "clerk has none");
    let shown = text(&explained(&[]).stdout);
    assert!(shown.contains("clerk's: ") && shown.contains("; workos says w@example.com"), "{shown}");
    assert_eq!(told["accounts"].as_array().unwrap().len(), 2);
}

/// The generated SQL in a real PostgreSQL, with a stand-in for pg_net that writes down what would be sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_webhooks_sql_tells_of_everything_but_secrets() {
    let db = Db::new(Backend::Postgres).await;
    let mut command = super::process::headcount(&db.url);
    command.env("SUPABASE_WEBHOOK_SECRET", "it's a secret");
    let install = ["source", "install", "supabase", "--url", "https://headcount.example.com/", "--json"];
    let shown = last_json(&run(command.args(install)));
    assert!(
        !shown.to_string().contains("it's") && shown["sql"].as_str().unwrap().contains("REPLACE_WITH"),
        "{shown}"
    );
    let sql = last_json(&run(command.arg("--with-secret")))["sql"].as_str().unwrap().to_owned();
    let sql = sql.replace("CREATE EXTENSION IF NOT EXISTS pg_net;", "");
    db.execute(
        "CREATE SCHEMA auth; CREATE SCHEMA net; CREATE TABLE net.sent (url text, body jsonb, headers jsonb);
         CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, encrypted_password text, recovery_token text,
             raw_user_meta_data jsonb, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
         CREATE FUNCTION net.http_post(url text, body jsonb, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}',
             timeout_milliseconds int DEFAULT 1) RETURNS bigint LANGUAGE sql AS
             'INSERT INTO net.sent VALUES ($1, $2, $4); SELECT 1::bigint';",
    )
    .await;
    for _ in 0..2 {
        db.execute(&sql).await;
    }
    db.execute(
        "INSERT INTO auth.users VALUES ('8e7fbc8a-1d7e-4a9e-9b61-3a0f7f4b1a11', 'a@example.com', 'hush', 'hush', '{\"name\":\"Ann\"}');
         UPDATE auth.users SET email = 'b@example.com', updated_at = now() + interval '1 second'",
    )
    .await;
    let sent = db.query("SELECT url, CAST(body AS text), headers ->> 'Authorization' FROM net.sent").await;
    let server = Server::start_with(&db, &[], &[("SUPABASE_WEBHOOK_SECRET", "it's a secret")]).await;
    for row in &sent {
        let [url, body, bearer] = [0, 1, 2].map(|n| row[n].clone().unwrap());
        assert_eq!(url, "https://headcount.example.com/webhooks/supabase");
        assert!(!body.contains("hush"), "{body}");
        let (status, _) = server.post("supabase", &[("authorization", &bearer)], body).await.unwrap();
        assert_eq!(status, 202);
    }
    server.drained(&db).await;
    assert_eq!((sent.len(), db.one("SELECT email FROM public.users").await), (2, "b@example.com".to_owned()));
    // What pg_net cannot do now does not stop a sign-up.
    db.execute("DROP FUNCTION net.http_post; DELETE FROM auth.users").await;
    assert_eq!(db.count("auth.users").await, 0);
}

/// The official SDKs against the simulator: they verify what it signs, and read its lists.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_clients_get_along_with_the_simulator() {
    let Some(folder) = super::support::needs::OTHER_CLIENTS.found() else { return };
    for kind in [Kind::WorkOs, Kind::Supabase] {
        let provider = of(kind, 150, false).await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdks/check.cjs");
        let mut command = std::process::Command::new("node");
        command.args([script, &folder, kind.name(), &provider.url, super::provider::KEY, WEBHOOK_SECRET]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{kind:?}: {}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(text(&output.stdout).trim(), "{\"ok\":true}");
    }
}
