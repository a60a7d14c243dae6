//! Several sources: people who have accounts at two of them.

use super::support::{Backend, Db, EPOCH_MS, event, user};
use super::{all, with_status};
use crate::on_each_database;
use headcount::clock::SystemClock;
use headcount::core::brake::DeleteLimit;
use headcount::core::known::Authority;
use headcount::core::link::LinkRule;
use headcount::core::timestamp::Timestamp;
use headcount::intake::verified;
use headcount::live::Live;
use headcount::reconcile::{Caller, Calls, Deliveries};
use headcount::source::signature::{Scheme, SignedHeaders};
use headcount::source::{Source, provider};
use headcount::store::{DatabaseUrl, NamedSource, Store, UsersConfig};
use serde_json::{Value, json};
use std::sync::Arc;

on_each_database!(
    in_whatever_order_two_accounts_end_as_one_user,
    the_end_of_one_account_gives_the_other_the_floor,
    two_accounts_of_one_batch_know_of_each_other,
    an_address_links_only_where_both_sides_have_verified_it,
    the_same_id_links_where_sources_share_them,
    a_source_that_is_gone_keeps_its_word,
    a_retired_source_speaks_last,
    an_account_that_moves_takes_its_word_along,
);

const USER: &str = "0198c0de-0000-7000-8000-000000000001";

pub fn source(name: &str, kind: &str, change: impl FnOnce(&mut Source)) -> Source {
    let mut source = Source::recorded(name, provider(kind).unwrap());
    change(&mut source);
    source
}

fn clerk_and_workos() -> Vec<Source> {
    vec![source("clerk", "clerk", |_| {}), source("workos", "workos", |_| {})]
}

pub async fn open(db: &Db, order: &[&str]) -> Store {
    let order = order.iter().map(|name| (*name).to_owned()).collect();
    let config =
        UsersConfig { authority: Authority { order, ..Authority::default() }, ..UsersConfig::default() };
    Store::open_on(&DatabaseUrl::parse(&db.url).unwrap(), &config).await.unwrap()
}

pub fn applier(store: &Store, sources: &[Source]) -> Deliveries {
    Deliveries {
        store: store.clone(),
        sources: Arc::new(sources.to_vec()),
        clock: Arc::new(SystemClock),
        delete_limit: DeleteLimit::Off,
        batch_max: 100,
        unread: Live::default(),
    }
}

