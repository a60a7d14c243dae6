//! The table that ORMs make by default: a number for an id, an address that is unique and not null, a creation time that
//! the database fills. And the texts of Django, which are not null and have no default.

use super::adopting::{adopted, either, open};
use super::calling::{assignment, calls, key, of};
use super::support::{Backend, Db, event, user};
use super::{applier, deliver};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use headcount::core::columns::{Column, Columns};
use headcount::reconcile::{Assignment, CallError, Caller};
use headcount::store::Store;
use serde_json::{Value, json};

on_each_database!(
    empty:
    a_hint_is_enough_for_a_row,
    a_deletion_frees_the_address,
    whom_the_provider_has_no_address_of_the_application_supplies_it,
    the_function_in_sql_supplies_it_as_well,
    a_retry_takes_no_number_from_the_sequence,
    texts_that_may_not_be_null_are_empty,
    the_reason_names_what_the_database_named,
);

const COLUMNS: [(&str, &str); 2] = [("email", "email"), ("created_at", "created_at")];

async fn common(db: &Db) -> Store {
    let id = either(db, "serial PRIMARY KEY", "integer PRIMARY KEY AUTOINCREMENT");
    let time = either(
        db,
        "timestamptz NOT NULL DEFAULT now()",
        "text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))",
    );
    db.execute(&format!("CREATE TABLE people (id {id}, email text NOT NULL UNIQUE, created_at {time})"))
        .await;
    open(db, adopted("id", &COLUMNS)).await
}

fn hint(email: &str) -> Columns {
    let mut hints = Columns::default();
    hints.set(Column::Email, Some(email.to_owned()));
    hints
}

fn person(n: usize, version: i64, email: Option<&str>) -> String {
    event("user.updated", user(&format!("user_{n}"), version, email, None, "Ann"), version)
}

fn deleted(n: usize) -> String {
    event("user.deleted", json!({"id": format!("user_{n}"), "object": "user", "deleted": true}), 9)
}

async fn retry(store: &Store) {
    assert_eq!(applier(store, DeleteLimit::Off).retry_held(None).await.unwrap(), None);
}

async fn a_hint_is_enough_for_a_row(db: Db) {
    let store = common(&db).await;
    calls(&store).provisional(&key("user_1"), &hint("h@example.com"), &Assignment::default()).await.unwrap();
    assert_eq!(db.count("people WHERE email = 'h@example.com' AND created_at IS NOT NULL").await, 1);
    if db.backend != Backend::Sqlite {
        db.execute("SELECT headcount.ensure('clerk', 'user_2', '{\"email\": \"s@example.com\"}')").await;
        assert_eq!(db.count("people WHERE email = 's@example.com' AND created_at IS NOT NULL").await, 1);
    }
    deliver(&store, &[person(1, 1, Some("a@example.com")), person(2, 1, Some("b@example.com"))]).await;
    let made = db.one("SELECT CAST(min(created_at) AS text) FROM people").await;
    assert!(
        !made.starts_with(&db.one("SELECT CAST(CURRENT_DATE AS text)").await),
        "the provider's word counts: {made}"
    );
    assert_eq!(of(&store, "user_1").await.columns.get(Column::Email), Some("a@example.com"));
    let told = db.count("headcount.changes").await;
    deliver(&store, &[person(1, 2, Some("a@example.com"))]).await;
    assert_eq!(db.count("headcount.changes").await, told, "nothing is written twice");
    store.close().await;
}

async fn a_deletion_frees_the_address(db: Db) {
    let store = common(&db).await;
    deliver(&store, &[person(1, 1, Some("a@example.com")), deleted(1)]).await;
    let id = of(&store, "user_1").await.id;
    assert_eq!(db.one("SELECT email FROM people").await, format!("{id}@erased.invalid"));
    let view = of(&store, "user_1").await;
    assert_eq!((view.account_state.as_str(), view.columns.get(Column::Email)), ("deleted", None));
    deliver(&store, &[person(2, 1, Some("a@example.com"))]).await;
    assert_eq!(of(&store, "user_2").await.columns.get(Column::Email), Some("a@example.com"));
    deliver(&store, &[person(2, 2, Some("other@example.com"))]).await;
    calls(&store).revive(&id, Caller::OPERATOR).await.unwrap();
    let revived = of(&store, "user_1").await;
    assert_eq!((revived.id, revived.columns.get(Column::Email)), (id, Some("a@example.com")));
    assert_eq!(db.count("headcount.held_values").await + db.count("headcount.altered_values").await, 0);
    store.close().await;
}

