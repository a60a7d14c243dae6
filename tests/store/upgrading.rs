//! Every released schema becomes the newest one: with what it held, and in its catalog not to be told from a new database.
//!
//! `tests/schemas` has what the newest headcount of each schema version made beside its numbered migrations: the users table, its
//! triggers, the view and the function for applications, and its settings. After a release its file is added there, from
//! `headcount migrate --plan`, and is never changed.

use super::catalog::catalog;
use super::support::{Backend, Db, event, user};
use super::{deliver, drain};
use crate::on_each_database;
use headcount::core::columns::Column;
use headcount::store::Store;
use std::path::{Path, PathBuf};

on_each_database!(
    empty:
    every_released_schema_becomes_the_newest_one,
    a_row_beside_an_adopted_table_has_every_column,
);

/// The files of this engine, the first schema version first.
fn released(backend: Backend) -> Vec<PathBuf> {
    let engine = if backend == Backend::Sqlite { "sqlite" } else { "postgres" };
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas")).join(engine);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A database as that version left it, with a user, its account, and a delivery that waits.
async fn as_released(db: &Db, store: &Store, version: usize, file: &Path) {
    let bookkeeping = match db.backend {
        Backend::Sqlite => {
            "CREATE TABLE IF NOT EXISTS headcount_migrations (version integer PRIMARY KEY, name text NOT NULL,
                 checksum text NOT NULL, oldest_reader integer NOT NULL, applied_at text NOT NULL)"
        }
        _ => {
            "CREATE SCHEMA headcount;
             CREATE TABLE headcount.migrations (version bigint PRIMARY KEY, name text NOT NULL,
                 checksum text NOT NULL, oldest_reader bigint NOT NULL, applied_at timestamptz NOT NULL)"
        }
    };
    db.execute(bookkeeping).await;
    let plan = store.migration_plan(None).await.unwrap();
    store.run_steps(&plan[..version]).await.unwrap();
    assert!(plan[version - 1].title.starts_with(&format!("migration {version:04}")));
    db.execute(&std::fs::read_to_string(file).unwrap()).await;
    let (id, at) = ("01900000-0000-7000-8000-00000000000a", "'2026-01-01T00:00:00.000Z'");
    let body = event("user.updated", user("user_1", 5, Some("a@example.com"), None, "New"), 5);
    db.execute(&format!(
        "INSERT INTO users (id, email, first_name) VALUES ('{id}', 'a@example.com', 'Old');
         INSERT INTO headcount.identities (source, provider_id, user_id, state, version, profile, first_seen_at)
             VALUES ('clerk', 'user_1', '{id}', 'present', 1, '{{\"first_name\": \"Old\"}}', {at})"
    ))
    .await;
    let delivery = format!("'clerk', 'msg_waits', 'user.updated', 'user_1', {at}, 's', {at}, '{body}'");
    let columns = "source, message_id, event_type, provider_id, signed_at, signature, received_at, body";
    db.execute(&match version {
        // Until then a delivery's state stood in its own row.
        ..8 => format!(
            "INSERT INTO headcount.inbox ({columns}, status, next_attempt_at) VALUES ({delivery}, 'pending', {at})"
        ),
        _ => format!(
            "INSERT INTO headcount.deliveries ({columns}) VALUES ({delivery});
             INSERT INTO headcount.delivery_states (seq, status, next_attempt_at)
                 SELECT seq, 'pending', {at} FROM headcount.deliveries"
        ),
    })
    .await;
}

async fn every_released_schema_becomes_the_newest_one(new: Db) {
    let store = new.store().await;
    store.migrate(None).await.unwrap();
    let newest = catalog(&new).await;
    assert!(newest.len() > 50, "there is much to compare: {newest:#?}");
    let files = released(new.backend);
    let versions = new.count("headcount.migrations").await;
    assert!(
        files.len() as u64 + 1 >= versions,
        "each schema version but the newest has a file in tests/schemas"
    );
    for (n, file) in files.iter().enumerate() {
        let version = n + 1;
        let old = Db::empty(new.backend).await;
        let store = old.store().await;
        as_released(&old, &store, version, file).await;
        store.migrate(None).await.unwrap();
        store.check_schema().await.unwrap();
        assert_eq!(store.migrate(None).await.unwrap().steps, []);
        let upgraded = catalog(&old).await;
        let missing: Vec<_> = newest.difference(&upgraded).collect();
        let left_over: Vec<_> = upgraded.difference(&newest).collect();
        assert!(
            missing.is_empty() && left_over.is_empty(),
            "schema {version} became another one. Only a new database has {missing:#?}; only this one has {left_over:#?}"
        );
        drain(&store).await;
        assert_eq!(
            old.one("SELECT first_name FROM users").await,
            "New",
            "schema {version}: what waited is applied"
        );
        let renamed = event("user.updated", user("user_1", 9, Some("a@example.com"), None, "Newer"), 9);
        deliver(&store, &[renamed]).await;
        assert_eq!(old.one("SELECT first_name FROM users").await, "Newer", "schema {version}: it goes on");
        assert_eq!((old.count("users").await, old.count("headcount.changes").await), (1, 2));
    }
}

/// A column that a table of the application's has no place for lies in `headcount.accounts`, which migrations alone make.
async fn a_row_beside_an_adopted_table_has_every_column(db: Db) {
    db.store().await.migrate(None).await.unwrap();
    for column in Column::ALL {
        db.query(&format!("SELECT CAST({} AS text) FROM headcount.accounts", column.name())).await;
    }
}