/// Stores the bodies of these sources together, and applies what lies there.
pub async fn deliver(store: &Store, sources: &[Source], bodies: &[(&str, String)]) {
    let headers = SignedHeaders {
        scheme: Scheme::Bearer,
        id: String::new(),
        timestamp: String::new(),
        signature: String::new(),
    };
    let at = Timestamp::clamped(EPOCH_MS);
    let before = store.deliveries(&all(), false).await.unwrap().len();
    let deliveries: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, (name, body))| {
            let source = sources.iter().find(|source| source.name == *name).unwrap();
            let delivery =
                verified(source, &headers, at, body.to_string(), || format!("post_{}", before + n)).unwrap();
            headcount::store::NewDelivery { message_id: format!("msg_{}", before + n), ..delivery }
        })
        .collect();
    store.accept(&deliveries).await.unwrap();
    loop {
        let applied = applier(store, sources).apply_batch().await.unwrap();
        let open = store.deliveries(&with_status("pending"), false).await.unwrap().len();
        if open == 0 {
            return;
        }
        if applied.finished == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

pub fn clerk(version: i64, email: &str, username: Option<&str>, external_id: Option<&str>) -> String {
    let mut data = user("user_c", version, Some(email), username, "Clara");
    data["external_id"] = json!(external_id);
    event("user.updated", data, version)
}

pub fn workos(version: i64, email: &str, verified: bool, external_id: Option<&str>) -> String {
    let at = |ms: i64| Timestamp::clamped(EPOCH_MS + ms).to_string();
    json!({
        "id": format!("event_{version}"), "event": "user.updated", "created_at": at(version),
        "data": {"object": "user", "id": "user_w", "email": email, "email_verified": verified, "first_name": "Wanda",
            "last_name": format!("v{version}"), "external_id": external_id, "created_at": at(0), "updated_at": at(version)},
    })
    .to_string()
}

fn gone(source: &str) -> String {
    match source {
        "clerk" => event("user.deleted", json!({"object": "user", "id": "user_c", "deleted": true}), 50),
        _ => workos(9, "late@example.com", true, None).replace("user.updated", "user.deleted"),
    }
}

pub async fn columns(db: &Db) -> Vec<Vec<Option<String>>> {
    db.query(
        "SELECT CAST(id AS text), account_state, email, username, first_name, last_name, display_name,
                CASE WHEN email_verified THEN '1' ELSE '0' END FROM users ORDER BY account_state, email",
    )
    .await
}

async fn a_user(db: &Db) {
    db.execute(&format!("INSERT INTO users (id, email) VALUES ('{USER}', 'typed@example.com')")).await;
}

/// Every order of two sources' histories, each in another database of the same kind.
async fn in_whatever_order_two_accounts_end_as_one_user(db: Db) {
    let bodies = [
        ("clerk", clerk(1, "c1@example.com", Some("clara"), Some(USER))),
        ("clerk", clerk(2, "c2@example.com", None, Some(USER))),
        ("workos", workos(1, "w1@example.com", true, Some(USER))),
        ("workos", workos(2, "w2@example.com", false, Some(USER))),
    ];
    let orders: Vec<Vec<usize>> =
        vec![vec![0, 1, 2, 3], vec![3, 2, 1, 0], vec![2, 0, 3, 1], vec![1, 3, 0, 2, 0, 3]];
    let mut ends = Vec::new();
    let backend = db.backend;
    let mut databases = vec![db];
    for _ in 1..orders.len() {
        databases.push(Db::new(backend).await);
    }
    for (db, order) in databases.iter().zip(&orders) {
        a_user(db).await;
        let store = open(db, &["workos", "clerk"]).await;
        for n in order {
            deliver(&store, &clerk_and_workos(), std::slice::from_ref(&bodies[*n])).await;
        }
        assert_eq!(db.count("headcount.identities WHERE linked_by = 'external-id'").await, 2);
        ends.push(columns(db).await);
    }
    let text = |text: &str| Some(text.to_owned());
    let expected = vec![vec![
        text(USER),
        text("active"),
        text("w2@example.com"),
        None,
        text("Wanda"),
        text("v2"),
        text("Wanda v2"),
        text("0"),
    ]];
    for (order, end) in orders.iter().zip(&ends) {
        assert_eq!(end, &expected, "{order:?}");
    }
    assert_eq!(backend == Backend::Sqlite, databases[0].url.starts_with("sqlite"));
}

async fn the_end_of_one_account_gives_the_other_the_floor(db: Db) {
    a_user(&db).await;
    let store = open(&db, &["workos", "clerk"]).await;
    let sources = clerk_and_workos();
    let first = [
        ("clerk", clerk(1, "c@example.com", Some("clara"), Some(USER))),
        ("workos", workos(1, "w@example.com", true, Some(USER))),
    ];
    deliver(&store, &sources, &first).await;
    let before = columns(&db).await;
    assert_eq!((before[0][2].as_deref(), before[0][3].as_deref()), (Some("w@example.com"), Some("clara")));
    deliver(&store, &sources, &[("workos", gone("workos"))]).await;
    let after = columns(&db).await;
    let cell = |n: usize| after[0][n].as_deref();
    assert_eq!((cell(0), cell(1)), (Some(USER), Some("active")), "it lives on at the other");
    assert_eq!((cell(2), cell(4), cell(6)), (Some("c@example.com"), Some("Clara"), Some("Clara")));
    // A late delivery brings neither the account nor its word back.
    deliver(&store, &sources, &[("workos", workos(5, "late@example.com", true, Some(USER)))]).await;
    assert_eq!(columns(&db).await, after);
    deliver(&store, &sources, &[("clerk", gone("clerk"))]).await;
    let over = columns(&db).await;
    assert_eq!(
        (over[0][1].as_deref(), over[0][2].as_deref(), over[0][3].as_deref()),
        (Some("deleted"), None, None)
    );
    let kinds = db.query("SELECT kind FROM headcount.changes ORDER BY seq").await;
    assert_eq!(kinds.last().unwrap()[0].as_deref(), Some("deleted"));
    assert_eq!(db.count("headcount.changes WHERE kind = 'deleted'").await, 1);
}

async fn two_accounts_of_one_batch_know_of_each_other(db: Db) {
    a_user(&db).await;
    let store = open(&db, &["clerk", "workos"]).await;
    let sources = clerk_and_workos();
    let first = [
        ("clerk", clerk(1, "c1@example.com", Some("clara"), Some(USER))),
        ("workos", workos(1, "w1@example.com", true, Some(USER))),
    ];
    deliver(&store, &sources, &first).await;
    // In one batch the first gives its address up, and the second has a new one.
    let mut silent: Value =
        serde_json::from_str(&clerk(2, "c1@example.com", Some("clara"), Some(USER))).unwrap();
    silent["data"]["primary_email_address_id"] = Value::Null;
    let both = [("clerk", silent.to_string()), ("workos", workos(2, "w2@example.com", true, Some(USER)))];
    deliver(&store, &sources, &both).await;
    let now = columns(&db).await;
    assert_eq!(
        (now.len(), now[0][2].as_deref(), now[0][7].as_deref()),
        (1, Some("w2@example.com"), Some("1"))
    );
    // And both end in one batch.
    deliver(&store, &sources, &[("clerk", gone("clerk")), ("workos", gone("workos"))]).await;
    assert_eq!(columns(&db).await[0][1].as_deref(), Some("deleted"));
}

async fn an_address_links_only_where_both_sides_have_verified_it(db: Db) {
    let store = open(&db, &["clerk", "workos"]).await;
    let linking = |trusted: bool| {
        let clerk = source("clerk", "clerk", |source| source.trusts_verified = trusted);
        vec![clerk, source("workos", "workos", |source| source.link_by.push(LinkRule::VerifiedEmail))]
    };
    let (victim, stranger) = ("clara@example.com", "other@example.com");
    deliver(&store, &linking(true), &[("clerk", clerk(1, victim, Some("clara"), None))]).await;
    // Whoever claims somebody's address without having verified it has no user (`awaiting.rs` has the rest).
    deliver(&store, &linking(true), &[("workos", workos(1, victim, false, None))]).await;
    assert_eq!(db.count("users").await, 1);
    let owner = "SELECT user_id FROM headcount.identities WHERE provider_id = 'user_c'";
    let clara = db.one(owner).await;
    assert_eq!(
        db.one(&format!("SELECT username FROM users WHERE CAST(id AS text) = '{clara}'")).await,
        "clara"
    );
    // The row's side counts only where its source is trusted; where it is, the case of letters does not matter.
    let as_other = |body: String, id: &str| body.replace("user_w", id).replace("\"event_", "\"event_o");
    deliver(
        &store,
        &linking(false),
        &[("workos", as_other(workos(1, "CLARA@example.com", true, None), "user_x"))],
    )
    .await;
    assert_eq!(db.count("users").await, 2);
    deliver(&store, &linking(true), &[("workos", as_other(workos(1, stranger, true, None), "user_y"))]).await;
    assert_eq!(db.count("users").await, 3);
    // Without any rule an address says nothing at all.
    let plain = clerk_and_workos();
    deliver(&store, &plain, &[("workos", as_other(workos(1, victim, true, None), "user_z"))]).await;
    assert_eq!(db.count("users").await, 4);
    assert_eq!(db.count("headcount.identities WHERE linked_by IS NOT NULL").await, 0);

    // A letter that becomes another one when it is made small is another letter: whoever has it is somebody else.
    let kim = clerk(1, "kim@example.com", None, None).replace("user_c", "user_k");
    deliver(&store, &linking(true), &[("clerk", kim)]).await;
    let kelvin = as_other(workos(1, "\u{212a}im@example.com", true, None), "user_kelvin");
    deliver(&store, &linking(true), &[("workos", kelvin)]).await;
    assert_eq!(db.count("users").await, 6);
    assert_eq!(db.count("headcount.identities WHERE linked_by IS NOT NULL").await, 0);

    // The good case, with people of its own: one row, both accounts.
    let second = [
        ("clerk", clerk(1, "dora@example.com", None, None).replace("user_c", "user_d")),
        ("workos", as_other(workos(1, "Dora@Example.com", true, None), "user_wd")),
    ];
    for body in second {
        deliver(&store, &linking(true), &[body]).await;
    }
    let tied =
        db.query("SELECT provider_id, linked_by FROM headcount.identities WHERE linked_by IS NOT NULL").await;
    assert_eq!(tied, [[Some("user_wd".to_owned()), Some("verified-email".to_owned())]]);
}

async fn the_same_id_links_where_sources_share_them(db: Db) {
    let store = open(&db, &["clerk", "workos"]).await;
    let sharing = vec![
        source("clerk", "clerk", |_| {}),
        source("workos", "workos", |source| source.link_by.push(LinkRule::SharedId)),
    ];
    deliver(&store, &sharing, &[("clerk", clerk(1, "c@example.com", Some("clara"), None))]).await;
    let as_clerks = workos(1, "w@example.com", false, None).replace("user_w", "user_c");
    deliver(&store, &clerk_and_workos(), &[("workos", workos(1, "w@example.com", true, None))]).await;
    assert_eq!(db.count("users").await, 2, "nobody has said that they share ids");
    deliver(&store, &sharing, &[("workos", as_clerks)]).await;
    assert_eq!(db.count("users").await, 2);
    let tied =
        "SELECT linked_by FROM headcount.identities WHERE source = 'workos' AND provider_id = 'user_c'";
    assert_eq!(db.one(tied).await, "shared-id");
    // Or the id of the row.
    a_user(&db).await;
    deliver(&store, &sharing, &[("workos", workos(1, "x@example.com", true, None).replace("user_w", USER))])
        .await;
    assert_eq!(db.count("users").await, 3);
}

async fn a_source_that_is_gone_keeps_its_word(db: Db) {
    a_user(&db).await;
    let store = open(&db, &["clerk", "shop"]).await;
    let shop = Source::recorded("shop", provider("workos").unwrap());
    let both = vec![source("clerk", "clerk", |_| {}), shop];
    let first = [
        ("clerk", clerk(1, "c@example.com", Some("clara"), Some(USER))),
        ("shop", workos(1, "w@example.com", true, Some(USER))),
    ];
    deliver(&store, &both, &first).await;
    // Nobody has written down what `clerk` was, and it is not configured any more.
    db.execute("DELETE FROM headcount.sources").await;
    deliver(&store, &both[1..], &[("shop", workos(2, "w2@example.com", true, Some(USER)))]).await;
    let now = columns(&db).await;
    assert_eq!(
        (now[0][3].as_deref(), now[0][5].as_deref()),
        (Some("clara"), Some("v2")),
        "what only the other has said stays"
    );
    deliver(&store, &both[1..], &[("shop", gone("shop"))]).await;
    assert_eq!(columns(&db).await[0][1].as_deref(), Some("active"), "and so does the person");
    // Its kind is enough to understand it again.
    store
        .name_sources(&[NamedSource {
            name: "clerk".into(),
            kind: "clerk".into(),
            shares_ids: false,
            links_by_address: false,
        }])
        .await
        .unwrap();
    let calls =
        Calls { store: store.clone(), sources: Arc::new(both[1..].to_vec()), clock: Arc::new(SystemClock) };
    let assignment = headcount::reconcile::Assignment::default();
    assert!(calls.set(USER, &assignment, Caller::OPERATOR).await.is_ok());
    assert_eq!(columns(&db).await[0][2].as_deref(), Some("c@example.com"));
}

async fn a_retired_source_speaks_last(db: Db) {
    a_user(&db).await;
    let store = open(&db, &["clerk", "workos"]).await;
    let sources = clerk_and_workos();
    let first = [
        ("clerk", clerk(1, "c@example.com", Some("clara"), Some(USER))),
        ("workos", workos(1, "w@example.com", true, Some(USER))),
    ];
    deliver(&store, &sources, &first).await;
    assert!(store.retire("clerk", true).await.unwrap());
    assert!(!store.retire("clerk", true).await.unwrap(), "it is already");
    assert_eq!(store.retired_sources().await.unwrap().len(), 1);
    deliver(&store, &sources, &[("workos", workos(2, "w2@example.com", true, Some(USER)))]).await;
    let now = columns(&db).await;
    let cell = |n: usize| now[0][n].as_deref();
    assert_eq!((cell(2), cell(3), cell(6)), (Some("w2@example.com"), Some("clara"), Some("Wanda v2")));
    assert!(store.retire("clerk", false).await.unwrap());
    deliver(&store, &sources, &[("workos", workos(3, "w3@example.com", true, Some(USER)))]).await;
    assert_eq!(columns(&db).await[0][2].as_deref(), Some("c@example.com"));
}

async fn an_account_that_moves_takes_its_word_along(db: Db) {
    a_user(&db).await;
    let store = open(&db, &["workos", "clerk"]).await;
    let sources = clerk_and_workos();
    let bodies = [
        ("clerk", clerk(1, "c@example.com", Some("clara"), Some(USER))),
        ("workos", workos(1, "w@example.com", true, Some(USER))),
        ("clerk", clerk(1, "d@example.com", None, None).replace("user_c", "user_d")),
    ];
    for body in bodies {
        deliver(&store, &sources, &[body]).await;
    }
    let other = db.one("SELECT user_id FROM headcount.identities WHERE provider_id = 'user_d'").await;
    let calls = Calls { store: store.clone(), sources: Arc::new(sources), clock: Arc::new(SystemClock) };
    let key = headcount::core::event::IdentityKey { source: "workos".into(), provider_id: "user_w".into() };
    calls.link(&key, &other, Caller::OPERATOR).await.unwrap();
    let rows = columns(&db).await;
    let row = |id: &str| rows.iter().find(|row| row[0].as_deref() == Some(id)).unwrap().clone();
    let (stays, gains) = (row(USER), row(&other));
    assert_eq!(
        (stays[2].as_deref(), stays[4].as_deref(), stays[6].as_deref()),
        (Some("c@example.com"), Some("Clara"), Some("Clara"))
    );
    assert_eq!(
        (gains[2].as_deref(), gains[4].as_deref(), gains[6].as_deref()),
        (Some("w@example.com"), Some("Wanda"), Some("Wanda v1"))
    );
}
