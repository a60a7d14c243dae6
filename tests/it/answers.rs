//! Every request gets the answer that the contract has for it, and only a good one leaves a row.

use super::process::{Server, headcount, json, run};
use super::support::{Db, event, key, signature, user};
use crate::on_each_database;
use headcount::clock::{Clock, SystemClock};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

on_each_database!(
    each_delivery_gets_its_answer,
    bad_input_costs_nothing_and_leaves_nothing,
    a_row_is_there_at_once
);

fn body() -> String {
    event("user.created", user("user_1", 0, Some("a@example.com"), None, "Ann"), 0)
}

async fn each_delivery_gets_its_answer(db: Db) {
    let mut server = Server::start(&db).await;
    let now = SystemClock.now().seconds();
    let body = body();
    let post = |source: &'static str, id: &'static str, at: i64, signature: String, body: String| {
        let server = &server;
        async move {
            let headers =
                [("svix-id", id), ("svix-timestamp", &*at.to_string()), ("svix-signature", &*signature)];
            let (status, text) = server.post(source, &headers, body).await.unwrap();
            (status.as_u16(), text)
        }
    };
    let sign = |id: &str, at: i64, body: &str| signature(&key(), id, at, body.as_bytes());
    let good = sign("msg_1", now, &body);
    let accepted = post("clerk", "msg_1", now, good.clone(), body.clone()).await;
    assert_eq!(accepted, (202, r#"{"status":"accepted"}"#.to_owned()));
    let duplicate = post("clerk", "msg_1", now, good.clone(), body.clone()).await;
    assert_eq!(duplicate, (200, r#"{"status":"duplicate"}"#.to_owned()));

    let mut refusals = Vec::new();
    for (id, at, signature, body) in [
        ("msg_2", now, good.clone(), body.clone()),
        ("msg_2", now, sign("msg_2", now, &body), format!("{body} ")),
        ("msg_2", now - 301, sign("msg_2", now - 301, &body), body.clone()),
        ("msg_2", now + 400, sign("msg_2", now + 400, &body), body.clone()),
        ("msg.2", now, sign("msg.2", now, &body), body.clone()),
        ("msg_2", now, "v1,".to_owned(), body.clone()),
    ] {
        refusals.push(post("clerk", id, at, signature, body).await);
    }
    assert!(refusals.iter().all(|(status, _)| *status == 401), "{refusals:?}");
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "one message for every cause");

    let (status, problem) = server.post("clerk", &[], body.clone()).await.unwrap();
    assert_eq!(status.as_u16(), 400);
    let problem: serde_json::Value = serde_json::from_str(&problem).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["title"].as_str()), (Some(400), Some("Bad Request")));
    for broken in ["nope", "", "{\"type\":", "{} {}"] {
        let signature = sign("msg_3", now, broken);
        assert_eq!(post("clerk", "msg_3", now, signature, broken.to_owned()).await.0, 400, "{broken}");
    }
    assert_eq!(post("workos", "msg_4", now, good.clone(), body.clone()).await.0, 404);
    for (path, expected) in [
        ("/webhooks/clerk/", 202),
        ("/api/webhooks/clerk", 404),
        ("/webhook/Clerk", 404),
        ("/webhooks/%ff", 404),
        ("/", 404),
    ] {
        let (at, id) = (now.to_string(), format!("msg_at_{}", path.len()));
        let signature = sign(&id, now, &body);
        let headers = [("svix-id", &*id), ("svix-timestamp", &*at), ("svix-signature", &*signature)];
        let (status, answer) = server.post_at(path, &headers, body.clone()).await.unwrap();
        assert_eq!(status.as_u16(), expected, "{path}: {answer}");
        assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "{path}: {answer}");
    }
    assert_eq!(server.get("/webhooks/clerk").await.unwrap().as_u16(), 405);
    assert_eq!(server.get("/").await.unwrap().as_u16(), 404);
    assert_eq!(server.get("/healthz").await.unwrap().as_u16(), 200);
    let large = format!("{{\"type\":\"x\",\"pad\":\"{}\"}}", "x".repeat(1 << 20));
    let signature = sign("msg_5", now, &large);
    assert_eq!(post("clerk", "msg_5", now, signature, large).await.0, 413);

    let webhook = [
        ("webhook-id", "msg_6"),
        ("webhook-timestamp", &*now.to_string()),
        ("webhook-signature", &*sign("msg_6", now, &body)),
    ];
    assert_eq!(server.post("clerk", &webhook, body.clone()).await.unwrap().0.as_u16(), 202);
    assert_eq!(db.count("headcount.inbox").await, 3);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let status = json(&run(headcount(&db.url).args(["status", "--json"])));
    let refused = |source: &str, reason: &str| {
        let of = |refusal: &&serde_json::Value| refusal["source"] == source && refusal["reason"] == reason;
        status["refused"].as_array().unwrap().iter().find(of).cloned().unwrap_or_default()
    };
    assert_eq!(refused("clerk", "wrong_path")["count"], 2, "{status}");
    assert!(refused("clerk", "wrong_path")["hint"].as_str().unwrap().contains("/webhooks/clerk"), "{status}");
    assert_eq!(refused("", "wrong_path")["count"], 1, "{status}");
}

