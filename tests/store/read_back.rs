//! What the database makes of a value is what headcount has put there: triggers, types and defaults of the application's.

use super::deliver;
use super::support::{Backend, Db, event, user};
use crate::on_each_database;

on_each_database!(
    a_value_that_a_trigger_changes_is_written_once_and_follows_the_provider,
    what_the_application_writes_later_is_its_own,
    nothing_of_it_stays_once_the_two_agree,
    a_trigger_that_is_gone_leaves_nothing_behind,
);

/// A trigger of the application's that keeps user names and addresses in small letters.
async fn small_letters(db: &Db) {
    match db.backend {
        Backend::Sqlite => {
            for when in ["INSERT", "UPDATE"] {
                db.execute(&format!(
                    "CREATE TRIGGER small_{when} AFTER {when} ON users
                     WHEN new.username <> lower(new.username) OR new.email <> lower(new.email)
                     BEGIN UPDATE users SET username = lower(username), email = lower(email) WHERE id = new.id; END"
                ))
                .await;
            }
        }
        _ => {
            db.execute(
                "CREATE FUNCTION small() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     NEW.username := lower(NEW.username); NEW.email := lower(NEW.email); RETURN NEW; END $$;
                 CREATE TRIGGER small BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION small()",
            )
            .await;
        }
    }
}

fn named(version: i64, username: &str) -> String {
    let address = format!("{username}@Example.com");
    event("user.updated", user("user_1", version, Some(&address), Some(username), "A"), version)
}

async fn a_value_that_a_trigger_changes_is_written_once_and_follows_the_provider(db: Db) {
    small_letters(&db).await;
    let store = db.store().await;
    deliver(&store, &[named(1, "Bob")]).await;
    assert_eq!(db.one("SELECT username || ' ' || email FROM users").await, "bob bob@example.com");
    deliver(&store, &[named(2, "Robert")]).await;
    assert_eq!(db.one("SELECT username || ' ' || email FROM users").await, "robert robert@example.com");
    let told = db.count("headcount.changes").await;
    // The same once more, with a version of its own: nothing is to be written.
    deliver(&store, &[named(3, "Robert")]).await;
    assert_eq!(db.count("headcount.changes").await, told);
    assert_eq!(db.count("headcount.altered_values").await, 2);
    store.close().await;
}

async fn what_the_application_writes_later_is_its_own(db: Db) {
    small_letters(&db).await;
    let store = db.store().await;
    deliver(&store, &[named(1, "Bob")]).await;
    db.execute("UPDATE users SET username = 'carl'").await;
    deliver(&store, &[named(2, "Robert")]).await;
    assert_eq!(db.one("SELECT username || ' ' || email FROM users").await, "carl robert@example.com");
    store.close().await;
}

async fn nothing_of_it_stays_once_the_two_agree(db: Db) {
    small_letters(&db).await;
    let store = db.store().await;
    deliver(&store, &[named(1, "Bob")]).await;
    let agreed = event("user.updated", user("user_1", 2, Some("bob@example.com"), Some("bob"), "A"), 2);
    deliver(&store, &[agreed]).await;
    assert_eq!(db.count("headcount.altered_values").await, 0);
    store.close().await;
}

async fn a_trigger_that_is_gone_leaves_nothing_behind(db: Db) {
    small_letters(&db).await;
    let store = db.store().await;
    deliver(&store, &[named(1, "Bob")]).await;
    assert_eq!(db.count("headcount.altered_values").await, 2);
    match db.backend {
        Backend::Sqlite => db.execute("DROP TRIGGER small_INSERT; DROP TRIGGER small_UPDATE").await,
        _ => db.execute("DROP TRIGGER small ON users").await,
    }
    deliver(&store, &[named(2, "Robert")]).await;
    assert_eq!(db.one("SELECT username || ' ' || email FROM users").await, "Robert Robert@Example.com");
    assert_eq!(db.count("headcount.altered_values").await, 0);
    store.close().await;
}
