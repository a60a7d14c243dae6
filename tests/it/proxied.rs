//! A proxy that fails at every step in turn, in front of the database and in front of the provider: cut before the answer,
//! half of an answer, silence, a replica that is frozen there. Nothing is lost, nobody is doubled, nobody is deleted.

use super::process::{Server, headcount, run};
use super::provider::{Provider, people, told};
use super::support::proxy::{Fault, Proxy};
use super::support::sizes::size;
use super::support::wait::until;
use super::support::{Backend, Db, event, user};
use crate::on_each_database;
use nix::sys::signal::Signal;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

on_each_database!(
    a_provider_that_fails_at_any_step_costs_nobody,
    a_provider_that_is_slow_or_silent_keeps_no_sign_up_waiting,
);

/// The database behind a proxy.
async fn behind_a_proxy(backend: Backend) -> (Db, Proxy) {
    let mut db = Db::new(backend).await;
    let (server, name) = db.url.strip_prefix("postgres://postgres@").unwrap().split_once('/').unwrap();
    let proxy = Proxy::before(server).await;
    db.url = format!("postgres://postgres@{}/{name}", proxy.address);
    (db, proxy)
}

fn body(n: u64, version: i64) -> String {
    let person = user(&format!("user_{n}"), version, Some(&format!("p{n}@example.com")), None, "A");
    event("user.updated", person, version)
}

