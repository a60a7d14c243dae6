//! The benchmark measures what it says, and notices when something is wrong.

use super::process::{headcount, json, run, text};
use super::support::{Backend, Db};
use crate::on_each_database;
use serde_json::Value;

on_each_database!(each_benchmark_counts_what_it_did);

fn bench(args: &[&str], database: Option<&Db>) -> std::process::Output {
    // What is configured is not used.
    let mut command = headcount("sqlite:///nowhere/at/all.db");
    command.args(["bench"]).args(args).arg("--json");
    if let Some(db) = database {
        command.args(["--database", &db.url]);
    }
    run(&mut command)
}

fn lines(report: &Value) -> Vec<(&str, f64)> {
    report["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["work"].as_str().unwrap(), line["per_second"][0].as_f64().unwrap()))
        .collect()
}

async fn each_benchmark_counts_what_it_did(db: Db) {
    let load = ["--seconds", "0.3", "--runs", "1"];
    // The second run on the same database has to be newer than the first.
    let args = ["apply", "--accounts", "20", "--connections", "4", "--seconds", "0.3", "--runs", "2"];
    let report = json(&bench(&args, Some(&db)));
    assert_eq!(report["bench"], "apply");
    let database = if matches!(db.backend, Backend::Sqlite) { "sqlite" } else { "postgres" };
    assert_eq!(report["machine"]["database"], database);
    assert!(lines(&report)[0].1 > 0.0, "{report}");
    assert_eq!(db.count("users").await, 20);
    assert_eq!(db.count("users WHERE last_name IS NULL").await, 0);

    let refused = bench(&args, Some(&db));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("already has users or deliveries"));

    let fresh = Db::new(db.backend).await;
    let args = [&["ingest", "--connections", "4,8"], &load[..]].concat();
    let report = json(&bench(&args, Some(&fresh)));
    let works: Vec<&str> = lines(&report).iter().map(|(work, _)| *work).collect();
    assert_eq!(works, ["one row a commit", "verify only", "durable ingest", "verify only", "durable ingest"]);
    assert!(report["lines"][2]["of_ceiling"].as_f64().unwrap() > 0.0);
    assert!(fresh.count("headcount.inbox").await > 0);

    let fresh = Db::new(db.backend).await;
    let report = json(&bench(&["resync", "--users", "700", "--runs", "1"], Some(&fresh)));
    assert_eq!(lines(&report).len(), 2);
    assert_eq!(fresh.count("users").await, 700);

    let fresh = Db::new(db.backend).await;
    let args = [&["ensure", "--users", "30", "--connections", "2"], &load[..]].concat();
    assert!(lines(&json(&bench(&args, Some(&fresh))))[0].1 > 0.0);
}

/// Without --database it makes its own, and leaves nothing behind.
#[test]
fn a_benchmark_uses_nothing_that_is_configured() {
    let temp = tempfile::tempdir().unwrap();
    let mut command = headcount("sqlite:///nowhere/at/all.db");
    command.env("TMPDIR", temp.path());
    command.args(["bench", "apply", "--seconds", "0.2", "--runs", "1", "--per-second", "50", "--json"]);
    let report = json(&run(&mut command));
    assert!(report["lines"][0]["p50_ms"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

/// Whoever answers with anything else than 2xx is not measured, but named.
#[test]
fn refused_deliveries_are_no_success() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/webhooks/clerk", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    let mut command = headcount("sqlite:///nowhere/at/all.db");
    command.args([
        "bench",
        "load",
        "--to",
        &url,
        "--deliveries",
        "10",
        "--seconds",
        "1",
        "--connections",
        "2",
    ]);
    let output = run(&mut command);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("10 deliveries were not answered with 2xx"),
        "{}",
        text(&output.stderr)
    );
}