async fn whom_the_provider_has_no_address_of_the_application_supplies_it(db: Db) {
    let store = common(&db).await;
    deliver(&store, &[person(1, 1, None)]).await;
    assert_eq!(db.count("people").await, 0);
    let reason = db.one("SELECT waiting_reason FROM headcount.identities").await;
    assert!(reason.contains("email"), "{reason}");
    let lacking =
        calls(&store).provisional(&key("user_1"), &Columns::default(), &Assignment::default()).await;
    let Err(CallError::NoRoom(no_room)) = lacking else { panic!("there can be no such row: {lacking:?}") };
    assert_eq!(no_room.columns, ["email"]);
    let set = assignment(&store, &[("email", Some("phone-1@app.example"))]).await;
    calls(&store).provisional(&key("user_1"), &Columns::default(), &set).await.unwrap();
    let view = of(&store, "user_1").await;
    assert_eq!(view.columns.get(Column::Email), Some("phone-1@app.example"));
    assert_eq!(view.account_state, "active");
    assert_eq!(db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await, 0);
    // The provider still has nothing: what the application supplied stays, and may be changed.
    deliver(&store, &[person(1, 2, None)]).await;
    retry(&store).await;
    assert_eq!(db.one("SELECT email FROM people").await, "phone-1@app.example");
    let set = assignment(&store, &[("email", Some("phone-2@app.example"))]).await;
    calls(&store).set(&view.id, &set, Caller::APPLICATION).await.unwrap();
    deliver(&store, &[person(1, 3, None)]).await;
    assert_eq!(db.one("SELECT email FROM people").await, "phone-2@app.example");
    // Its first word replaces it, and from then on the column is the provider's.
    deliver(&store, &[person(1, 4, Some("a@example.com"))]).await;
    assert_eq!(db.one("SELECT email FROM people").await, "a@example.com");
    let late = calls(&store).set(&view.id, &set, Caller::APPLICATION).await;
    assert!(matches!(late, Err(CallError::NotSettable { .. })), "{late:?}");
    // What it takes back does not fit any more, and is told.
    deliver(&store, &[person(1, 5, None)]).await;
    assert_eq!(db.one("SELECT email FROM people").await, "a@example.com");
    assert_eq!(db.count("headcount.held_values WHERE \"column\" = 'email'").await, 1);
    store.close().await;
}

async fn the_function_in_sql_supplies_it_as_well(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    let store = common(&db).await;
    deliver(&store, &[person(1, 1, None)]).await;
    db.execute("SELECT headcount.ensure('clerk', 'user_1', '{}', '{\"email\": \"phone@app.example\"}')")
        .await;
    retry(&store).await;
    let view = of(&store, "user_1").await;
    assert_eq!(
        (view.account_state.as_str(), view.columns.get(Column::Email)),
        ("active", Some("phone@app.example"))
    );
    deliver(&store, &[person(1, 2, Some("a@example.com"))]).await;
    assert_eq!(db.one("SELECT email FROM people").await, "a@example.com");
    store.close().await;
}

async fn a_retry_takes_no_number_from_the_sequence(db: Db) {
    let store = common(&db).await;
    deliver(&store, &[person(1, 1, None)]).await;
    for version in 2..7 {
        retry(&store).await;
        deliver(&store, &[person(1, version, None)]).await;
    }
    deliver(&store, &[person(2, 1, Some("b@example.com"))]).await;
    let id: i64 = of(&store, "user_2").await.id.parse().unwrap();
    assert!(id <= 2, "the second person has id {id}");
    let set = assignment(&store, &[("email", Some("phone@app.example"))]).await;
    calls(&store).provisional(&key("user_1"), &Columns::default(), &set).await.unwrap();
    assert_eq!(db.count("people").await, 2);
    store.close().await;
}

async fn texts_that_may_not_be_null_are_empty(db: Db) {
    db.execute(
        "CREATE TABLE people (id text PRIMARY KEY NOT NULL, username varchar(150) NOT NULL UNIQUE,
             first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL)",
    )
    .await;
    let names = ["username", "first_name", "last_name", "email"].map(|name| (name, name));
    let store = open(&db, adopted("id", &names)).await;
    let told = store.users_table().notes().join("\n");
    assert!(told.contains("`last_name`") && told.contains("it is empty"), "{told}");
    let mut data = user("user_1", 1, None, Some("ann"), "Ann");
    data["last_name"] = Value::Null;
    deliver(&store, &[event("user.created", data, 1)]).await;
    assert_eq!(db.one("SELECT username || '|' || last_name || '|' || email FROM people").await, "ann||");
    let mut data = user("user_1", 2, Some("a@example.com"), Some("ann"), "Ann");
    data["last_name"] = json!("Smith");
    deliver(&store, &[event("user.updated", data.clone(), 2)]).await;
    assert_eq!(db.one("SELECT last_name || '|' || email FROM people").await, "Smith|a@example.com");
    data["last_name"] = Value::Null;
    data["updated_at"] = json!(data["updated_at"].as_i64().unwrap() + 1);
    deliver(&store, &[event("user.updated", data, 3)]).await;
    assert_eq!(db.one("SELECT last_name || '|' || email FROM people").await, "|a@example.com");
    assert_eq!(db.count("headcount.held_values").await, 0);
    store.close().await;
}

async fn the_reason_names_what_the_database_named(db: Db) {
    // As Prisma makes it: the client fills `updatedAt`, the database does not.
    let time = either(&db, "timestamptz", "text");
    db.execute(&format!(
        "CREATE TABLE people (id text PRIMARY KEY NOT NULL, username text, email text UNIQUE, \"updatedAt\" {time} NOT NULL)"
    ))
    .await;
    let store = open(&db, adopted("id", &[("username", "username"), ("email", "email")])).await;
    deliver(
        &store,
        &[event("user.created", user("user_1", 1, Some("a@example.com"), Some("ann"), "Ann"), 1)],
    )
    .await;
    let reason = db.one("SELECT waiting_reason FROM headcount.identities").await;
    assert!(reason.contains("updatedAt"), "{reason}");
    store.close().await;
}
