//! A full disk, a dead network, a database that takes no writes for a while: nothing is lost, `/readyz` says so meanwhile, and
//! everything goes on by itself once the cause is gone.

use super::process::{Server, headcount, json, run};
use super::support::needs::without;
use super::support::proxy::Proxy;
use super::support::{Backend, Db, event, user};
use sqlx::Connection;
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

fn body(n: usize) -> String {
    let mut user = user(&format!("user_{n}"), 1, Some(&format!("p{n}@example.com")), None, "A");
    user["public_metadata"] = serde_json::json!({"filling": "x".repeat(20_000)});
    event("user.updated", user, 1)
}

async fn status(server: &Server, id: usize) -> u16 {
    server.deliver(&format!("msg_{id}"), &body(id)).await.map_or(0, |status| status.as_u16())
}

async fn readyz(server: &Server) -> u16 {
    server.get("/readyz").await.map_or(0, |status| status.as_u16())
}

/// What `/readyz` and `headcount status` say of the database.
async fn told(server: &Server, db: &Db) -> (String, String) {
    let ready =
        reqwest::get(format!("http://{}/readyz", server.address)).await.unwrap().text().await.unwrap();
    let shown = run(headcount(&db.url).args(["status", "--json"]));
    assert_eq!(shown.status.code(), Some(3));
    (ready, json(&shown)["database_takes_no_writes"].as_str().unwrap_or_default().to_owned())
}

/// A file system of its own with so little room.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder.path())
            .output()
            .ok()?;
        mount.status.success().then_some(Self(folder))
    }

    fn fill(&self) {
        // Ends with an error once there is no room.
        let zeros = std::fs::File::open("/dev/zero").unwrap();
        let mut filler = std::fs::File::create(self.0.path().join("filler")).unwrap();
        let _ = std::io::copy(&mut std::io::Read::take(zeros, 16 << 20), &mut filler);
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_gone_on_from() {
    let Some(disk) = SmallDisk::mount() else { return without("the right to mount a file system") };
    let db = Db::at(Backend::Sqlite, format!("sqlite://{}", disk.0.path().join("h.db").display()));
    let server = Server::start(&db).await;
    assert_eq!(status(&server, 0).await, 202);
    disk.fill();
    let mut refused = None;
    for id in 1..1000 {
        match status(&server, id).await {
            202 => {}
            other => {
                assert_eq!(other, 503);
                refused = Some(id);
                break;
            }
        }
    }
    let refused = refused.expect("the disk is full at some time");
    server.until(|| async { readyz(&server).await == 503 }).await;
    assert_eq!(status(&server, refused).await, 503, "it is still full");
    disk.empty();
    let began = Instant::now();
    server.until(|| async { readyz(&server).await == 200 }).await;
    server.until(|| async { status(&server, refused).await < 300 }).await;
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    server.drained(&db).await;
    assert_eq!(db.count("users").await, refused as u64 + 1, "all that was acknowledged is applied");
}

/// The file is taken away, or another one is put in its place: what is written to it now would be lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_takes_no_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.db");
    let db = Db::at(Backend::Sqlite, format!("sqlite://{}", path.display()));
    let server = Server::start(&db).await;
    assert_eq!(status(&server, 0).await, 202);
    server.drained(&db).await;
    let aside = folder.path().join("aside.db");
    for another in [false, true] {
        std::fs::rename(&path, &aside).unwrap();
        if another {
            std::fs::copy(&aside, &path).unwrap();
        }
        assert_eq!(status(&server, 1).await, 503, "another file: {another}");
        server.until(|| async { readyz(&server).await == 503 }).await;
        let ready = reqwest::get(format!("http://{}/readyz", server.address)).await.unwrap().text().await;
        assert!(ready.unwrap().contains("another file stands in the place"));
        std::fs::rename(&aside, &path).unwrap();
        server.until(|| async { readyz(&server).await == 200 }).await;
    }
    assert!(status(&server, 1).await < 300);
    server.drained(&db).await;
    assert_eq!(db.count("users").await, 2);
}

