//! A rule that was set too late: those who are two users by then are named, and become one by a person's word alone.

use super::sources::{clerk, deliver, open, source, workos};
use super::support::Db;
use crate::on_each_database;
use headcount::clock::SystemClock;
use headcount::core::link::LinkRule;
use headcount::reconcile::{Caller, Calls};
use headcount::source::Source;
use std::sync::Arc;

on_each_database!(who_is_two_users_by_a_later_rule_is_named_and_made_one);

fn calls(store: &headcount::store::Store, sources: &[Source]) -> Calls {
    Calls { store: store.clone(), sources: Arc::new(sources.to_vec()), clock: Arc::new(SystemClock) }
}

async fn who_is_two_users_by_a_later_rule_is_named_and_made_one(db: Db) {
    let store = open(&db, &["clerk", "workos"]).await;
    let before = vec![source("clerk", "clerk", |_| {}), source("workos", "workos", |_| {})];
    let other = |body: String, id: &str| body.replace("user_w", id).replace("\"event_", "\"event_o");
    deliver(&store, &before, &[("clerk", clerk(1, "dora@example.com", Some("dora"), None))]).await;
    deliver(&store, &before, &[("workos", workos(1, "Dora@Example.com", true, None))]).await;
    // Somebody who has not verified the address, and somebody else.
    deliver(&store, &before, &[("workos", other(workos(1, "dora@example.com", false, None), "user_x"))])
        .await;
    deliver(&store, &before, &[("workos", other(workos(1, "else@example.com", true, None), "user_y"))]).await;
    assert_eq!(db.count("users").await, 4);
    let of_workos = |change: fn(&mut Source)| {
        let trusting = source("clerk", "clerk", |source| source.trusts_verified = true);
        vec![trusting, source("workos", "workos", change)]
    };
    let unlinked = of_workos(|_| {});
    assert_eq!(calls(&store, &unlinked).doubled_users(&unlinked[1]).await.unwrap(), []);
    let later = of_workos(|source| source.link_by.push(LinkRule::VerifiedEmail));
    let calls = calls(&store, &later);
    let doubles = calls.doubled_users(&later[1]).await.unwrap();
    let named: Vec<_> = doubles.iter().map(|double| double.key.provider_id.as_str()).collect();
    assert_eq!(named, ["user_w"]);
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 0, "a report changes nothing");
    for double in &doubles {
        assert!(calls.link(&double.key, &double.to, Caller::OPERATOR).await.unwrap().ended);
    }
    assert_eq!(calls.doubled_users(&later[1]).await.unwrap(), []);
    let users =
        db.query("SELECT user_id FROM headcount.identities WHERE provider_id IN ('user_c', 'user_w')").await;
    assert_eq!(users[0], users[1]);
    assert_eq!(db.count("users WHERE account_state = 'active' AND username = 'dora'").await, 1);
    store.close().await;
}
