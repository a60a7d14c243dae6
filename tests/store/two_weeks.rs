//! The weeks of a move from Clerk to Better Auth, with both providers live and either cookie accepted: what happens to people.

use super::sources::{deliver, open, source};
use super::support::{Db, EPOCH_MS, event, user};
use crate::on_each_database;
use headcount::clock::{Clock, SystemClock};
use headcount::core::link::LinkRule;
use headcount::core::timestamp::Timestamp;
use headcount::core::words::SwitchDirection;
use headcount::provider_move::ProviderMove;
use headcount::reconcile::{Caller, Calls};
use headcount::source::Source;
use headcount::store::{NamedSource, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

on_each_database!(
    ids_stay_and_foreign_keys_hold,
    swapped_addresses_make_nobody_somebody_else,
    who_is_deleted_at_one_lives_on_and_at_both_has_left,
    who_is_banned_at_one_is_suspended_until_that_ends_or_its_source_is_retired,
    who_never_moves_stays_and_is_not_deleted_by_a_retired_source,
    who_is_deleted_and_signs_up_anew_is_the_same_person_while_the_other_account_lives,
    a_sign_up_under_a_known_address_is_one_person_once_it_is_verified,
    an_import_is_silent_until_it_is_touched,
    a_taken_username_is_held_back_and_given_once_it_is_free,
    a_switch_lower_cases_names_and_keeps_what_the_new_provider_lacks,
    emptying_the_old_account_deletes_nobody_who_lives_on_elsewhere,
);

/// Better Auth finds its people by an address that both have verified, or by Clerk's own id, where an import has kept it.
fn both() -> Vec<Source> {
    let rules = [LinkRule::SharedId, LinkRule::VerifiedEmail];
    let better_auth = source("better-auth", "better-auth", |source| source.link_by.extend(rules));
    vec![source("clerk", "clerk", |_| {}), better_auth]
}

async fn start(db: &Db) -> Store {
    let store = open(db, &["clerk", "better-auth"]).await;
    let named = |name: &str, links: bool| NamedSource {
        name: name.to_owned(),
        kind: name.to_owned(),
        shares_ids: links,
        links_by_address: links,
    };
    store.name_sources(&[named("clerk", false), named("better-auth", true)]).await.unwrap();
    store
}

/// A verified address, and a username with a capital.
fn at_clerk(name: &str, version: i64, email: &str) -> (&'static str, String) {
    let username = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
    let data = user(&format!("user_{name}"), version, Some(email), Some(&username), name);
    ("clerk", event("user.updated", data, version))
}

fn clerk_with(name: &str, version: i64, email: &str, more: Value) -> (&'static str, String) {
    let username = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
    let mut data = user(&format!("user_{name}"), version, Some(email), Some(&username), name);
    for (field, value) in more.as_object().unwrap() {
        data[field] = value.clone();
    }
    ("clerk", event("user.updated", data, version))
}

fn gone_at_clerk(name: &str) -> (&'static str, String) {
    let data = json!({"object": "user", "id": format!("user_{name}"), "deleted": true});
    ("clerk", event("user.deleted", data, 50))
}

fn at_better_auth(name: &str, version: i64, email: &str, more: Value) -> (&'static str, String) {
    told("user.updated", &format!("ba_{name}"), name, version, email, more)
}

fn told(
    event_type: &str,
    id: &str,
    name: &str,
    version: i64,
    email: &str,
    more: Value,
) -> (&'static str, String) {
    let at = |ms: i64| Timestamp::clamped(EPOCH_MS + ms).to_string();
    let mut data = json!({
        "id": id, "name": format!("{name} New"), "email": email, "emailVerified": true, "image": null,
        "createdAt": at(0), "updatedAt": at(version), "username": name, "banned": false,
    });
    for (field, value) in more.as_object().unwrap() {
        data[field] = value.clone();
    }
    ("better-auth", json!({"type": event_type, "timestamp": at(version), "data": data}).to_string())
}

fn gone_at_better_auth(name: &str) -> (&'static str, String) {
    told("user.deleted", &format!("ba_{name}"), name, 50, "gone@example.com", json!({}))
}

async fn switch(store: &Store, direction: SwitchDirection) {
    let sources = Arc::new(both());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let one = ProviderMove::new(store, &sources, &clock, &sources[0], &sources[1]).unwrap();
    one.switch(direction, &|_| {}, &CancellationToken::new()).await.unwrap();
}

async fn states(db: &Db) -> Vec<String> {
    flat(db, "SELECT account_state FROM users ORDER BY account_state").await
}

async fn flat(db: &Db, sql: &str) -> Vec<String> {
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    db.query(sql).await.into_iter().flatten().map(cell).collect()
}

async fn ids_stay_and_foreign_keys_hold(db: Db) {
    let store = start(&db).await;
    deliver(&store, &both(), &[at_clerk("ann", 1, "ann@example.com")]).await;
    let kind = if matches!(db.backend, super::support::Backend::Sqlite) { "text" } else { "uuid" };
    db.execute(&format!("CREATE TABLE posts (author {kind} NOT NULL REFERENCES users (id))")).await;
    db.execute("INSERT INTO posts SELECT id FROM users").await;
    let id = db.one("SELECT CAST(id AS text) FROM users").await;
    deliver(&store, &both(), &[at_better_auth("ann", 1, "Ann@Example.com", json!({}))]).await;
    switch(&store, SwitchDirection::Switch).await;
    deliver(&store, &both(), &[gone_at_clerk("ann")]).await;
    assert_eq!(flat(&db, "SELECT CAST(id AS text) FROM users").await, [id]);
    assert_eq!(
        db.count("posts JOIN users ON users.id = posts.author WHERE users.account_state = 'active'").await,
        1
    );
}

async fn swapped_addresses_make_nobody_somebody_else(db: Db) {
    let store = start(&db).await;
    let (a, b) = ("a@example.com", "b@example.com");
    deliver(&store, &both(), &[at_clerk("ann", 1, a), at_clerk("bob", 1, b)]).await;
    deliver(
        &store,
        &both(),
        &[at_better_auth("ann", 1, a, json!({})), at_better_auth("bob", 1, b, json!({}))],
    )
    .await;
    let tied = "SELECT i.provider_id, o.provider_id FROM headcount.identities i
         JOIN headcount.identities o ON o.user_id = i.user_id AND o.source = 'better-auth'
         WHERE i.source = 'clerk' ORDER BY i.provider_id";
    let before = flat(&db, tied).await;
    deliver(
        &store,
        &both(),
        &[at_better_auth("ann", 2, b, json!({})), at_better_auth("bob", 2, a, json!({}))],
    )
    .await;
    switch(&store, SwitchDirection::Switch).await;
    assert_eq!(flat(&db, tied).await, before);
    assert_eq!(flat(&db, "SELECT email FROM users ORDER BY username").await, [b, a]);
    assert_eq!(db.count("users").await, 2);
}

async fn who_is_deleted_at_one_lives_on_and_at_both_has_left(db: Db) {
    let store = start(&db).await;
    for name in ["ann", "bob", "cid"] {
        let email = format!("{name}@example.com");
        deliver(&store, &both(), &[at_clerk(name, 1, &email)]).await;
        deliver(&store, &both(), &[at_better_auth(name, 1, &email, json!({}))]).await;
    }
    let ends =
        [gone_at_clerk("ann"), gone_at_better_auth("bob"), gone_at_clerk("cid"), gone_at_better_auth("cid")];
    deliver(&store, &both(), &ends).await;
    assert_eq!(states(&db).await, ["active", "active", "deleted"]);
    switch(&store, SwitchDirection::Switch).await;
    assert_eq!(states(&db).await, ["active", "active", "deleted"]);
}

async fn who_is_banned_at_one_is_suspended_until_that_ends_or_its_source_is_retired(db: Db) {
    let store = start(&db).await;
    for name in ["ann", "bob"] {
        let email = format!("{name}@example.com");
        deliver(&store, &both(), &[at_clerk(name, 1, &email)]).await;
        deliver(&store, &both(), &[at_better_auth(name, 1, &email, json!({}))]).await;
    }
    // Ann is banned where authority is, Bob where it is not.
    let bans = [
        clerk_with("ann", 2, "ann@example.com", json!({"banned": true})),
        at_better_auth("bob", 2, "bob@example.com", json!({"banned": true})),
    ];
    deliver(&store, &both(), &bans).await;
    assert_eq!(states(&db).await, ["suspended", "suspended"]);
    switch(&store, SwitchDirection::Switch).await;
    assert_eq!(states(&db).await, ["suspended", "suspended"]);
    deliver(&store, &both(), &[at_better_auth("bob", 3, "bob@example.com", json!({}))]).await;
    assert_eq!(states(&db).await, ["active", "suspended"]);
    store.retire("clerk", true).await.unwrap();
    deliver(&store, &both(), &[at_better_auth("ann", 3, "ann@example.com", json!({}))]).await;
    assert_eq!(states(&db).await, ["active", "active"], "a retired source keeps nobody out");
}

async fn who_never_moves_stays_and_is_not_deleted_by_a_retired_source(db: Db) {
    let store = start(&db).await;
    deliver(&store, &both(), &[at_clerk("ann", 1, "ann@example.com")]).await;
    switch(&store, SwitchDirection::Switch).await;
    store.retire("clerk", true).await.unwrap();
    assert_eq!(states(&db).await, ["active"]);
    // She comes later: it is she.
    deliver(&store, &both(), &[at_better_auth("ann", 1, "ann@example.com", json!({}))]).await;
    assert_eq!((states(&db).await, db.count("users").await), (vec!["active".to_owned()], 1));
}

async fn who_is_deleted_and_signs_up_anew_is_the_same_person_while_the_other_account_lives(db: Db) {
    let store = start(&db).await;
    deliver(&store, &both(), &[at_clerk("ann", 1, "ann@example.com")]).await;
    deliver(&store, &both(), &[at_better_auth("ann", 1, "ann@example.com", json!({}))]).await;
    deliver(&store, &both(), &[gone_at_better_auth("ann")]).await;
    let anew = told("user.created", "ba_again", "ann", 60, "ann@example.com", json!({}));
    deliver(&store, &both(), &[anew]).await;
    assert_eq!((states(&db).await, db.count("users").await), (vec!["active".to_owned()], 1));
    assert_eq!(db.count("headcount.identities WHERE user_id IS NOT NULL").await, 3);
}

async fn a_sign_up_under_a_known_address_is_one_person_once_it_is_verified(db: Db) {
    let store = start(&db).await;
    deliver(&store, &both(), &[at_clerk("ann", 1, "ann@example.com")]).await;
    switch(&store, SwitchDirection::Switch).await;
    let unproven = json!({"emailVerified": false});
    deliver(&store, &both(), &[at_better_auth("ann", 1, "ann@example.com", unproven)]).await;
    assert_eq!(db.count("users").await, 1);
    assert_eq!(db.count("headcount.identities WHERE awaited_address IS NOT NULL").await, 1);
    deliver(&store, &both(), &[at_better_auth("ann", 2, "ann@example.com", json!({}))]).await;
    assert_eq!(db.count("users").await, 1);
    assert_eq!(
        flat(&db, "SELECT username FROM users").await,
        ["ann"],
        "the new provider's word counts at once"
    );
}

/// What an import has written is heard of once each row is touched, or by a resync; ids that it has kept tie the two.
async fn an_import_is_silent_until_it_is_touched(db: Db) {
    let store = start(&db).await;
    deliver(&store, &both(), &[at_clerk("ann", 1, "ann@example.com")]).await;
    let touched =
        told("user.updated", "user_ann", "ann", 1, "other@example.com", json!({"emailVerified": false}));
    deliver(&store, &both(), &[touched]).await;
    assert_eq!(db.count("users").await, 1);
    assert_eq!(
        db.one("SELECT linked_by FROM headcount.identities WHERE source = 'better-auth'").await,
        "shared-id"
    );
}

async fn a_taken_username_is_held_back_and_given_once_it_is_free(db: Db) {
    let store = start(&db).await;
    db.execute("CREATE UNIQUE INDEX one_name_each ON users (username)").await;
    deliver(&store, &both(), &[at_clerk("ann", 1, "ann@example.com"), at_clerk("bob", 1, "bob@example.com")])
        .await;
    let lower = json!({"username": "ann"});
    // Somebody else is faster at the new provider, and has her name there.
    deliver(&store, &both(), &[at_better_auth("zoe", 1, "zoe@example.com", lower)]).await;
    let hers = json!({"username": "ann"});
    deliver(&store, &both(), &[at_better_auth("ann", 1, "ann@example.com", hers)]).await;
    switch(&store, SwitchDirection::Switch).await;
    let names = "SELECT username FROM users ORDER BY email";
    assert_eq!(flat(&db, names).await, ["Ann", "Bob", "ann"], "she keeps the one that she had");
    assert_eq!(db.count("headcount.held_values").await, 1);
    deliver(&store, &both(), &[at_better_auth("zoe", 2, "zoe@example.com", json!({"username": "zoe"}))])
        .await;
    assert_eq!(flat(&db, names).await, ["ann", "Bob", "zoe"]);
}

async fn a_switch_lower_cases_names_and_keeps_what_the_new_provider_lacks(db: Db) {
    let store = start(&db).await;
    let pictured = json!({"image_url": "https://img.example.com/ann"});
    deliver(&store, &both(), &[clerk_with("ann", 1, "ann@example.com", pictured)]).await;
    deliver(&store, &both(), &[at_better_auth("ann", 1, "ann@example.com", json!({}))]).await;
    let row = "SELECT username, avatar_url, first_name FROM users";
    let before = flat(&db, row).await;
    switch(&store, SwitchDirection::Switch).await;
    let after = flat(&db, row).await;
    assert_eq!((&before[0][..], &after[0][..]), ("Ann", "ann"));
    assert_eq!(before[1..], after[1..], "the picture and the first name are the old provider's still");
    // They end with its account.
    deliver(&store, &both(), &[gone_at_clerk("ann")]).await;
    assert_eq!(flat(&db, row).await, ["ann", "-", "-"]);
}

async fn emptying_the_old_account_deletes_nobody_who_lives_on_elsewhere(db: Db) {
    let store = start(&db).await;
    deliver(&store, &both(), &[at_clerk("ann", 1, "ann@example.com"), at_clerk("bob", 1, "bob@example.com")])
        .await;
    deliver(&store, &both(), &[at_better_auth("ann", 1, "ann@example.com", json!({}))]).await;
    switch(&store, SwitchDirection::Switch).await;
    // Somebody empties the account at Clerk without having retired the source.
    deliver(&store, &both(), &[gone_at_clerk("ann"), gone_at_clerk("bob")]).await;
    assert_eq!(states(&db).await, ["active", "deleted"]);
    // Bob never moved: a person may take that back.
    let calls = Calls { store: store.clone(), sources: Arc::new(both()), clock: Arc::new(SystemClock) };
    let bob = db.one("SELECT CAST(id AS text) FROM users WHERE account_state = 'deleted'").await;
    calls.revive(&bob, Caller::OPERATOR).await.unwrap();
    assert_eq!(states(&db).await, ["active", "active"]);
}
