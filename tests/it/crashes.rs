//! Acknowledged means durable: after any end, every delivery that was answered with a 2xx is there.
//!
//! Three rounds in the suite; `HEADCOUNT_TEST_KILLS=20 ./tests/run crashes` does as many as one likes.

use super::process::{Server, text};
use super::support::sizes::size;
use super::support::{Backend, Db, event, user};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn rounds() -> usize {
    usize::try_from(size("HEADCOUNT_TEST_KILLS", 3)).unwrap()
}

/// Sends from several tasks until told to stop; the ids that were acknowledged.
struct Stream {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Stream {
    fn start(server: Arc<Server>, round: usize) -> Self {
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let tasks = (0..8)
            .map(|task| {
                let (server, acknowledged) = (server.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    let mut number = 0;
                    loop {
                        number += 1;
                        let id = format!("msg_{round}_{task}_{number}");
                        let user = user(
                            &format!("user_{round}_{task}_{}", number / 3),
                            number,
                            Some("a@example.com"),
                            None,
                            "A",
                        );
                        match server.deliver(&id, &event("user.updated", user, number)).await {
                            Some(status) if status.is_success() => {
                                acknowledged.lock().unwrap().insert(id);
                            }
                            // 503: it will be delivered again, by a provider. Gone: so is this round.
                            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                            None => return,
                        }
                    }
                })
            })
            .collect();
        Self { acknowledged, tasks }
    }

    async fn after(&self, count: usize) {
        while self.acknowledged.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> BTreeSet<String> {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        Arc::try_unwrap(self.acknowledged).unwrap().into_inner().unwrap()
    }
}

async fn all_there(db: &Db, acknowledged: &BTreeSet<String>) {
    let stored: BTreeSet<String> = db
        .query("SELECT message_id FROM headcount.inbox")
        .await
        .into_iter()
        .filter_map(|row| row[0].clone())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {} were acknowledged and are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
}

async fn killed_in_the_middle(db: Db) {
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds() {
        let server = Arc::new(Server::start(&db).await);
        let stream = Stream::start(server.clone(), round);
        stream.after(100 + 37 * (round % 7)).await;
        server.kill();
        acknowledged.extend(stream.stop().await);
        all_there(&db, &acknowledged).await;
    }
    let server = Server::start(&db).await;
    server.drained(&db).await;
    assert_eq!(db.count("headcount.inbox WHERE status NOT IN ('applied', 'stale')").await, 0);
    let orphans = db.count("headcount.identities WHERE user_id IS NULL").await;
    assert_eq!(orphans, 0, "no half of an account is left");
}

crate::on_each_database!(killed_in_the_middle);

fn cluster(command: &str, folder: &Path) -> String {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster"))
        .arg(command)
        .arg(folder)
        .args((command == "init").then_some("on"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// A cluster of its own, with fsync on, since it is crashed.
struct Cluster(tempfile::TempDir);

impl Cluster {
    fn folder(&self) -> std::path::PathBuf {
        self.0.path().join("cluster")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        cluster("stop", &self.folder());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_itself_is_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let own = Cluster(folder);
    cluster("init", &own.folder());
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster("start", &own.folder()));
    let db = Db::at(Backend::Postgres, url);
    let server = Arc::new(Server::start(&db).await);
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds() {
        let stream = Stream::start(server.clone(), round);
        stream.after(100).await;
        cluster("kill", &own.folder());
        if round == 0 {
            let body = event("user.updated", user("user_down", 1, None, None, "A"), 1);
            let answer = server.deliver_whole("msg_while_down", &body).await.unwrap();
            assert_eq!(answer.status().as_u16(), 503);
            assert!(answer.headers().contains_key("retry-after"));
            assert_eq!(server.get("/readyz").await.unwrap().as_u16(), 503);
            assert_eq!(server.get("/healthz").await.unwrap().as_u16(), 200);
        }
        cluster("start", &own.folder());
        stream.after(200).await;
        acknowledged.extend(stream.stop().await);
        all_there(&db, &acknowledged).await;
    }
    // The same process goes on, without anybody's help.
    server.drained(&db).await;
    assert_eq!(db.count("headcount.inbox WHERE status NOT IN ('applied', 'stale')").await, 0);
}

async fn a_graceful_end_answers_what_is_in(db: Db) {
    let server = Server::start(&db).await;
    // A body of which half is sent when the end comes.
    let body = event("user.created", user("user_1", 0, Some("a@example.com"), None, "A"), 0);
    let now = headcount::clock::Clock::now(&headcount::clock::SystemClock).seconds();
    let signature = super::support::signature(&super::support::key(), "msg_1", now, body.as_bytes());
    let (first, second) = body.split_at(body.len() / 2);
    let mut connection = TcpStream::connect(&server.address).await.unwrap();
    let head = format!(
        "POST /webhooks/clerk HTTP/1.1\r\nhost: {}\r\nsvix-id: msg_1\r\nsvix-timestamp: {now}\r\n\
         svix-signature: {signature}\r\ncontent-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        server.address,
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    // It says so when it begins to read the body: from here on the request is one that is in.
    let mut begun = [0; 25];
    connection.read_exact(&mut begun).await.unwrap();
    assert_eq!(text(&begun), "HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(first.as_bytes()).await.unwrap();
    server.terminate();
    server.until(|| async { server.get("/healthz").await.is_none() }).await;
    connection.write_all(second.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert!(text(&answer).starts_with("HTTP/1.1 202 "), "{}", text(&answer));
    let mut server = server;
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(db.count("headcount.inbox").await, 1);
}

crate::on_each_database!(a_graceful_end_answers_what_is_in);
