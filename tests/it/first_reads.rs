//! Deliveries of a source with a key wait until its API has told whose instance they are of.

use super::process::{Server, json, run};
use super::provider::Provider;
use super::support::{Db, SECRET, event, user};
use crate::on_each_database;
use headcount::simulate::WEBHOOK_SECRET;
use serde_json::Value;

on_each_database!(deliveries_wait_for_the_first_read, the_dashboards_example_makes_nobody);

fn created(id: &str, instance: &str) -> String {
    let body = event("user.created", user(id, 0, Some("a@example.com"), None, "Ann"), 0);
    let mut body: Value = serde_json::from_str(&body).unwrap();
    body["instance_id"] = instance.into();
    body.to_string()
}

async fn deliveries_wait_for_the_first_read(db: Db) {
    let provider = Provider::with_users(5).await;
    provider.simulator.set_faults(|faults| faults.revoked = true);
    let server = provider.server(&db).await;
    let foreign = created("user_from_elsewhere", "ins_elsewhere");
    assert_eq!(server.deliver_signed(WEBHOOK_SECRET, "msg_foreign", &foreign).await, 202);
    provider.simulator.change(3);
    provider.simulator.delivered().await;
    let waits = || {
        let status = provider.command(&db, &["status"]);
        (status.0, status.1["sources"][0]["waits_for"].clone())
    };
    server.until(|| async { waits().1["error"].is_string() }).await;
    let (code, waits_for) = waits();
    assert_eq!(code, Some(3));
    assert!(waits_for["error"].as_str().unwrap().contains("clerk_key_invalid"), "{waits_for}");
    assert!(db.count("headcount.inbox WHERE status = 'pending'").await >= 4);
    assert_eq!(db.count("users").await, 0);

    provider.simulator.set_faults(|faults| faults.revoked = false);
    server.drained(&db).await;
    assert_eq!(waits().1, Value::Null);
    let (_, ignored, _) = provider.command(&db, &["events", "list", "--status", "ignored"]);
    assert!(
        ignored["events"][0]["last_error"].as_str().unwrap().contains("instance ins_elsewhere"),
        "{ignored}"
    );
    assert!(db.count("users").await >= 1);
    assert_eq!(db.count("headcount.identities WHERE provider_id = 'user_from_elsewhere'").await, 0);
}

/// The body is the one that Clerk's dashboard sends, but for the address; without a key nothing tells the instance.
async fn the_dashboards_example_makes_nobody(db: Db) {
    let server = Server::start(&db).await;
    let example = created("user_29w83sxmDNGwOuEthce5gg56FcC", "ins_123");
    assert_eq!(server.deliver_signed(SECRET, "msg_example", &example).await, 202);
    let gone = example.replace("user.created", "user.deleted");
    assert_eq!(server.deliver_signed(SECRET, "msg_gone", &gone).await, 202);
    server.drained(&db).await;
    assert_eq!(db.count("headcount.inbox WHERE status = 'ignored'").await, 2);
    assert_eq!(db.count("headcount.identities").await, 0);
    let listed = json(&run(super::process::headcount(&db.url).args(["events", "list", "--json"])));
    assert!(listed["events"][0]["last_error"].as_str().unwrap().contains("example"), "{listed}");
}