/// SQLite has one writer. Where it is another process, everybody is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_holds_is_told() {
    let db = Db::new(Backend::Sqlite).await;
    let server = Server::start(&db).await;
    let mut holder = sqlx::SqliteConnection::connect(&db.direct).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    assert_eq!(status(&server, 0).await, 503);
    server.until(|| async { readyz(&server).await == 503 }).await;
    let (ready, shown) = told(&server, &db).await;
    let held = "another process holds the database's file";
    assert!(ready.contains(held) && shown == held, "{ready} {shown}");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    server.until(|| async { status(&server, 0).await < 300 }).await;
    server.until(|| async { readyz(&server).await == 200 }).await;
    server.drained(&db).await;
    assert_eq!(db.count("users").await, 1);
}

/// The most that a file of this process may have.
fn limit_files(server: &Server, bytes: &str) {
    let limited = Command::new("prlimit")
        .arg(format!("--pid={}", server.id()))
        .arg(format!("--fsize={bytes}:"))
        .status();
    assert!(limited.unwrap().success());
}

/// A file may grow no further, neither the database nor the log that it is told to: that is no reason to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_file_sizes_is_told_and_gone_on_from() {
    let db = Db::new(Backend::Sqlite).await;
    let server = Server::start(&db).await;
    assert_eq!(status(&server, 0).await, 202);
    limit_files(&server, "1");
    assert_eq!(status(&server, 1).await, 503);
    server.until(|| async { readyz(&server).await == 503 }).await;
    limit_files(&server, "unlimited");
    server.until(|| async { status(&server, 1).await < 300 }).await;
    server.until(|| async { readyz(&server).await == 200 }).await;
    server.drained(&db).await;
    assert_eq!(db.count("users").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_replaced() {
    let mut db = Db::new(Backend::Postgres).await;
    let (server_of_db, name) =
        db.direct.strip_prefix("postgres://postgres@").unwrap().split_once('/').unwrap();
    let proxy = Proxy::before(server_of_db).await;
    db.url = format!("postgres://postgres@{}/{name}", proxy.address);
    let server = Server::start(&db).await;
    for id in 0..20 {
        assert_eq!(status(&server, id).await, 202);
    }
    server.drained(&db).await;
    proxy.silence();
    let began = Instant::now();
    server.until(|| async { status(&server, 20).await < 300 }).await;
    server.until(|| async { readyz(&server).await == 200 }).await;
    server.drained(&db).await;
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    assert_eq!(db.count("users").await, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_read_only_is_written_again() {
    for backend in [Backend::Postgres, Backend::Bouncer] {
        let db = Db::new(backend).await;
        let server = Server::start(&db).await;
        assert_eq!(status(&server, 0).await, 202);
        let name = db.one("SELECT CAST(current_database() AS text)").await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        db.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on; {cut}")).await;
        server.until(|| async { status(&server, 1).await == 503 }).await;
        server.until(|| async { readyz(&server).await == 503 }).await;
        let (ready, shown) = told(&server, &db).await;
        let read_only = "the database is read-only";
        assert!(ready.contains(read_only) && shown == read_only, "{ready} {shown}");
        db.execute(&format!("BEGIN; SET TRANSACTION READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"))
            .await;
        if backend == Backend::Bouncer {
            // The pooler keeps its own sessions as they began.
            db.execute(cut).await;
        }
        let began = Instant::now();
        server.until(|| async { status(&server, 1).await < 300 }).await;
        server.until(|| async { readyz(&server).await == 200 }).await;
        assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
        server.drained(&db).await;
        assert_eq!(db.count("users").await, 2);
    }
}

/// Sessions that the server cuts while they are idle cost no delivery.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_were_cut_cost_no_delivery() {
    let db = Db::new(Backend::Postgres).await;
    let server = Server::start(&db).await;
    for id in 0..5 {
        assert_eq!(status(&server, id).await, 202);
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    }
    assert_eq!(status(&server, 5).await, 202);
    server.drained(&db).await;
    assert_eq!(db.count("users").await, 6);
}
