//! A switch of authority between two sources with both live: everybody at both ends as if the configuration had always had the
//! new order, and the way back ends as it was before.

use super::sources::{columns, deliver, open, source, workos};
use super::support::wait::until;
use super::support::{Backend, Db, event, user};
use crate::on_each_database;
use headcount::clock::{Clock, SystemClock};
use headcount::core::words::{SwitchDirection, SwitchStatus};
use headcount::provider_move::{MoveError, ProviderMove, SwitchProgress};
use headcount::source::Source;
use headcount::store::{RecordedSwitch, Store};
use serde_json::json;
use sqlx::Connection as _;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

on_each_database!(
    a_switch_ends_as_the_other_order_and_back_as_before,
    what_is_heard_after_a_switch_follows_it_at_once,
    a_switch_that_was_given_up_goes_on_where_it_stopped,
    a_rehearsal_says_what_a_switch_writes_and_writes_nothing,
    two_people_whose_addresses_are_swapped_get_each_others,
    whoever_is_held_by_somebody_else_follows_once_free,
    a_column_with_an_order_of_its_own_stays,
    what_cannot_be_switched_says_why,
);

const SWITCH: SwitchDirection = SwitchDirection::Switch;
const BACK: SwitchDirection = SwitchDirection::Back;

fn both() -> Vec<Source> {
    vec![source("clerk", "clerk", |_| {}), source("workos", "workos", |_| {})]
}

fn provider_move(store: &Store) -> ProviderMove {
    let sources = Arc::new(both());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    ProviderMove::new(store, &sources, &clock, &sources[0], &sources[1]).unwrap()
}

async fn switch(store: &Store, direction: SwitchDirection) -> Result<RecordedSwitch, MoveError> {
    provider_move(store).switch(direction, &|_| {}, &CancellationToken::new()).await
}

fn user_id(n: usize) -> String {
    format!("0198c0de-0000-7000-8000-{n:012}")
}

fn at_clerk(n: usize, email: &str, banned: bool) -> (&'static str, String) {
    let mut data = user(&format!("user_{n}"), 1, Some(email), Some(&format!("Name_{n}")), &format!("C{n}"));
    data["external_id"] = json!(user_id(n));
    data["banned"] = json!(banned);
    ("clerk", event("user.created", data, 1))
}

fn at_workos(n: usize, email: &str) -> (&'static str, String) {
    let body = workos(1, email, true, Some(&user_id(n)));
    ("workos", body.replace("user_w", &format!("user_w{n}")).replace("event_1", &format!("event_{n}")))
}

/// So many users of the application's, each with an account at both sources.
async fn people(db: &Db, order: &[&str], count: usize) -> Store {
    let store = open(db, order).await;
    let mut bodies = Vec::new();
    for n in 0..count {
        db.execute(&format!("INSERT INTO users (id) VALUES ('{}')", user_id(n))).await;
        // Every seventh address is the same at both, every fifth person is banned at the old provider.
        let there = if n % 7 == 0 { format!("p{n}@example.com") } else { format!("p{n}@new.example.com") };
        bodies.push(at_clerk(n, &format!("p{n}@example.com"), n % 5 == 0));
        bodies.push(at_workos(n, &there));
    }
    deliver(&store, &both(), &bodies).await;
    // One name is the application's own.
    db.execute(&format!("UPDATE users SET username = 'mine' WHERE id = '{}'", user_id(3))).await;
    store
}

async fn told_of_the_move(db: &Db) -> u64 {
    db.count("headcount.changes WHERE cause LIKE '{\"move\"%'").await
}

async fn a_switch_ends_as_the_other_order_and_back_as_before(db: Db) {
    const PEOPLE: usize = 450;
    let other = Db::new(db.backend).await;
    people(&other, &["workos", "clerk"], PEOPLE).await;
    let store = people(&db, &["clerk", "workos"], PEOPLE).await;
    let before = columns(&db).await;
    let recorded = switch(&store, SWITCH).await.unwrap();
    assert_eq!(recorded.status, SwitchStatus::Succeeded);
    assert_eq!((recorded.counts.seen, recorded.counts.refused), (PEOPLE as u64, 0));
    assert_eq!(columns(&db).await, columns(&other).await);
    assert_eq!(told_of_the_move(&db).await, recorded.counts.updated, "the feed tells of real changes alone");
    assert_eq!(
        db.one("SELECT username FROM users WHERE first_name = 'Wanda' AND username = 'mine'").await,
        "mine"
    );
    let again = switch(&store, SWITCH).await.unwrap();
    assert_eq!(
        (again.counts.seen, again.counts.updated),
        (PEOPLE as u64, 0),
        "nothing is left to be written"
    );
    let back = switch(&store, BACK).await.unwrap();
    assert_eq!((back.status, back.counts.updated), (SwitchStatus::Succeeded, recorded.counts.updated));
    assert_eq!(columns(&db).await, before);
    let history: Vec<_> =
        store.switches(10).await.unwrap().into_iter().map(|one| one.switch.direction).collect();
    assert_eq!(history, [BACK, SWITCH, SWITCH]);
}

