//! Accounts that a provider cannot give: named, and in nobody's way.

use super::process::json;
use super::provider::{Provider, people};
use super::sources::of;
use super::support::{Backend, Db};
use headcount::simulate::Kind;
use serde_json::{Value, json as value};

fn broken(provider: &Provider, places: &[usize]) -> Vec<String> {
    let ids = provider.ids();
    let broken: Vec<String> = places.iter().map(|place| ids[*place].clone()).collect();
    provider.simulator.set_faults(|faults| faults.broken.clone_from(&broken));
    broken
}

async fn the_others_are_compared_whatever_a_page_holds(db: Db) {
    for kind in [Kind::Clerk, Kind::Supabase] {
        let db = if db.backend == Backend::Sqlite {
            Db::new(Backend::Sqlite).await
        } else {
            Db::new(db.backend).await
        };
        let provider = of(kind, 620, false).await;
        let ids = broken(&provider, &[0, 499, 619]);
        for _ in 0..2 {
            let (code, run, error) = provider.resync(&db, &[]);
            assert_eq!((code, &run["status"]), (Some(3), &value!("partial")), "{kind:?} {run} {error}");
            assert_eq!((&run["unreadable"], &run["deleted"]), (&value!(3), &value!(0)), "{kind:?} {run}");
            assert!(error.contains("Database error finding users"), "{error}");
            assert_eq!(people(&db).await.len(), 617, "{kind:?}");
        }
        // Once they can be read, they are there; and when they break then, they stay.
        provider.simulator.set_faults(|faults| faults.broken.clear());
        assert_eq!(provider.resync(&db, &[]).0, Some(0));
        provider.equals(&db).await;
        provider.simulator.set_faults(|faults| faults.broken.clone_from(&ids));
        let (code, run, error) = provider.resync(&db, &[]);
        assert_eq!((code, &run["unreadable"]), (Some(3), &value!(3)), "{kind:?} {run} {error}");
        assert!(ids.iter().any(|id| error.contains(id)), "{error}");
        assert_eq!(db.count("users WHERE deleted_at IS NOT NULL").await, 0);
    }
}

async fn one_broken_account_keeps_no_sign_up_waiting(db: Db) {
    let provider = of(Kind::Supabase, 40, false).await;
    let ids = broken(&provider, &[7]);
    let server = provider.server(&db).await;
    let ensure = |id: String| {
        let server = &server;
        async move {
            let body = value!({"source": "supabase", "provider_id": id});
            server.call("POST", "/v1/users/ensure", super::process::APP_TOKEN, Some(body)).await
        }
    };
    for _ in 0..3 {
        ensure(ids[0].clone()).await;
    }
    let others: Vec<String> = provider.ids().into_iter().take(6).collect();
    for id in others {
        ensure(id).await;
    }
    server.until(|| async { db.count("users WHERE account_state <> 'provisional'").await == 6 }).await;
    assert_eq!(db.count("users WHERE account_state = 'provisional'").await, 1);
    server
        .until(|| async {
            db.count("headcount.confirmations WHERE failures > 0 AND last_error LIKE '%500%'").await == 1
        })
        .await;
    let blocked =
        db.query("SELECT blocked_reason FROM headcount.limiters WHERE blocked_until IS NOT NULL").await;
    assert!(blocked.is_empty(), "the source is well: {blocked:?}");
}

async fn a_run_is_cancelled(db: Db) {
    let provider = of(Kind::Clerk, 30, false).await;
    provider.simulator.set_faults(|faults| faults.latency_ms = 1_500);
    let mut command = provider.headcount(&db);
    let walking =
        tokio::task::spawn_blocking(move || command.args(["resync", "clerk", "--json"]).output().unwrap());
    let is_running = || async { db.count("headcount.runs WHERE status = 'running'").await == 1 };
    super::support::wait::until("the run begins", is_running).await;
    let id = db.one("SELECT id FROM headcount.runs").await;
    let (code, run, error) = provider.command(&db, &["runs", "cancel", &id]);
    assert_eq!((code, &run["status"]), (Some(0), &value!("cancelled")), "{error}");
    let walked = walking.await.unwrap();
    assert_eq!(walked.status.code(), Some(1), "{}", String::from_utf8_lossy(&walked.stdout));
    let run: Value = json(&walked);
    assert_eq!(run["status"], "cancelled");
    assert_eq!(db.count("users").await, 0);
    assert_eq!(provider.command(&db, &["runs", "cancel", &id]).0, Some(2), "it is over");
}

crate::on_each_database!(
    the_others_are_compared_whatever_a_page_holds,
    one_broken_account_keeps_no_sign_up_waiting,
    a_run_is_cancelled,
);
