//! The sign-up gap: whatever races, and whatever is down, one person is one user.

use super::process::{APP_TOKEN, Server};
use super::provider::Provider;
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::simulate::Options;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

on_each_database!(
    two_hundred_calls_make_one_user_and_one_request,
    call_delivery_and_resync_make_one_user,
    replicas_ask_once_together,
    a_provider_that_is_down_makes_nobody_wait,
    who_never_was_ends_as_deleted,
    a_sweep_and_calls_agree,
    sign_ups_in_sql_race_with_everything,
);

/// A worker that waits as long as hundreds of calls at once may take: nobody is to be provisional for it.
async fn started(provider: &Provider, db: &Db) -> Server {
    let patient = [("HEADCOUNT_RESYNC_SCHEDULE", "off"), ("HEADCOUNT_ENSURE_TIMEOUT", "60s")];
    Server::start_with(db, &[], &[provider.variables(), patient.to_vec()].concat()).await
}

fn ids(answers: &[(u16, Value)]) -> HashSet<String> {
    answers
        .iter()
        .map(|(status, user)| {
            assert_eq!(*status, 200, "{user}");
            user["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

async fn all<F>(calls: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let calls: Vec<_> = calls.map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// So many calls for one account, as independent of each other as an application's requests.
async fn at_once(servers: &[&Server], provider_id: &str, count: usize) -> Vec<(u16, Value)> {
    let calls = (0..count).map(|n| {
        let server = servers[n % servers.len()];
        let url = format!("http://{}/v1/users/ensure", server.admin);
        let body = json!({"source": "clerk", "provider_id": provider_id}).to_string();
        let request = server.client().post(url).bearer_auth(APP_TOKEN).body(body);
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
        }
    });
    all(calls).await
}

async fn two_hundred_calls_make_one_user_and_one_request(db: Db) {
    let provider = Provider::with_users(3).await;
    let server = started(&provider, &db).await;
    let id = &provider.ids()[1];
    let answers = at_once(&[&server], id, 200).await;
    assert_eq!(ids(&answers).len(), 1);
    assert!(answers.iter().all(|(_, user)| user["account_state"] == "active"));
    assert_eq!(provider.simulator.requests_for(id), 1, "one call to the provider");
    assert_eq!((db.count("users").await, db.count("headcount.changes").await), (1, 1));
    // Whoever is known costs no call at all, and who is unknown there costs one and leaves nothing.
    at_once(&[&server], id, 20).await;
    assert_eq!(provider.simulator.requests_for(id), 1);
    let absent = at_once(&[&server], "user_nobody", 50).await;
    assert!(absent.iter().all(|(status, _)| *status == 404), "{absent:?}");
    // Who comes after the answer asks anew.
    assert!((1..10).contains(&provider.simulator.requests_for("user_nobody")));
    assert_eq!(db.count("headcount.identities").await, 1);
}

async fn call_delivery_and_resync_make_one_user(db: Db) {
    let provider = Provider::with_users(30).await;
    let server = provider.server(&db).await;
    let new = provider.ids();
    let resync = {
        let (mut command, db_url) = (provider.headcount(&db), db.url.clone());
        command.args(["resync", "clerk", "--json"]).env("HEADCOUNT_DATABASE_URL", db_url);
        tokio::task::spawn_blocking(move || super::process::run(&mut command))
    };
    for id in &new {
        // The source tells of everybody at the same moment.
        assert!(provider.simulator.edit(id, &json!({"first_name": "Told"})));
    }
    let one = [&server];
    let calls = new.iter().map(|id| at_once(&one, id, 7));
    let mut seen = Vec::new();
    for answers in calls {
        seen.push(ids(&answers.await));
    }
    assert!(seen.iter().all(|ids| ids.len() == 1), "{seen:?}");
    assert_eq!(resync.await.unwrap().status.code(), Some(0));
    provider.simulator.delivered().await;
    server.drained(&db).await;
    provider.resync(&db, &[]);
    assert_eq!((db.count("users").await, db.count("headcount.identities").await), (30, 30));
    assert_eq!(db.count("headcount.changes WHERE kind = 'created'").await, 30);
    provider.equals(&db).await;
}

async fn replicas_ask_once_together(db: Db) {
    let provider = Provider::with_users(3).await;
    let (one, two) = (started(&provider, &db).await, started(&provider, &db).await);
    provider.simulator.set_faults(|faults| faults.latency_ms = 200);
    let answers = at_once(&[&one, &two], &provider.ids()[0], 100).await;
    assert_eq!(ids(&answers).len(), 1);
    assert_eq!(provider.simulator.requests_for(&provider.ids()[0]), 1, "of all replicas one asks");
}

async fn a_provider_that_is_down_makes_nobody_wait(db: Db) {
    let provider = Provider::with_users(3).await;
    let quick = [("HEADCOUNT_RESYNC_SCHEDULE", "off"), ("HEADCOUNT_ENSURE_TIMEOUT", "500ms")];
    let variables = [provider.variables(), quick.to_vec()].concat();
    let server = Server::start_with(&db, &[], &variables).await;
    let [first, second] = [&provider.ids()[0], &provider.ids()[1]];
    provider.simulator.set_faults(|faults| faults.hang = true);
    let hints = json!({"source": "clerk", "provider_id": first,
        "hints": {"email": "hint@example.com", "name": "Hint"}, "set": {"username": "mine"}});
    let began = tokio::time::Instant::now();
    let (status, user) = server.call("POST", "/v1/users/ensure", APP_TOKEN, Some(hints)).await;
    assert!(began.elapsed() < Duration::from_secs(20), "not the provider's patience but ours");
    assert_eq!((status, user["account_state"].as_str()), (200, Some("provisional")));
    assert_eq!((user["email"].as_str(), user["username"].as_str()), (Some("hint@example.com"), Some("mine")));
    provider.simulator.set_faults(|faults| (faults.hang, faults.outage) = (false, true));
    let answers = at_once(&[&server], second, 30).await;
    assert_eq!(ids(&answers).len(), 1);
    let (status, list) = server.call("GET", "/v1/users?state=provisional", APP_TOKEN, None).await;
    assert_eq!((status, list["users"].as_array().unwrap().len()), (200, 2));
    // The breaker may be open for a while: whoever comes first completes them.
    provider.simulator.set_faults(|faults| faults.outage = false);
    db.execute("UPDATE headcount.limiters SET blocked_until = NULL, failures = 0").await;
    server.until(|| async { db.count("users WHERE account_state = 'active'").await == 2 }).await;
    let (_, after) = server.ensure(first).await;
    assert_eq!((after["id"].as_str(), after["username"].as_str()), (user["id"].as_str(), Some("mine")));
    assert_ne!(after["email"].as_str(), Some("hint@example.com"));
    assert_eq!(db.count("users").await, 2);
}

async fn who_never_was_ends_as_deleted(db: Db) {
    let provider = Provider::start(Options { users: 2, ..Options::default() }).await;
    let quick = [("HEADCOUNT_RESYNC_SCHEDULE", "off"), ("HEADCOUNT_ENSURE_TIMEOUT", "300ms")];
    let server = Server::start_with(&db, &[], &[provider.variables(), quick.to_vec()].concat()).await;
    provider.simulator.set_faults(|faults| faults.outage = true);
    let (status, user) = server.ensure("user_made_up").await;
    assert_eq!((status, user["account_state"].as_str()), (200, Some("provisional")));
    provider.simulator.set_faults(|faults| faults.outage = false);
    db.execute("UPDATE headcount.limiters SET blocked_until = NULL, failures = 0").await;
    server.until(|| async { db.count("users WHERE account_state = 'deleted'").await == 1 }).await;
    assert_eq!(db.one("SELECT deleted_by FROM headcount.identities").await, "sweep");
    let (status, after) = server.ensure("user_made_up").await;
    assert_eq!((status, after["account_state"].as_str()), (200, Some("deleted")));
}

async fn a_sweep_and_calls_agree(db: Db) {
    let provider = Provider::with_users(40).await;
    provider.resync(&db, &[]);
    let server = provider.server(&db).await;
    // Gone at the source, and nobody has told us.
    provider.simulator.set_faults(|faults| faults.drop = 1.0);
    let gone: Vec<String> = provider.ids().into_iter().step_by(5).collect();
    assert!(gone.iter().all(|id| provider.simulator.delete(id)));
    let sweep = {
        let mut command = provider.headcount(&db);
        command.args(["resync", "clerk", "--json"]).env("HEADCOUNT_MAX_DELETE", "50%");
        tokio::task::spawn_blocking(move || super::process::run(&mut command))
    };
    let one = [&server];
    let mut rounds = 0;
    while !sweep.is_finished() {
        for id in &gone {
            assert_eq!(ids(&at_once(&one, id, 3).await).len(), 1);
            let (_, user) = server.ensure(id).await;
            let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
            let set = json!({"display_name": format!("Round {rounds}")});
            let (status, problem) = server.call("PATCH", &path, APP_TOKEN, Some(set)).await;
            // Whoever is deleted by now is not completed any more.
            assert!([200, 409].contains(&status), "{problem}");
        }
        rounds += 1;
    }
    assert_eq!(sweep.await.unwrap().status.code(), Some(0));
    // Whoever a call held at that very moment is found by the next run.
    provider.resync(&db, &[]);
    assert_eq!((db.count("users").await, db.count("users WHERE account_state = 'deleted'").await), (40, 8));
    for id in &gone {
        assert_eq!(server.ensure(id).await.1["account_state"], "deleted");
    }
    assert_eq!(provider.resync(&db, &["--dry-run"]).0, Some(0), "nothing is left to repair");
}

async fn sign_ups_in_sql_race_with_everything(db: Db) {
    if db.backend == Backend::Sqlite {
        // The documented statements are the application's own there: tests/store/calling.rs.
        return;
    }
    let provider = Provider::with_users(10).await;
    let server = provider.server(&db).await;
    let one = [&server];
    for id in &provider.ids() {
        assert!(provider.simulator.edit(id, &json!({"first_name": "Told"})));
        let sql = format!(
            "SELECT CAST(headcount.ensure('clerk', '{id}', '{{\"email\": \"h@example.com\"}}') AS text)"
        );
        let in_sql = (0..8).map(|_| db.query(&sql));
        let in_sql = futures(in_sql);
        let (rows, answers) = tokio::join!(in_sql, at_once(&one, id, 8));
        let mut all = ids(&answers);
        all.extend(rows.into_iter().map(|rows| rows[0][0].clone().unwrap()));
        assert_eq!(all.len(), 1, "{all:?}");
    }
    provider.simulator.delivered().await;
    server.drained(&db).await;
    server.until(|| async { db.count("users WHERE provisional").await == 0 }).await;
    assert_eq!((db.count("users").await, db.count("headcount.identities").await), (10, 10));
    assert_eq!(db.count("headcount.changes WHERE kind = 'created'").await, 10, "each is told of once");
    provider.equals(&db).await;
}

/// All at once, within one task.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        running.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}
