//! Calls on the application's own table, and what applications are offered in the database: a view of people, and on
//! PostgreSQL the function that makes a user.

use super::adopting::{adopted, created, either, open};
use super::calling::{assignment, calls, key, of};
use super::deliver;
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::core::columns::{Column, Columns};
use headcount::core::link::LinkRule;
use headcount::reconcile::{Assignment, CallError, Caller, ErasedRow};
use headcount::store::Store;

on_each_database!(
    empty:
    a_provisional_row_of_theirs_is_completed,
    the_function_makes_rows_whatever_makes_their_ids,
    a_row_that_was_there_is_found_by_its_column,
    what_a_row_lacks_is_named,
    an_adopted_row_is_erased,
);

const COLUMNS: [(&str, &str); 4] =
    [("id", "clerk_id"), ("email", "mail"), ("username", "handle"), ("avatar_url", "image")];

async fn people(db: &Db, id: &str) -> Store {
    let truth = either(db, "boolean", "boolean");
    db.execute(&format!(
        "CREATE TABLE people (person_id {id}, clerk_id text UNIQUE NOT NULL, mail text UNIQUE, handle text UNIQUE, image text,
             tenant text, newsletter {truth})"
    ))
    .await;
    open(db, adopted("person_id", &COLUMNS)).await
}

fn hints(email: &str) -> Columns {
    let mut hints = Columns::default();
    hints.set(Column::Email, Some(email.to_owned()));
    hints.set(Column::FirstName, Some("Hinted".to_owned()));
    hints
}

async fn a_provisional_row_of_theirs_is_completed(db: Db) {
    let store =
        people(&db, either(&db, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "integer PRIMARY KEY"))
            .await;
    let set = assignment(&store, &[("tenant", Some("acme")), ("newsletter", Some("true"))]).await;
    calls(&store).provisional(&key("user_1"), &hints("h@example.com"), &set).await.unwrap();
    let before = of(&store, "user_1").await;
    assert_eq!(
        (before.account_state.as_str(), before.columns.get(Column::FirstName)),
        ("provisional", Some("Hinted"))
    );
    let row = "SELECT clerk_id || mail || tenant FROM people WHERE newsletter";
    assert_eq!(
        db.one(row).await,
        "user_1h@example.comacme",
        "the one thing that is known goes where it belongs"
    );
    deliver_on(&store, &created(1, "a@example.com")).await;
    let after = of(&store, "user_1").await;
    assert_eq!((after.id, after.account_state.as_str()), (before.id.clone(), "active"));
    assert_eq!(after.columns.get(Column::FirstName), Some("Ann"));
    assert_eq!(db.one(row).await, "user_1a@example.comacme");
    let mut ban = Assignment::default();
    ban.setting.suspended = Some(true);
    calls(&store).set(&before.id, &ban, Caller::APPLICATION).await.unwrap();
    assert_eq!(of(&store, "user_1").await.account_state, "suspended");
    db.execute("UPDATE people SET mail = NULL").await;
    assert_eq!(of(&store, "user_1").await.account_state, "suspended", "whoever wrote the row");
    if db.backend == Backend::Sqlite {
        // Migrations make tables anew there, and a view would be in their way.
        let anew = "CREATE TABLE new_people AS SELECT * FROM people; DROP TABLE people; ALTER TABLE new_people RENAME TO people";
        db.execute(anew).await;
        db.execute(&store.users_table().people()).await;
    }
    assert_eq!(db.one("SELECT account_state FROM headcount.people").await, "suspended");
}

async fn deliver_on(store: &Store, body: &str) {
    deliver(store, &[body.to_owned()]).await;
}

async fn the_function_makes_rows_whatever_makes_their_ids(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    for kind in [
        "uuid PRIMARY KEY",
        "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        "text PRIMARY KEY",
        "varchar(40) PRIMARY KEY DEFAULT 'p_' || md5(random()::text)",
        "bigserial PRIMARY KEY",
        "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    ] {
        let store = people(&db, kind).await;
        let call = "SELECT CAST(e.id AS text) FROM headcount.ensure('clerk', 'user_1', '{\"email\": \"h@example.com\", \"first_name\": \"Hinted\"}',
             '{\"tenant\": \"acme\"}') e";
        let id = db.one(call).await;
        assert_eq!(db.one(call).await, id, "{kind}: the same user again");
        let before = of(&store, "user_1").await;
        assert_eq!((before.id.as_str(), before.account_state.as_str()), (&*id, "provisional"), "{kind}");
        assert_eq!(before.columns.get(Column::FirstName), Some("Hinted"), "{kind}");
        assert_eq!(db.one("SELECT clerk_id || mail || tenant FROM people").await, "user_1h@example.comacme");
        // Somebody else with the same address: hints keep nobody out.
        let other = "SELECT CAST(e.id AS text) FROM headcount.ensure('clerk', 'user_2', '{\"email\": \"h@example.com\"}') e";
        assert_ne!(db.one(other).await, id, "{kind}");
        assert_eq!(calls(&store).announce(9).await.unwrap(), 2, "{kind}");
        deliver_on(&store, &created(1, "a@example.com")).await;
        let after = of(&store, "user_1").await;
        assert_eq!((after.id.as_str(), after.account_state.as_str()), (&*id, "active"), "{kind}");
        assert_eq!(after.columns.get(Column::FirstName), Some("Ann"), "{kind}: hints give way");
        for (bad, word) in [
            ("SELECT headcount.ensure('clerk', '')", "1 to 255 bytes"),
            ("SELECT headcount.ensure('clerk', 'u', '{\"emial\": \"x\"}')", "no column"),
            ("SELECT headcount.ensure('clerk', 'u', NULL, '{\"email\": \"x\"}')", "not the application"),
            ("SELECT headcount.ensure('clerk', 'u', NULL, '{\"nothing\": \"x\"}')", "nothing"),
        ] {
            let error = db.try_execute(bad).await.unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
        store.run_steps(&store.uninstall_plan().await.unwrap()).await.unwrap();
        store.close().await;
        db.execute("DROP TABLE people").await;
    }
}