async fn what_is_heard_after_a_switch_follows_it_at_once(db: Db) {
    let store = people(&db, &["clerk", "workos"], 2).await;
    switch(&store, SWITCH).await.unwrap();
    // A process whose configuration has the old order, and an account that nobody has heard of before.
    let store = open(&db, &["clerk", "workos"]).await;
    db.execute(&format!("INSERT INTO users (id) VALUES ('{}')", user_id(9))).await;
    let late = at_clerk(9, "late@example.com", false);
    deliver(&store, &both(), &[late]).await;
    deliver(&store, &both(), &[at_workos(9, "late@new.example.com")]).await;
    let email = |n: usize| format!("SELECT email FROM users WHERE id = '{}'", user_id(n));
    assert_eq!(db.one(&email(9)).await, "late@new.example.com");
    let mut moved = user("user_1", 5, Some("moved@example.com"), Some("Name_1"), "C1");
    moved["external_id"] = json!(user_id(1));
    deliver(&store, &both(), &[("clerk", event("user.updated", moved, 5))]).await;
    assert_eq!(db.one(&email(1)).await, "p1@new.example.com", "the old provider's word counts second");
    switch(&store, BACK).await.unwrap();
    assert_eq!(db.one(&email(1)).await, "moved@example.com", "but for what has changed meanwhile");
    assert_eq!(db.one(&email(9)).await, "late@example.com");
}

async fn a_switch_that_was_given_up_goes_on_where_it_stopped(db: Db) {
    const PEOPLE: usize = 450;
    let store = people(&db, &["clerk", "workos"], PEOPLE).await;
    let before = columns(&db).await;
    let stop = CancellationToken::new();
    let watch = |progress: SwitchProgress| {
        assert_eq!(progress.of, PEOPLE as u64);
        stop.cancel();
    };
    let given_up = provider_move(&store).switch(SWITCH, &watch, &stop).await;
    assert!(matches!(given_up, Err(MoveError::Stopped)), "{given_up:?}");
    let half = columns(&db).await;
    assert_ne!(half, before);
    let recorded = store.switches(1).await.unwrap().remove(0);
    assert_eq!((recorded.status, recorded.counts.seen), (SwitchStatus::Running, 200));
    let done = switch(&store, SWITCH).await.unwrap();
    assert_eq!((&done.id, done.counts.seen), (&recorded.id, PEOPLE as u64), "it is the same switch");
    assert_ne!(columns(&db).await, half);
    // The way back begins while a switch lies there half done: nothing of it is left.
    let stop = CancellationToken::new();
    let cancel = |_: SwitchProgress| stop.cancel();
    let _ = provider_move(&store).switch(SWITCH, &cancel, &stop).await;
    let back = switch(&store, BACK).await.unwrap();
    assert_eq!(back.status, SwitchStatus::Succeeded);
    assert_eq!(columns(&db).await, before);
    let statuses: Vec<_> = store.switches(3).await.unwrap().into_iter().map(|one| one.status).collect();
    assert_eq!(statuses, [SwitchStatus::Succeeded, SwitchStatus::Overtaken, SwitchStatus::Succeeded]);
}

async fn a_rehearsal_says_what_a_switch_writes_and_writes_nothing(db: Db) {
    let store = people(&db, &["clerk", "workos"], 30).await;
    let (before, told) = (columns(&db).await, db.count("headcount.changes").await);
    let rehearsal = provider_move(&store).rehearse(SWITCH).await.unwrap();
    assert_eq!(columns(&db).await, before);
    assert_eq!(db.count("headcount.changes").await, told);
    assert_eq!(db.count("headcount.switches").await, 0);
    let of = |column: &str| rehearsal.columns.get(column).map_or(0, |rewrite| rewrite.users);
    // Of 30 people five have the same address at both.
    assert_eq!((of("email"), of("first_name"), of("suspended")), (25, 30, 0));
    let example = &rehearsal.columns["first_name"].examples[0];
    assert_eq!((example.before.as_deref(), example.after.as_deref()), (Some("C0"), Some("Wanda")));
    let switched = switch(&store, SWITCH).await.unwrap();
    assert_eq!(switched.counts, rehearsal.counts);
    let back = provider_move(&store).rehearse(BACK).await.unwrap();
    assert_eq!(back.columns["email"].users, 25);
}

