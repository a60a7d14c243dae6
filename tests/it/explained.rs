//! `explain`, and what an operator does about one user by command.

use super::calls::with_two;
use super::process::{APP_TOKEN, headcount, run, text};
use super::provider::told;
use super::support::Db;
use crate::on_each_database;
use serde_json::json;

on_each_database!(a_user_is_explained);

async fn a_user_is_explained(db: Db) {
    let (server, ids) = with_two(&db).await;
    let one = format!("/v1/users/{}", ids[0]);
    server
        .call(
            "PATCH",
            &one,
            APP_TOKEN,
            Some(json!({"username": "mine", "suspended": true, "reason": "spam"})),
        )
        .await;
    db.execute(&format!(
        "UPDATE users SET display_name = 'By SQL', first_name = 'Drifted' WHERE id = '{}'",
        ids[0]
    ))
    .await;
    let mut command = headcount(&db.url);
    command.env("CLERK_WEBHOOK_SIGNING_SECRET", super::support::SECRET).args(["explain", "user_1", "--json"]);
    let (code, explained, _) = told(&run(&mut command));
    assert_eq!(code, Some(0));
    let word = |name: &str| {
        let columns = explained["columns"].as_array().unwrap();
        columns.iter().find(|column| column["column"] == name).unwrap().clone()
    };
    for (name, expected) in [
        ("email", "provider"),
        ("username", "call"),
        ("display_name", "application"),
        ("first_name", "drift"),
        ("phone", "nobody"),
    ] {
        assert_eq!(word(name)["word"], expected, "{name}");
    }
    assert_eq!(word("email")["written"]["cause"]["delivery"]["message_id"], "msg_1");
    assert_eq!(word("username")["written"]["cause"]["call"]["what"], "suspend");
    assert_eq!(word("username")["provider_says"], "name1");
    assert_eq!(explained["state"]["account_state"], "suspended");
    assert_eq!(explained["history"].as_array().unwrap().len(), 2);
    let mut command = headcount(&db.url);
    command.env("CLERK_WEBHOOK_SIGNING_SECRET", super::support::SECRET).args(["explain", &ids[1]]);
    let shown = text(&run(&mut command).stdout);
    for line in [
        "incomplete since",
        "it has no email",
        "delivery msg_2 of clerk (user.created)",
        "Accounts",
        "History",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours in a pipe");
    for (args, code, word) in [
        (vec!["users", "suspend", "user_1", "--lift"], 0, "not banned"),
        (vec!["users", "suspend", "nobody"], 1, ""),
        (vec!["users", "revive", "user_1"], 1, ""),
        (vec!["users", "link", "clerk", "user_1", &ids[0], "--yes"], 1, ""),
        (vec!["users", "erase", "user_1"], 1, ""),
        (vec!["users", "erase", "user_1", "--yes"], 0, "Erased"),
    ] {
        let mut command = headcount(&db.url);
        command.env("CLERK_WEBHOOK_SIGNING_SECRET", super::support::SECRET).args(&args);
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(word), "{args:?}");
    }
}