async fn bad_input_costs_nothing_and_leaves_nothing(db: Db) {
    let server = Server::start(&db).await;
    let now = SystemClock.now().seconds();
    let raw = |bytes: Vec<u8>| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // A server that has heard enough may have hung up already.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split_whitespace().nth(1).unwrap_or("none").to_owned()
    };
    let head = |id: &str, signature: &str, more: &str| {
        format!(
            "POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\nsvix-id: {id}\r\nsvix-timestamp: {now}\r\nsvix-signature: {signature}\r\n{more}\r\n"
        )
    };
    // Not UTF-8, though signed.
    let odd = b"{\"type\":\"user.created\",\"data\":\"\xff\xfe\"}";
    let signed = head(
        "msg_odd",
        &signature(&key(), "msg_odd", now, odd),
        &format!("content-length: {}\r\n", odd.len()),
    );
    assert_eq!(raw([signed.as_bytes(), odd].concat()), "400");
    // Cut off in the middle: nobody is left to be answered, or 400.
    let cut = raw([head("msg_cut", "v1,x", "content-length: 1000\r\n").as_bytes(), b"{\"a\""].concat());
    assert!(["none", "400"].contains(&&*cut), "{cut}");
    // Announced as enormous: refused before a byte of it is read.
    assert_eq!(raw(head("msg_big", "v1,x", "content-length: 99999999999\r\n").into_bytes()), "413");
    // Repeated header, absurd head.
    assert_eq!(raw(head("msg_r", "v1,x", "svix-id: other\r\ncontent-length: 0\r\n").into_bytes()), "401");
    let long = raw(format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(200_000)).into_bytes());
    assert!(["none", "400", "414", "431"].contains(&&*long), "{long}");
    // Deeply nested and signed: stored, as its type is not used; as a user event it becomes a dead letter.
    let nest = |event_type: &str| {
        format!(
            "{{\"type\":\"{event_type}\",\"data\":{{\"id\":\"u\",\"x\":{}{}}}}}",
            "[".repeat(200_000),
            "]".repeat(200_000)
        )
    };
    assert_eq!(server.deliver("msg_deep", &nest("x.y")).await.unwrap().as_u16(), 202);
    assert_eq!(server.deliver("msg_deeper", &nest("user.updated")).await.unwrap().as_u16(), 202);
    server.drained(&db).await;
    let statuses = db.query("SELECT status FROM headcount.inbox ORDER BY seq").await;
    assert_eq!(statuses, [[Some("ignored".to_owned())], [Some("dead".to_owned())]]);
    assert_eq!(db.count("users").await, 0);
    // What was refused is counted, by reason.
    server.until(|| async { db.count("headcount.refusals").await >= 4 }).await;
}

async fn a_row_is_there_at_once(db: Db) {
    let server = Server::start(&db).await;
    server.deliver("msg_1", &body()).await.unwrap();
    server.until(|| async { db.count("users WHERE account_state = 'active'").await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_dawdles_is_given_up() {
    let db = Db::new(super::support::Backend::Sqlite).await;
    let server = Server::start(&db).await;
    let now = SystemClock.now().seconds();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let head = format!(
        "POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\nsvix-id: a\r\nsvix-timestamp: {now}\r\nsvix-signature: v1,x\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}