async fn two_people_whose_addresses_are_swapped_get_each_others(db: Db) {
    let store = open(&db, &["clerk", "workos"]).await;
    db.execute("CREATE UNIQUE INDEX one_each ON users (email)").await;
    for n in 0..2 {
        db.execute(&format!("INSERT INTO users (id) VALUES ('{}')", user_id(n))).await;
    }
    let bodies = [
        at_clerk(0, "a@example.com", false),
        at_clerk(1, "b@example.com", false),
        at_workos(0, "b@example.com"),
        at_workos(1, "a@example.com"),
    ];
    deliver(&store, &both(), &bodies).await;
    let emails = "SELECT email FROM users ORDER BY id";
    assert_eq!(flat(&db, emails).await, ["a@example.com", "b@example.com"]);
    let switched = switch(&store, SWITCH).await.unwrap();
    assert_eq!(flat(&db, emails).await, ["b@example.com", "a@example.com"]);
    assert_eq!(switched.status, SwitchStatus::Succeeded);
    switch(&store, BACK).await.unwrap();
    assert_eq!(flat(&db, emails).await, ["a@example.com", "b@example.com"]);
}

async fn flat(db: &Db, sql: &str) -> Vec<String> {
    db.query(sql).await.into_iter().flatten().flatten().collect()
}

async fn whoever_is_held_by_somebody_else_follows_once_free(db: Db) {
    if db.backend == Backend::Sqlite {
        // There is one writer: a switch waits for it as everything else does.
        return;
    }
    let store = people(&db, &["clerk", "workos"], 3).await;
    let mut theirs = sqlx::PgConnection::connect(&db.direct).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut theirs).await.unwrap();
    let hold = format!("SELECT 1 FROM users WHERE id = '{}' FOR UPDATE", user_id(1));
    sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut theirs).await.unwrap();
    let switching = tokio::spawn({
        let store = store.clone();
        async move { switch(&store, SWITCH).await }
    });
    until("the others are written", || async {
        db.count("users WHERE email LIKE '%@new.example.com'").await == 1
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut theirs).await.unwrap();
    let done = switching.await.unwrap().unwrap();
    assert_eq!((done.status, done.counts.seen), (SwitchStatus::Succeeded, 3));
    assert_eq!(db.count("users WHERE email LIKE '%@new.example.com'").await, 2);
}

async fn a_column_with_an_order_of_its_own_stays(db: Db) {
    let mut config = headcount::store::UsersConfig::default();
    config.authority.order = vec!["clerk".into(), "workos".into()];
    config.authority.by_column.insert("email".into(), vec!["clerk".into()]);
    let url = headcount::store::DatabaseUrl::parse(&db.url).unwrap();
    people(&db, &["clerk", "workos"], 2).await;
    let store = Store::open_on(&url, &config).await.unwrap();
    switch(&store, SWITCH).await.unwrap();
    assert_eq!(flat(&db, "SELECT email FROM users ORDER BY id").await, ["p0@example.com", "p1@example.com"]);
    assert_eq!(flat(&db, "SELECT first_name FROM users ORDER BY id").await, ["Wanda", "Wanda"]);
}

async fn what_cannot_be_switched_says_why(db: Db) {
    let store = people(&db, &["clerk", "workos"], 1).await;
    let refused = switch(&store, BACK).await;
    assert!(matches!(refused, Err(MoveError::NotSwitched { .. })), "{refused:?}");
    switch(&store, SWITCH).await.unwrap();
    let sources = Arc::new(both());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (stop, watch) = (CancellationToken::new(), |_: SwitchProgress| {});
    // From where the application has gone to, on to where it came from.
    let onwards = ProviderMove::new(&store, &sources, &clock, &sources[1], &sources[0]).unwrap();
    let refused = onwards.switch(SWITCH, &watch, &stop).await;
    assert!(matches!(refused, Err(MoveError::Chained { .. })), "{refused:?}");
    switch(&store, BACK).await.unwrap();
    store.retire("workos", true).await.unwrap();
    let refused = switch(&store, SWITCH).await;
    assert!(matches!(refused, Err(MoveError::Retired(_))), "{refused:?}");
    let refused = ProviderMove::new(&store, &sources, &clock, &sources[0], &sources[0]);
    assert!(matches!(refused, Err(MoveError::SameSource(_))));
}
