//! Whoever sends nothing, or sends slowly, keeps no delivery out and nobody from the admin side.

use super::process::{ADMIN_TOKEN, Server};
use super::support::{Db, event, user};
use crate::on_each_database;
use headcount::clock::Clock;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

on_each_database!(idle_connections_keep_nobody_out, slow_bodies_take_no_room_for_good);

/// A worker with as few descriptors as most shells give, and no right to more.
async fn poor(db: &Db) -> Server {
    // The attacker of this test needs more.
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: own.maximum, ..own };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    Server::start_limited(db, 1_024).await
}

async fn all_is_taken(server: &Server, db: &Db, first: usize) {
    for n in first..first + 20 {
        let id = format!("user_{n}");
        let body = event("user.created", user(&id, 0, Some(&format!("p{n}@example.com")), None, "A"), 0);
        // A connection of its own each, as from providers that keep none.
        let message_id = format!("msg_{n}");
        let sent = tokio::time::timeout(Duration::from_secs(10), server.deliver_once(&message_id, &body));
        assert_eq!(sent.await.ok().flatten(), Some(202), "delivery {n}");
    }
    let (status, _) = server.call("GET", "/v1/status", ADMIN_TOKEN, None).await;
    assert_eq!(status, 200);
    assert!(server.get("/readyz").await.is_some_and(|status| status.is_success()));
    assert_eq!(db.count("headcount.deliveries").await, (first + 20) as u64);
}

async fn idle_connections_keep_nobody_out(db: Db) {
    let server = poor(&db).await;
    let mut idle = Vec::new();
    for _ in 0..1_100 {
        idle.push(TcpStream::connect(&server.address).await.unwrap());
    }
    all_is_taken(&server, &db, 0).await;
    // Half a request each.
    let mut halves = Vec::new();
    for _ in 0..1_100 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let _ = stream.write_all(b"POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\n").await;
        halves.push(stream);
    }
    all_is_taken(&server, &db, 20).await;
    drop(idle);
}

async fn slow_bodies_take_no_room_for_good(db: Db) {
    let server = poor(&db).await;
    let body = vec![b' '; 1024 * 1024 - 1];
    let now = headcount::clock::SystemClock.now().seconds();
    // Headers that nobody can tell from true ones before the body is there; the last byte never comes.
    let head = format!(
        "POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\nsvix-id: msg_false\r\nsvix-timestamp: {now}\r\n\
         svix-signature: v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\ncontent-length: {}\r\n\r\n",
        body.len() + 1
    );
    let mut slow = Vec::new();
    for _ in 0..45 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // Whoever was given up for others finds the connection closed.
        let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&body)).await;
        slow.push(stream);
    }
    all_is_taken(&server, &db, 0).await;
    drop(slow);
}
