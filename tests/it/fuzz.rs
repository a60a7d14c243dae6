//! A public fuzzer over the OpenAPI document, against a running server: no answer is a 5xx, and none is outside the
//! document. Where it cannot be installed it is not run.

use super::process::{ADMIN_TOKEN, Server};
use super::support::needs::FUZZER;
use super::support::{Backend, Db, event, user};
use crate::on_each_database;
use std::process::Command;

on_each_database!(every_answer_is_in_the_document);

/// Made-up requests for each operation.
const EXAMPLES: &str = "25";

async fn every_answer_is_in_the_document(db: Db) {
    if db.backend == Backend::Bouncer {
        return;
    }
    let Some(fuzzer) = FUZZER.found() else { return };
    let server = Server::start(&db).await;
    for n in 0..3 {
        let person = user(&format!("user_{n}"), 0, Some("a@example.com"), None, "Ann");
        server.deliver(&format!("msg_{n}"), &event("user.created", person, 0)).await;
    }
    server.drained(&db).await;
    let url = format!("http://{}/openapi.json", server.admin);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(fuzzer);
    command.current_dir(&folder).args([
        "run",
        &url,
        "--header",
        &format!("Authorization: Bearer {ADMIN_TOKEN}"),
    ]);
    command.args(["--max-examples", EXAMPLES, "--seed", "1", "--generation-deterministic", "--no-color"]);
    command.args(["--request-timeout", "20", "--phases", "examples,coverage,fuzzing"]);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                  response_headers_conformance";
    command.args(["--checks", checks]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("14 selected"), "every operation was tried: {said}");
    assert!(server.get("/readyz").await.is_some_and(|status| status.is_success()), "it is alive still");
}
