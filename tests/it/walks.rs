//! Lists that shift under the walk, and APIs that keep it waiting.

use super::process::fails_quietly_with;
use super::provider::{Provider, people};
use super::support::{Backend, Db};
use headcount::simulate::{ListFault, LostCursor, Options};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_whose_user_was_deleted_is_not_the_end_of_the_list() {
    for lost in [LostCursor::Empty, LostCursor::NotFound, LostCursor::Unprocessable, LostCursor::Restart] {
        let db = Db::new(Backend::Sqlite).await;
        let provider = Provider::with_users(1_800).await;
        provider.simulator.set_faults(|faults| (faults.lost_cursor, faults.latency_ms) = (lost, 250));
        let walking = provider.headcount(&db).args(["resync", "clerk"]).spawn().unwrap();
        // The second page is on its way, and waits: its cursor is the 500th user.
        while provider.simulator.requests().1 < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(provider.simulator.delete(&provider.ids()[499]));
        assert!(walking.wait_with_output().unwrap().status.success(), "{lost:?}");
        assert_eq!(people(&db).await.len(), 1_800, "{lost:?}: the one who went is known until the next run");
        provider.simulator.set_faults(|faults| faults.latency_ms = 0);
        assert_eq!(provider.resync(&db, &[]).1["deleted"], 1, "{lost:?}");
        provider.equals(&db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_a_cursor_is_walked_by_offsets_that_overlap() {
    let db = Db::new(Backend::Sqlite).await;
    let provider = Provider::with_users(2_300).await;
    provider.simulator.set_faults(|faults| (faults.list, faults.latency_ms) = (ListFault::NoCursor, 120));
    let walking = provider.headcount(&db).args(["resync", "clerk"]).spawn().unwrap();
    while provider.simulator.requests().1 < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Everybody behind them moves forward, by more than the pages overlap.
    for id in &provider.ids()[100..200] {
        provider.simulator.delete(id);
    }
    let done = walking.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", super::process::text(&done.stderr));
    let known = people(&db).await;
    let truth = provider.simulator.truth();
    assert!(truth.iter().all(|truth| known.contains(truth)), "nobody was skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asks_for_patience_is_given_it() {
    let db = Db::new(Backend::Sqlite).await;
    let provider = Provider::start(Options { users: 2_000, limit: Some(6), ..Options::default() }).await;
    let (code, run, error) = provider.resync(&db, &[]);
    assert_eq!(code, Some(0), "{error}");
    assert!(run["throttled"].as_u64().unwrap() >= 1, "{run}");
    provider.equals(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_is_given_up() {
    let db = Db::new(Backend::Sqlite).await;
    let hangs = Provider::with_users(10).await;
    hangs.simulator.set_faults(|faults| faults.hang = true);
    let (code, _, error) = hangs.resync(&db, &[]);
    fails_quietly_with("a provider that hangs", code, &error, "does not answer within");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_outage_nobody_asks_for_a_while_and_status_says_why() {
    let db = Db::new(Backend::Sqlite).await;
    let provider = Provider::with_users(10).await;
    provider.simulator.set_faults(|faults| faults.outage = true);
    for _ in 0..2 {
        let (code, _, error) = provider.resync(&db, &[]);
        fails_quietly_with("an outage", code, &error, "503");
    }
    let (_, status, _) = provider.command(&db, &["status"]);
    let source = &status["sources"][0];
    assert!(
        source["blocked_reason"].as_str().unwrap().contains("8 requests in a row have failed"),
        "{source}"
    );
    provider.simulator.set_faults(|faults| faults.outage = false);
    db.execute("UPDATE headcount.limiters SET blocked_until = NULL").await;
    assert_eq!(provider.resync(&db, &[]).0, Some(0));
    assert_eq!(provider.command(&db, &["status"]).1["sources"][0]["failures_in_a_row"], 0);
}
