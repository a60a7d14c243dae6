//! The commands, by hand and by program.

use super::fixtures::end_as_they_say;
use super::process::{Server, headcount, json, run, text};
use super::support::{Backend, Db, SECRET, event, user};
use crate::on_each_database;
use serde_json::json as value;
use std::process::Output;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clerk");

on_each_database!(
    fixtures_are_replayed_recorded_and_replayed_again,
    status_events_and_users_tell_the_same,
    sent_fixtures_are_deliveries,
    serve_works_without_the_right_to_change_the_schema,
);

fn command(db: &Db, args: &[&str]) -> Output {
    run(headcount(&db.url).args(args))
}

fn fails(output: &Output, code: i32, expected: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for expected in expected {
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    assert!(!error.contains("panicked") && !error.contains(SECRET), "{error}");
}

async fn fixtures_are_replayed_recorded_and_replayed_again(db: Db) {
    let first = json(&command(&db, &["replay", FIXTURES, "--json"]));
    let counts = |object: &serde_json::Value| {
        ["read", "applied", "duplicate", "stale", "ignored", "dead", "rejected"]
            .map(|key| object[key].as_u64().unwrap())
    };
    assert_eq!(counts(&first), [16, 12, 0, 2, 2, 0, 0]);
    assert_eq!(first["users"].as_array().unwrap().len(), 8);
    end_as_they_say(&db).await;
    assert_eq!(counts(&json(&command(&db, &["replay", FIXTURES, "--json"]))), [16, 0, 16, 0, 0, 0, 0]);

    let folder = tempfile::tempdir().unwrap();
    for raw in [false, true] {
        let out = folder.path().join(raw.to_string());
        let out = out.to_str().unwrap();
        let mut args = vec!["record", "--out", out, "--json"];
        args.extend(raw.then_some("--raw"));
        let recorded = json(&command(&db, &args));
        assert_eq!((recorded["written"].as_u64(), recorded["without_body"].as_u64()), (Some(14), Some(2)));
        let all: String = std::fs::read_dir(out)
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        assert_eq!(all.contains("ada@example.com"), raw);
        assert_eq!(all.contains("Hopper"), raw);
        let copy = Db::new(db.backend).await;
        let replayed = command(&copy, &["replay", out, "--json"]);
        assert_eq!(counts(&json(&replayed)), [14, 12, 0, 2, 0, 0, 0], "it is the same story");
        let states = "SELECT account_state, CAST(count(*) AS text) FROM users GROUP BY 1 ORDER BY 1";
        assert_eq!(copy.query(states).await, db.query(states).await);
    }
}

async fn status_events_and_users_tell_the_same(db: Db) {
    command(&db, &["replay", FIXTURES]);
    let status = command(&db, &["status", "--json"]);
    assert_eq!(status.status.code(), Some(0));
    let status = json(&status);
    assert_eq!(status["users"], value!({"active": 4, "deleted": 1, "incomplete": 2, "suspended": 1}));
    assert_eq!(status["inbox"], value!({"applied": 12, "ignored": 2, "stale": 2}));
    assert_eq!(status["missing"][0]["field"], "email");
    let users = json(&command(&db, &["users", "list", "--state", "incomplete", "--json"]));
    assert_eq!(users["users"].as_array().unwrap().len(), 2);
    assert_eq!(users["users"][0]["missing"], value!(["email"]));
    let ada = json(&command(&db, &["users", "show", "ada@example.com", "--json"]));
    assert_eq!((ada["display_name"].as_str(), ada["username"].as_str()), (Some("Ada Lovelace"), Some("ada")));
    assert_eq!(ada["identities"][0]["version"], 1_767_225_660_000_i64);
    let shown = text(&command(&db, &["users", "list"]).stdout);
    assert!(shown.contains("Ada Lovelace") && shown.contains("\\u{202e}"), "{shown}");

    // A dead letter is found, shown, and given up.
    let store = db.store().await;
    let provider = headcount::source::provider("clerk").unwrap();
    let source = headcount::source::Source::recorded("clerk", provider);
    let signed = headcount::source::signature::SignedHeaders {
        scheme: headcount::source::signature::Scheme::Standard,
        id: "msg_dead".into(),
        timestamp: "1".into(),
        signature: "v1,x".into(),
    };
    let at = headcount::core::timestamp::Timestamp::clamped(1_000);
    let body = event("user.updated", value!({"id": "user_dead"}), 0);
    store
        .accept(&[headcount::intake::verified(&source, &signed, at, body.clone(), String::new).unwrap()])
        .await
        .unwrap();
    Server::start(&db).await.drained(&db).await;
    assert_eq!(command(&db, &["status"]).status.code(), Some(3));
    let dead = command(&db, &["events", "list", "--status", "dead", "--json"]);
    assert_eq!(dead.status.code(), Some(3));
    let seq = json(&dead)["events"][0]["seq"].to_string();
    let shown = json(&command(&db, &["events", "show", &seq, "--json"]));
    assert_eq!(shown["last_error"], "data.updated_at is missing");
    assert_eq!(shown["body"], body);
    fails(&command(&db, &["events", "discard", &seq]), 1, &["--yes"]);
    fails(&command(&db, &["events", "retry"]), 2, &["say which"]);
    fails(&command(&db, &["events", "show", "999999"]), 1, &["no delivery 999999"]);
    assert_eq!(json(&command(&db, &["events", "retry", &seq, "--json"]))["retried"], 1);
    Server::start(&db).await.drained(&db).await;
    assert_eq!(
        json(&command(&db, &["events", "discard", "--status", "dead", "--yes", "--json"]))["discarded"],
        1
    );
    assert_eq!(command(&db, &["status"]).status.code(), Some(0));
}

async fn sent_fixtures_are_deliveries(db: Db) {
    let server = Server::start(&db).await;
    let to = format!("http://{}/webhooks/clerk", server.address);
    let send = |secret: &str| {
        run(headcount(&db.url)
            .args(["replay", FIXTURES, "--to", &to, "--json"])
            .env("CLERK_WEBHOOK_SIGNING_SECRET", secret))
    };
    let sent = send(SECRET);
    assert_eq!(json(&sent), value!({"read": 16, "accepted": 16, "duplicate": 0, "rejected": 0}));
    server.drained(&db).await;
    end_as_they_say(&db).await;
    assert_eq!(json(&send(SECRET))["duplicate"], 16);
    let refused = send("whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=");
    assert_eq!((refused.status.code(), &json(&refused)["rejected"]), (Some(1), &value!(16)));
}

async fn serve_works_without_the_right_to_change_the_schema(db: Db) {
    let server = Server::start_with(
        &db,
        &[],
        &[("HEADCOUNT_MIGRATE", "off"), ("HEADCOUNT_REQUIRED_FIELDS", "username")],
    )
    .await;
    let body = event("user.created", user("user_1", 0, Some("a@example.com"), None, "A"), 0);
    assert_eq!(server.deliver("msg_1", &body).await.unwrap().as_u16(), 202);
    server.drained(&db).await;
    assert_eq!(db.people().await["user_1"][0].as_deref(), Some("active"), "the database's own list stands");
    let log = std::fs::read_to_string(&server.log).unwrap();
    assert!(log.contains("headcount migrate"), "{log}");
    let empty = Db::empty(db.backend).await;
    let refused = run(headcount(&empty.url)
        .arg("serve")
        .env("HEADCOUNT_MIGRATE", "off")
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET));
    fails(&refused, 2, &["headcount migrate"]);
    let planned = text(&command(&empty, &["migrate", "--plan"]).stdout);
    assert!(planned.contains("CREATE TABLE") && planned.contains("account_state"), "{planned}");
    assert!(empty.try_execute("SELECT 1 FROM headcount.inbox").await.is_err(), "a plan makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_set_up_is_one_clear_line() {
    let db = Db::new(Backend::Sqlite).await;
    let serve = |variables: &[(&str, &str)]| {
        run(headcount(&db.url)
            .arg("serve")
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
            .envs(variables.iter().copied()))
    };
    fails(&run(headcount(&db.url).arg("serve")), 2, &["CLERK_WEBHOOK_SIGNING_SECRET"]);
    fails(
        &serve(&[("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_!!")]),
        2,
        &["CLERK_WEBHOOK_SIGNING_SECRET is no signing secret"],
    );
    fails(&serve(&[("HEADCOUNT_LISTEN", "here")]), 2, &["HEADCOUNT_LISTEN is `here`"]);
    fails(&serve(&[("HEADCOUNT_LOG", "a=b=c")]), 2, &["HEADCOUNT_LOG"]);
    fails(&serve(&[("HEADCOUNT_CONFIG", "/nonexistent.toml")]), 2, &["/nonexistent.toml cannot be read"]);
    fails(&serve(&[("HEADCOUNT_DATABASE_URL", "mysql://root:hush@x/y")]), 2, &["sqlite://PATH"]);
    fails(&serve(&[("HEADCOUNT_REQUIRED_FIELDS", "emial")]), 2, &["`emial`", "`email`"]);
    fails(
        &serve(&[("HEADCOUNT_DATABASE_URL", "postgres://me:hush@127.0.0.1:1/x")]),
        1,
        &["postgres://me:***@127.0.0.1:1/x cannot be opened"],
    );
    fails(
        &serve(&[("HEADCOUNT_DATABASE_URL", "sqlite:///nonexistent/folder/x.db")]),
        1,
        &["/nonexistent/folder/x.db cannot be opened"],
    );
    fails(
        &run(headcount("").arg("serve").env("PORT", "1").env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)),
        2,
        &["HEADCOUNT_DATABASE_URL"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails(&serve(&[("HEADCOUNT_LISTEN", &address)]), 1, &["cannot listen on"]);
    fails(&run(headcount("sqlite:///nonexistent/x.db").arg("status")), 2, &["there is no database"]);
    fails(&run(headcount(&db.url).args(["replay", "/nonexistent"])), 1, &["/nonexistent cannot be read"]);
    fails(
        &run(headcount(&db.url).args(["--database", "postgres://me:hush@x/y", "status"])),
        2,
        &["HEADCOUNT_DATABASE_URL"],
    );
    fails(&run(headcount(&db.url).arg("srve")), 2, &["serve"]);
    let config =
        run(headcount("postgres://me:hush@x/y").arg("config").env("CLERK_SECRET_KEY", "sk_test_hush"));
    assert!(!text(&config.stdout).contains("hush"), "{}", text(&config.stdout));
    assert!(text(&config.stdout).contains("takes no deliveries"));
    let completions = run(headcount(&db.url).args(["completions", "bash"]));
    assert!(text(&completions.stdout).contains("_headcount"));
}
