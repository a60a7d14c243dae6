//! The application's own migrations of its users table: they go through, and what headcount has beside the table goes on.

use super::adopting::{adopted, created, either, open};
use super::calling::of;
use super::deliver;
use super::support::{Backend, Db, event, user};
use crate::on_each_database;

on_each_database!(
    empty:
    every_kind_of_change_goes_through,
    a_change_is_told,
    the_trigger_steps_aside,
);

const COLUMNS: [(&str, &str); 4] =
    [("email", "mail"), ("display_name", "name"), ("username", "handle"), ("account_state", "status")];

async fn people(db: &Db) -> headcount::store::Store {
    let id =
        either(db, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "integer PRIMARY KEY AUTOINCREMENT");
    db.execute(&format!(
        "CREATE TABLE people (id {id}, mail varchar(200) UNIQUE, name varchar(80), handle text, status text, bio text)"
    ))
    .await;
    let store = open(db, adopted("id", &COLUMNS)).await;
    deliver(&store, &[created(1, "a@example.com"), created(2, "b@example.com")]).await;
    store
}

async fn state(db: &Db, mail: &str) -> String {
    db.one(&format!("SELECT status FROM people WHERE mail = '{mail}'")).await
}

/// State, view, function and deliveries, after a change that the configuration need not know of.
async fn all_goes_on(db: &Db, n: usize, change: &str) {
    let store = open(db, adopted("id", &COLUMNS)).await;
    assert_eq!(store.table_problems().await.unwrap(), Vec::<String>::new(), "{change}");
    let mail = format!("p{n}@example.com");
    deliver(&store, &[created(n, &mail)]).await;
    assert_eq!(state(db, &mail).await, "active", "{change}");
    db.execute(&format!("UPDATE people SET mail = NULL WHERE mail = '{mail}'")).await;
    assert_eq!(of(&store, &format!("user_{n}")).await.account_state, "incomplete", "{change}");
    assert_eq!(db.count("people WHERE status = 'incomplete' AND mail IS NULL").await, 1, "{change}");
    db.execute(&format!("UPDATE people SET mail = '{mail}' WHERE mail IS NULL")).await;
    assert_eq!(state(db, &mail).await, "active", "{change}");
    if db.backend != Backend::Sqlite {
        assert!(db.count("headcount.people WHERE account_state = 'active'").await > 2, "{change}");
        db.execute(&format!(
            "SELECT headcount.ensure('clerk', 'made_{n}', '{{\"email\": \"made{n}@example.com\"}}')"
        ))
        .await;
        assert_eq!(of(&store, &format!("made_{n}")).await.account_state, "provisional", "{change}");
    }
    store.close().await;
}

async fn every_kind_of_change_goes_through(db: Db) {
    people(&db).await.close().await;
    // As drizzle-kit and Prisma write them.
    let postgres = [
        "ALTER TABLE people ALTER COLUMN mail SET DATA TYPE text",
        "ALTER TABLE people ALTER COLUMN name SET DATA TYPE varchar(255)",
        "ALTER TABLE people ALTER COLUMN name SET DEFAULT 'nobody'",
        "ALTER TABLE people ALTER COLUMN name DROP DEFAULT",
        "ALTER TABLE people ADD COLUMN plan text NOT NULL DEFAULT 'free'",
        "ALTER TABLE people RENAME COLUMN bio TO biography",
        "ALTER TABLE people DROP COLUMN biography",
        "ALTER TABLE people ALTER COLUMN id SET DATA TYPE integer",
        "ALTER TABLE people DROP CONSTRAINT people_mail_key; CREATE UNIQUE INDEX people_mail ON people (mail)",
    ];
    let sqlite = [
        "ALTER TABLE people ADD COLUMN plan text NOT NULL DEFAULT 'free'",
        "ALTER TABLE people RENAME COLUMN bio TO biography",
        "ALTER TABLE people DROP COLUMN biography",
        // A table made anew, as Prisma and drizzle-kit do where SQLite cannot change a column.
        "CREATE TABLE new_people (id integer PRIMARY KEY AUTOINCREMENT, mail text UNIQUE, name text, handle text, status text);
         INSERT INTO new_people (id, mail, name, handle, status) SELECT id, mail, name, handle, status FROM people;
         DROP TABLE people; ALTER TABLE new_people RENAME TO people",
    ];
    let changes = if db.backend == Backend::Sqlite { &sqlite[..] } else { &postgres[..] };
    for (n, change) in (3..).zip(changes) {
        db.execute(change).await;
        all_goes_on(&db, n, change).await;
    }
}

async fn a_change_is_told(db: Db) {
    let store = people(&db).await;
    db.execute("ALTER TABLE people RENAME COLUMN mail TO email_address").await;
    // The application goes on meanwhile.
    db.execute("UPDATE people SET email_address = 'c@example.com' WHERE email_address = 'a@example.com'")
        .await;
    let told = store.table_problems().await.unwrap().join("\n");
    assert!(told.contains("email is mapped to `mail`, which is no column"), "{told}");
    store.close().await;
    let columns = [
        ("email", "email_address"),
        ("display_name", "name"),
        ("username", "handle"),
        ("account_state", "status"),
    ];
    let store = open(&db, adopted("id", &columns)).await;
    assert_eq!(store.table_problems().await.unwrap(), Vec::<String>::new());
    let renamed = event("user.updated", user("user_1", 1, Some("d@example.com"), None, "Ann"), 1);
    deliver(&store, &[renamed]).await;
    db.execute("UPDATE people SET email_address = NULL WHERE email_address = 'b@example.com'").await;
    assert_eq!(of(&store, "user_2").await.account_state, "incomplete");
    // Another one that no mapping knows of changes nothing here.
    db.execute("ALTER TABLE people ADD COLUMN plan text").await;
    assert_eq!(store.table_problems().await.unwrap(), Vec::<String>::new());
    db.execute("DROP TABLE people").await;
    let told = store.table_problems().await.unwrap().join("\n");
    assert!(told.contains("no table"), "{told}");
    store.close().await;
}

async fn the_trigger_steps_aside(db: Db) {
    let store = people(&db).await;
    let drop = "ALTER TABLE people DROP COLUMN status";
    // SQLite lets no column go that a trigger names.
    assert_eq!(db.try_execute(drop).await.is_err(), db.backend == Backend::Sqlite);
    store.run_steps(&store.release_plan()).await.unwrap();
    if db.backend == Backend::Sqlite {
        db.execute(drop).await;
    }
    db.execute("UPDATE people SET mail = NULL WHERE mail = 'a@example.com'").await;
    store.close().await;
    let store = open(&db, adopted("id", &COLUMNS[..3])).await;
    assert_eq!(
        of(&store, "user_1").await.account_state,
        "incomplete",
        "what was written meanwhile is corrected"
    );
    assert!(store.check_schema().await.is_ok());
    store.close().await;
}
