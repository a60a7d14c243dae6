//! Settings as a person or a host writes them: `.env` files, secrets' files that change, a database with few connections.

use super::process::{APP_TOKEN, Server, headcount, json, run, text};
use super::provider::Provider;
use super::support::{Backend, Db, SECRET, event, user};
use crate::on_each_database;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tokio::task::JoinSet;

on_each_database!(
    the_database_of_an_application_is_changed_after_a_yes_alone,
    a_secret_is_read_again_when_its_file_changes,
    one_connection_is_enough
);

const OTHER_SECRET: &str = "whsec_YW5vdGhlci1zZWNyZXQtb2YtMzItYnl0ZXMtaXMtaXQ=";

/// The binary in a folder, with no variables at all.
fn headcount_in(folder: &Path, args: &[&str]) -> Command {
    let mut command = headcount("");
    command.env_clear().current_dir(folder).args(args);
    command
}

async fn the_database_of_an_application_is_changed_after_a_yes_alone(db: Db) {
    let db = Db::empty(db.backend).await;
    let folder = tempfile::tempdir().unwrap();
    let variables = format!(
        "# the application's\nDATABASE_URL=\"{}\"\nCLERK_WEBHOOK_SIGNING_SECRET='{SECRET}'\nPORT=1\n",
        db.url
    );
    std::fs::write(folder.path().join(".env"), variables).unwrap();
    std::fs::write(folder.path().join(".env.local"), "HEADCOUNT_LISTEN=127.0.0.1:0\n").unwrap();
    let shown = json(&run(&mut headcount_in(folder.path(), &["config", "--json"])));
    let origin = |name: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["name"] == name).unwrap()["origin"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(origin("HEADCOUNT_DATABASE_URL"), "DATABASE_URL in .env");
    assert_eq!(origin("HEADCOUNT_LISTEN"), "HEADCOUNT_LISTEN in .env.local");
    assert_eq!(origin("CLERK_WEBHOOK_SIGNING_SECRET"), "CLERK_WEBHOOK_SIGNING_SECRET in .env");

    let refused = run(&mut headcount_in(folder.path(), &["serve"]));
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    for part in ["DATABASE_URL in .env", "`headcount migrate` makes them"] {
        assert!(error.contains(part), "{error}");
    }
    let status = run(&mut headcount_in(folder.path(), &["status"]));
    assert_ne!(status.status.code(), Some(0), "nothing was made");
    let without = run(&mut headcount_in(folder.path(), &["--no-env-file", "config", "--json"]));
    assert!(text(&without.stdout).contains("sqlite://headcount.db"), "{}", text(&without.stdout));

    let migrated = run(&mut headcount_in(folder.path(), &["migrate"]));
    assert_eq!(migrated.status.code(), Some(0), "{}", text(&migrated.stderr));
    let replayed = run(&mut headcount_in(folder.path(), &["replay", ".", "--json"]));
    assert!(!text(&replayed.stderr).contains("DATABASE_URL in .env"), "{}", text(&replayed.stderr));
}

async fn a_secret_is_read_again_when_its_file_changes(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("secret"), format!("{SECRET}\n")).unwrap();
    std::fs::write(path("token"), APP_TOKEN).unwrap();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", ""),
        ("CLERK_WEBHOOK_SIGNING_SECRET_FILE", &*path("secret")),
        ("HEADCOUNT_APP_TOKEN", ""),
        ("HEADCOUNT_APP_TOKEN_FILE", &*path("token")),
    ];
    let server = Server::start_with(&db, &[], &variables).await;
    let body = event("user.created", user("user_1", 0, Some("a@example.com"), None, "Ann"), 0);
    assert_eq!(server.deliver_signed(SECRET, "msg_1", &body).await, 202);
    assert_eq!(server.deliver_signed(OTHER_SECRET, "msg_2", &body).await, 401);
    let list = |token: &'static str| server.call("GET", "/v1/users?ids=", token, None);
    assert_ne!(list(APP_TOKEN).await.0, 401);

    // What is no secret changes nothing.
    std::fs::write(path("secret"), "whsec_***").unwrap();
    let log = || std::fs::read_to_string(&server.log).unwrap();
    server.until(|| async { log().contains("the secrets stay as they were") }).await;
    assert!(!log().contains("***"), "{}", log());
    assert_eq!(server.deliver_signed(SECRET, "msg_3", &body).await, 202);

    std::fs::write(path("secret"), OTHER_SECRET).unwrap();
    std::fs::write(path("token"), "another-token-of-the-tests").unwrap();
    server.until(|| async { server.deliver_signed(OTHER_SECRET, "msg_2", &body).await != 401 }).await;
    assert_eq!(server.deliver_signed(SECRET, "msg_4", &body).await, 401);
    server.until(|| async { list(APP_TOKEN).await.0 == 401 }).await;
    assert_ne!(list("another-token-of-the-tests").await.0, 401);
    for secret in [SECRET, OTHER_SECRET, "another-token-of-the-tests"] {
        assert!(!log().contains(secret), "{}", log());
    }
}

async fn one_connection_is_enough(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    let provider = Provider::with_users(40).await;
    let mut variables = provider.variables();
    variables.push(("HEADCOUNT_DATABASE_CONNECTIONS", "1"));
    let server = Server::start_with(&db, &[], &variables).await;
    provider.simulator.deliver_to(format!("http://{}/webhooks/clerk", server.address).parse().unwrap());
    let ids: Vec<String> = provider.simulator.truth().into_iter().map(|truth| truth.id).collect();
    let mut calls = JoinSet::new();
    let server = Arc::new(server);
    for id in ids.into_iter().take(10) {
        let server = server.clone();
        calls.spawn(async move { server.ensure(&id).await });
    }
    while let Some(called) = calls.join_next().await {
        let (status, answer) = called.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    provider.simulator.change(20);
    provider.simulator.delivered().await;
    server.drained(&db).await;
    let mut resync = provider.headcount(&db);
    resync.args(["resync", "clerk", "--json"]).env("HEADCOUNT_DATABASE_CONNECTIONS", "1");
    let done = run(&mut resync);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    provider.equals(&db).await;
}
