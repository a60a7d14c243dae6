//! The schedule inside `serve`, alone and with others.

use super::process::Server;
use super::provider::{Provider, people};
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::simulate::{Options, WEBHOOK_SECRET};
use std::time::Duration;

on_each_database!(
    serve_reads_on_schedule_and_tries_again_soon,
    a_source_that_has_fallen_silent_raises_an_alarm,
    an_approval_is_carried_out_by_the_worker,
);

async fn started(provider: &Provider, db: &Db, more: &[(&str, &str)]) -> Server {
    let mut variables = provider.variables();
    variables.extend(more.iter().copied());
    Server::start_with(db, &[], &variables).await
}

async fn serve_reads_on_schedule_and_tries_again_soon(db: Db) {
    let provider = Provider::with_users(120).await;
    provider.simulator.set_faults(|faults| faults.revoked = true);
    let server = started(&provider, &db, &[("HEADCOUNT_RESYNC_SCHEDULE", "1s")]).await;
    let runs = |status: &str| format!("headcount.runs WHERE status = '{status}' AND cause = 'schedule'");
    server.until(|| async { db.count(&runs("failed")).await >= 1 }).await;
    assert_eq!(people(&db).await.len(), 0);
    provider.simulator.set_faults(|faults| faults.revoked = false);
    server.until(|| async { db.count(&runs("succeeded")).await >= 2 }).await;
    provider.equals(&db).await;
    provider.simulator.change(20);
    let settled = || async {
        let truth = provider.simulator.truth();
        people(&db).await.iter().filter(|person| truth.contains(person)).count() == truth.len()
    };
    server.until(settled).await;
    assert!(std::fs::read_to_string(&server.log).unwrap().contains("clerk_key_invalid"));
}

async fn a_source_that_has_fallen_silent_raises_an_alarm(db: Db) {
    let provider = Provider::with_users(40).await;
    provider.resync(&db, &[]);
    assert_eq!(provider.command(&db, &["status"]).0, Some(0));
    // Changes that nobody tells.
    provider.simulator.change(20);
    let quick = ("HEADCOUNT_SILENCE_AFTER", "1s");
    let server = started(&provider, &db, &[("HEADCOUNT_RESYNC_SCHEDULE", "1s"), quick]).await;
    let log = || std::fs::read_to_string(&server.log).unwrap();
    server.until(|| async { log().contains("no delivery has come since") }).await;
    let status = || {
        let mut status = provider.headcount(&db);
        super::process::run(status.args(["status", "--json"]).env(quick.0, quick.1))
    };
    let (told, shown) = (status(), super::process::json(&status()));
    assert_eq!(told.status.code(), Some(3));
    assert!(shown["sources"][0]["silence"].as_str().unwrap().contains("endpoint"), "{shown}");
    assert!(shown["sources"][0]["loss"]["rate"].as_f64().unwrap() > 0.9, "{shown}");
    // A delivery ends it.
    provider.simulator.deliver_to(format!("http://{}/webhooks/clerk", server.address).parse().unwrap());
    provider.simulator.change(1);
    provider.simulator.delivered().await;
    server.drained(&db).await;
    let calm = super::process::json(&status());
    assert!(calm["sources"][0]["silence"].is_null(), "{calm}");
}

async fn an_approval_is_carried_out_by_the_worker(db: Db) {
    let provider = Provider::with_users(100).await;
    provider.resync(&db, &[]);
    for id in &provider.ids()[..30] {
        provider.simulator.delete(id);
    }
    let held = provider.resync(&db, &[]).1;
    let id = held["run"].as_str().unwrap();
    // Two of them are back before somebody says yes.
    let back = provider.simulator.truth().len();
    for n in 0..2 {
        let id = db
            .one(&format!(
                "SELECT provider_id FROM headcount.held_deletes ORDER BY provider_id LIMIT 1 OFFSET {n}"
            ))
            .await;
        assert!(provider.simulator.restore(&id, 9, "Back"));
    }
    // Observation where there is no key.
    let mut approve = super::process::headcount(&db.url);
    let said = super::process::run(approve.args(["runs", "approve", id, "--yes"]));
    assert!(super::process::text(&said.stdout).contains("`serve` carries it out"));
    assert_eq!(people(&db).await.len(), 100);
    let server = started(&provider, &db, &[("HEADCOUNT_RESYNC_SCHEDULE", "off")]).await;
    server.until(|| async { people(&db).await.len() == back + 2 }).await;
    server.until(|| async { db.count("headcount.runs WHERE status = 'held'").await == 0 }).await;
    let run = provider.command(&db, &["runs", "show", id]).1;
    assert_eq!((&run["status"], &run["deleted"]), (&"succeeded".into(), &28.into()), "{run}");
    assert!(run["error"].as_str().unwrap().starts_with("2 of the set"), "{run}");
}

/// Three processes through PgBouncer: one run at a time, and one limit over all of them, as the provider sees it.
#[tokio::test(flavor = "multi_thread")]
async fn three_share_one_limit_and_take_turns() {
    let db = Db::new(Backend::Bouncer).await;
    let provider = Provider::start(Options { users: 900, ..Options::default() }).await;
    let mut servers = Vec::new();
    // Half of a hundred requests in a second, and a demand of far more.
    let busy = [
        ("HEADCOUNT_RATE_SHARE", "10%"),
        ("HEADCOUNT_RESYNC_SCHEDULE", "1s"),
        ("HEADCOUNT_POLL", "50ms"),
        ("CLERK_WEBHOOK_SIGNING_SECRET", WEBHOOK_SECRET),
    ];
    for _ in 0..3 {
        servers.push(started(&provider, &db, &busy).await);
    }
    // Ten seconds hold as much as they may only after they are over; how long the first runs take is the machine's business.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let ended = "headcount.runs WHERE mode = 'full' AND finished_at IS NOT NULL";
    let busy_enough = || async { db.count(ended).await >= 3 && provider.simulator.requests().0 >= 30 };
    servers[0].until(busy_enough).await;
    for server in &mut servers {
        server.terminate();
    }
    for server in &mut servers {
        assert_eq!(server.exit_code(), Some(0));
    }
    // A tenth of 1,000 in ten seconds; one or two may arrive a little later than they were let go.
    let (most, all) = provider.simulator.requests();
    assert!((30..=102).contains(&most), "{most} requests in ten seconds, {all} in all");
    let runs = db
        .query(
            "SELECT CAST(extract(epoch FROM started_at) AS text), CAST(extract(epoch FROM finished_at) AS text)
             FROM headcount.runs WHERE mode = 'full' ORDER BY started_at",
        )
        .await;
    assert!(runs.len() >= 3, "{runs:?}");
    let ends: Vec<(f64, f64)> = runs
        .iter()
        .map(|run| {
            let second = |n: usize| run[n].as_ref().map_or(f64::MAX, |text| text.parse().unwrap());
            (second(0), second(1))
        })
        .collect();
    assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "one at a time: {ends:?}");
}
