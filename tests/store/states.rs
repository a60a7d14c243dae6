//! `account_state` and `missing` are true whoever wrote the row.

use super::support::{Db, event, user};
use super::{deliver, tick};
use crate::on_each_database;
use headcount::store::UserFilter;
use serde_json::json;

on_each_database!(
    plain_sql_moves_the_state,
    rows_of_the_application_have_a_state_too,
    the_first_state_that_applies_is_the_one,
    changed_requirements_reach_every_row,
    a_correction_that_was_interrupted_goes_on,
    users_are_listed_found_and_counted,
);

const STATE: &str = "SELECT account_state FROM users";

async fn plain_sql_moves_the_state(db: Db) {
    let store = db.store().await;
    store.migrate(Some(&["email".into(), "username".into()])).await.unwrap();
    deliver(&store, &[event("user.created", user("user_1", 0, Some("a@example.com"), None, "Ann"), 0)]).await;
    let seen = || async { db.people().await.remove("user_1").unwrap()[..2].to_vec() };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(seen().await, [text("incomplete"), text("[\"username\"]")]);
    let updated = "SELECT CAST(updated_at AS text) FROM users";
    let before = db.one(updated).await;
    tick(&store).await;
    db.execute("UPDATE users SET username = 'ann'").await;
    assert_eq!(seen().await, [text("active"), text("[]")]);
    assert!(db.one(updated).await > before, "updated_at is the row's last change");
    db.execute("UPDATE users SET username = '', email = NULL").await;
    assert_eq!(seen().await, [text("incomplete"), text("[\"email\",\"username\"]")]);
    db.execute("UPDATE users SET account_state = 'active'").await;
    assert_eq!(seen().await[0], text("incomplete"), "nobody can claim a state");
}

async fn rows_of_the_application_have_a_state_too(db: Db) {
    for (n, (email, state)) in [("NULL", "incomplete"), ("'x@example.com'", "active")].iter().enumerate() {
        let id = format!("01900000-0000-7000-8000-00000000000{n}");
        db.execute(&format!("INSERT INTO users (id, email) VALUES ('{id}', {email})")).await;
        assert_eq!(db.one(&format!("{STATE} WHERE id = '{id}'")).await, *state);
    }
}

async fn the_first_state_that_applies_is_the_one(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", user("user_1", 0, None, None, "Ann"), 0)]).await;
    assert_eq!(db.one(STATE).await, "incomplete");
    db.execute("UPDATE users SET provisional = true").await;
    assert_eq!(db.one(STATE).await, "provisional");
    let mut banned = user("user_1", 1, None, None, "Ann");
    banned["banned"] = json!(true);
    deliver(&store, &[event("user.updated", banned, 1)]).await;
    assert_eq!(db.one(STATE).await, "suspended");
    deliver(&store, &[event("user.deleted", json!({"id": "user_1"}), 2)]).await;
    assert_eq!(db.one(STATE).await, "deleted");
    assert_eq!(db.people().await["user_1"][1].as_deref(), Some("[]"));
}

async fn changed_requirements_reach_every_row(db: Db) {
    let store = db.store().await;
    let bodies: Vec<String> = (0..30)
        .map(|n| event("user.created", user(&format!("user_{n}"), 0, Some("a@example.com"), None, "Ann"), 0))
        .collect();
    deliver(&store, &bodies).await;
    assert_eq!(db.count("users WHERE account_state = 'active'").await, 30);
    db.execute("ALTER TABLE users ADD COLUMN terms_accepted text").await;
    store.migrate(Some(&["email".into(), "terms_accepted".into()])).await.unwrap();
    assert_eq!(db.count("users WHERE account_state = 'incomplete'").await, 30);
    let report = store.status(&[]).await.unwrap();
    assert_eq!((report.missing[0].field.as_str(), report.missing[0].users), ("terms_accepted", 30));
    assert!(report.missing[0].oldest_since.is_some());
    store.migrate(Some(&[])).await.unwrap();
    assert_eq!(db.count("users WHERE account_state = 'active'").await, 30);
    assert_eq!(store.required_fields().await.unwrap(), Vec::<String>::new());
}

async fn a_correction_that_was_interrupted_goes_on(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", user("user_1", 0, Some("a@example.com"), None, "Ann"), 0)]).await;
    // A process that ended between the new trigger and the rows that were written under the old one.
    let wrong = "UPDATE users SET account_state = 'incomplete'";
    let begun = "INSERT INTO headcount.settings (key, value) VALUES ('correcting_states', '')";
    if db.backend == super::support::Backend::Sqlite {
        let triggers = db.query("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").await;
        for trigger in &triggers {
            db.execute(&format!("DROP TRIGGER {}", trigger[0].as_ref().unwrap())).await;
        }
        db.execute(wrong).await;
        for trigger in &triggers {
            db.execute(trigger[1].as_ref().unwrap()).await;
        }
    } else {
        let switch = |word: &str| format!("ALTER TABLE users {word} TRIGGER zz_headcount_state");
        db.execute(&format!("{}; {wrong}; {}", switch("DISABLE"), switch("ENABLE"))).await;
    }
    db.execute(begun).await;
    assert_eq!(db.one(STATE).await, "incomplete");
    store.migrate(None).await.unwrap();
    assert_eq!(db.one(STATE).await, "active");
    assert_eq!(db.count("headcount.settings WHERE key = 'correcting_states'").await, 0);
}

async fn users_are_listed_found_and_counted(db: Db) {
    let store = db.store().await;
    let bodies: Vec<String> = (0..5)
        .map(|n| {
            let email = (n > 0).then(|| format!("p{n}@example.com"));
            event(
                "user.created",
                user(&format!("user_{n}"), 0, email.as_deref(), Some(&format!("p{n}")), "Ann"),
                0,
            )
        })
        .collect();
    deliver(&store, &bodies).await;
    let page = |after, limit| UserFilter { after, limit, ..UserFilter::default() };
    let first = store.users(&page(None, 3)).await.unwrap();
    let second = store.users(&page(Some(first[2].id.clone()), 3)).await.unwrap();
    assert_eq!((first.len(), second.len()), (3, 2));
    let order: Vec<String> =
        first.iter().chain(&second).map(|user| user.identities[0].provider_id.clone()).collect();
    assert_eq!(order, ["user_0", "user_1", "user_2", "user_3", "user_4"], "ids sort by first sight");
    let incomplete =
        UserFilter { state: Some("incomplete".into()), source: Some("clerk".into()), ..page(None, 9) };
    assert_eq!(store.users(&incomplete).await.unwrap()[0].missing, ["email"]);
    for text in ["user_3", "p3@example.com", "p3", &second[0].id] {
        let found = store.find_users(text).await.unwrap();
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].id, second[0].id, "{text}");
    }
    assert_eq!(store.find_users("nobody").await.unwrap(), []);
    let report = store.status(&["clerk".into()]).await.unwrap();
    assert_eq!((report.users["active"], report.users["incomplete"], report.sources[0].accounts), (4, 1, 5));
}