async fn a_row_that_was_there_is_found_by_its_column(db: Db) {
    let store =
        people(&db, either(&db, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "integer PRIMARY KEY"))
            .await;
    db.execute("INSERT INTO people (clerk_id, mail) VALUES ('user_1', 'theirs@example.com')").await;
    store.set_link_rule("clerk", Some(&LinkRule::Column("clerk_id".into()))).await.unwrap();
    match db.backend {
        Backend::Sqlite => {
            calls(&store)
                .provisional(&key("user_1"), &hints("h@example.com"), &Assignment::default())
                .await
                .unwrap();
        }
        _ => db.execute("SELECT headcount.ensure('clerk', 'user_1', '{\"email\": \"h@example.com\"}')").await,
    }
    assert_eq!(db.count("people").await, 1, "nobody gets a second row");
    assert_eq!(db.one("SELECT mail FROM people").await, "theirs@example.com", "and hints are for new ones");
    assert_eq!(db.one("SELECT linked_by FROM headcount.identities").await, "column:clerk_id");
    assert_eq!(of(&store, "user_1").await.account_state, "provisional");
    deliver_on(&store, &created(1, "a@example.com")).await;
    // As for every row that was there: what it held stays until somebody declares an owner.
    assert_eq!(db.one("SELECT mail FROM people").await, "theirs@example.com");
    assert_eq!(of(&store, "user_1").await.account_state, "active");
}

async fn what_a_row_lacks_is_named(db: Db) {
    db.execute(
        "CREATE TABLE people (person_id text PRIMARY KEY NOT NULL, mail text NOT NULL UNIQUE, tenant text NOT NULL)",
    )
    .await;
    let store = open(&db, adopted("person_id", &[("email", "mail")])).await;
    let none = Columns::default();
    let lacking = calls(&store).provisional(&key("user_1"), &none, &Assignment::default()).await;
    let Err(CallError::NoRoom(no_room)) = lacking else { panic!("there can be no such row") };
    assert_eq!(no_room.columns, ["email", "tenant"]);
    let set = assignment(&store, &[("tenant", Some("acme"))]).await;
    let Err(CallError::NoRoom(no_room)) = calls(&store).provisional(&key("user_1"), &none, &set).await else {
        panic!("there can be no such row")
    };
    assert_eq!(no_room.columns, ["email"]);
    calls(&store).provisional(&key("user_1"), &hints("h@example.com"), &set).await.unwrap();
    assert_eq!(of(&store, "user_1").await.account_state, "provisional");
}

async fn an_adopted_row_is_erased(db: Db) {
    db.execute(
        "CREATE TABLE people (person_id text PRIMARY KEY NOT NULL, mail text NOT NULL UNIQUE, handle text, bio text)",
    )
    .await;
    let store = open(&db, adopted("person_id", &[("email", "mail"), ("username", "handle")])).await;
    deliver_on(&store, &created(1, "erasemark@example.com")).await;
    let id = of(&store, "user_1").await.id;
    db.execute("UPDATE people SET bio = 'of their own', handle = 'erasemark'").await;
    let erased = calls(&store).erase(&id, ErasedRow::Emptied, Caller::OPERATOR).await.unwrap();
    assert_eq!(erased.left, Vec::<String>::new());
    assert_eq!(
        db.one("SELECT mail FROM people").await,
        format!("{id}@erased.invalid"),
        "NOT NULL is respected"
    );
    assert_eq!(db.one("SELECT coalesce(handle, '-') || bio FROM people").await, "-of their own");
    assert_eq!(db.count("headcount.accounts WHERE email IS NOT NULL OR first_name IS NOT NULL").await, 0);
    assert_eq!(of_id(&store, &id).await, "deleted");
    let held = db.count("headcount.held_values").await;
    assert_eq!(held, 0);
}

async fn of_id(store: &Store, id: &str) -> String {
    store.users_by_id(&[id.to_owned()]).await.unwrap().remove(0).account_state
}