/// Sent again until it is taken, as a provider does. How often it was refused or not answered.
async fn delivered(server: &Server, id: &str, body: &str) -> u64 {
    let deadline = Instant::now() + super::support::wait::PATIENCE;
    let mut failures = 0;
    loop {
        match server.deliver(id, body).await.map(|status| status.as_u16()) {
            Some(200 | 202) => return failures,
            Some(503) | None => failures += 1,
            Some(other) => panic!("{id}: {other}"),
        }
        assert!(Instant::now() < deadline, "{id} is never taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A connection is cut after each step in turn, its answer unheard: a COMMIT among them, of which nobody knows what became.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_at_any_step_loses_and_doubles_nobody() {
    for backend in [Backend::Postgres, Backend::Bouncer] {
        let (db, proxy) = behind_a_proxy(backend).await;
        let server = Server::start(&db).await;
        let steps = size("HEADCOUNT_TEST_STEPS", 12);
        for step in 1..=steps {
            proxy.arm(step, Fault::Cut);
            delivered(&server, &format!("first_{step}"), &body(step, 1)).await;
            delivered(&server, &format!("second_{step}"), &body(step, 2)).await;
            until("the fault has happened", || async { !proxy.is_armed() }).await;
            server.drained(&db).await;
        }
        assert_eq!(db.count("users").await, steps, "{backend:?}");
        assert_eq!(db.count("headcount.inbox").await, 2 * steps, "{backend:?}: each delivery once");
        assert_eq!(db.count("headcount.inbox WHERE status NOT IN ('applied', 'stale')").await, 0);
        let of_a_user = "SELECT CAST(count(*) AS text) FROM headcount.changes WHERE kind = 'created'";
        assert_eq!(db.one(of_a_user).await, steps.to_string(), "{backend:?}: the feed tells of each once");
        assert_eq!(db.count("headcount.identities WHERE version IS NULL").await, 0);
    }
}

/// A replica is frozen after each step in turn, wherever its transaction stands; the other one carries on meanwhile,
/// and what the first one wakes to does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_frozen_at_any_step_holds_up_nobody() {
    let (db, proxy) = behind_a_proxy(Backend::Postgres).await;
    let frozen = Arc::new(Server::start(&db).await);
    let direct = Db::at(Backend::Postgres, db.direct.clone());
    let other = Server::start(&direct).await;
    let steps = size("HEADCOUNT_TEST_STEPS", 12);
    let stride = if steps > 12 { 1 } else { 4 };
    let mut people = 0;
    for step in (1..=steps).step_by(stride) {
        let to_freeze = frozen.clone();
        proxy.arm(step, Fault::Act(Box::new(move || to_freeze.signal(Signal::SIGSTOP))));
        let waiting = tokio::spawn({
            let (frozen, first) = (frozen.clone(), body(step, 1));
            async move { delivered(&frozen, &format!("first_{step}"), &first).await }
        });
        until("it is frozen", || async { !proxy.is_armed() }).await;
        let began = Instant::now();
        for n in 0..5 {
            delivered(&other, &format!("meanwhile_{step}_{n}"), &body(1000 * step + n, 1)).await;
        }
        // The same account as well: whatever the frozen one holds of it is let go.
        delivered(&other, &format!("second_{step}"), &body(step, 2)).await;
        people += 6;
        let is_applied = format!("headcount.inbox WHERE message_id = 'second_{step}' AND status = 'applied'");
        other.until(|| async { db.count(&is_applied).await == 1 }).await;
        assert!(began.elapsed() < Duration::from_secs(60), "step {step}: {:?}", began.elapsed());
        frozen.signal(Signal::SIGCONT);
        waiting.await.unwrap();
        other.drained(&db).await;
        assert_eq!(db.count("users").await, people, "step {step}");
        let version = format!(
            "SELECT CAST(version AS text) FROM headcount.identities WHERE provider_id = 'user_{step}'"
        );
        assert_eq!(db.one(&version).await, (super::support::EPOCH_MS + 2).to_string(), "step {step}");
    }
    assert_eq!(db.count("headcount.changes WHERE kind = 'created'").await, people);
}

/// The command that reads the provider through the proxy.
fn resynced(provider: &Provider, proxy: &Proxy, db: &Db) -> (Option<i32>, serde_json::Value, String) {
    let url = format!("http://{}", proxy.address);
    let mut command = headcount(&db.url);
    command.envs(provider.variables()).env("CLERK_API_URL", url);
    told(&run(command.args(["resync", "clerk", "--json"])))
}

async fn a_provider_that_fails_at_any_step_costs_nobody(db: Db) {
    let provider = Provider::with_users(1_200).await;
    let proxy = Proxy::before(provider.url.strip_prefix("http://").unwrap()).await;
    // Who it is, how many there are, three pages, how many there are now.
    for step in 1..=6 {
        for fault in [Fault::Cut, Fault::HalfAnAnswer] {
            provider.simulator.change(5);
            if matches!(fault, Fault::Cut) {
                provider.simulator.delete(&provider.ids()[7]);
            }
            proxy.arm(step, fault);
            let (db, provider, proxy) = (&db, &provider, &proxy);
            let (code, run, error) = tokio::task::block_in_place(|| resynced(provider, proxy, db));
            assert!(!proxy.is_armed(), "step {step}: the run has fewer steps: {run}");
            assert_eq!((code, &run["status"]), (Some(0), &json!("succeeded")), "step {step}: {error}");
            provider.equals(db).await;
        }
    }
}

async fn a_provider_that_is_slow_or_silent_keeps_no_sign_up_waiting(db: Db) {
    let provider = Provider::with_users(40).await;
    let proxy = Proxy::before(provider.url.strip_prefix("http://").unwrap()).await;
    let url = format!("http://{}", proxy.address);
    let mut variables = provider.variables();
    variables.extend([("CLERK_API_URL", &*url), ("HEADCOUNT_RESYNC_SCHEDULE", "off")]);
    let server = Server::start_with(&db, &[], &variables).await;
    let ids = provider.ids();
    assert_eq!(server.ensure(&ids[0]).await.1["account_state"], "active");
    proxy.arm(1, Fault::Silence);
    let began = Instant::now();
    let (status, person) = server.ensure(&ids[1]).await;
    assert_eq!((status, &person["account_state"]), (200, &json!("provisional")), "{person}");
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "not the provider's patience but ours: {:?}",
        began.elapsed()
    );
    proxy.delay(Duration::from_millis(300));
    assert_eq!(server.ensure(&ids[2]).await.1["account_state"], "active", "slow is not out");
    // Who was left provisional is read again by itself.
    server.until(|| async { db.count("users WHERE account_state = 'active'").await == 3 }).await;
    assert_eq!(people(&db).await.len(), 3);
}
