//! The outbox beside a users table elsewhere: what its triggers note, what they never do to the application, and how its
//! numbers are told from those of another life.

use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::store::{DatabaseUrl, OutboxNote, StoreError, TableElsewhere, TableNames, TableShape};

on_each_database!(empty:
    every_change_of_a_row_is_noted,
    what_is_rolled_back_is_not_noted,
    it_is_installed_again_and_taken_away_whole,
    every_type_of_key_is_read_back,
    an_outbox_of_another_life_has_another_epoch,
);

const ROWS: &str = "id text PRIMARY KEY, email text UNIQUE, \"updatedAt\" text";

async fn opened_as(db: &Db, names: TableNames) -> TableElsewhere {
    let fields = ["id", "email"].map(str::to_owned).to_vec();
    let shape = TableShape { table: "user", key: "id", version: "updatedAt", fields };
    TableElsewhere::open(&DatabaseUrl::parse(&db.url).unwrap(), shape, names).await.unwrap()
}

async fn installed(db: &Db) -> TableElsewhere {
    if db.backend == Backend::Sqlite {
        db.execute("PRAGMA journal_mode = WAL").await;
    }
    db.execute(&format!("CREATE TABLE \"user\" ({ROWS})")).await;
    let table = opened_as(db, TableNames::default()).await;
    assert_eq!(table.outbox_state(None).await.unwrap(), None);
    let script = table.outbox_installation().await.unwrap();
    table.run_script(&script).await.unwrap();
    table
}

async fn noted(table: &TableElsewhere) -> Vec<(String, String)> {
    let notes = table.notes_after(0, 100).await.unwrap();
    notes.into_iter().map(|note| (note.provider_id, note.op)).collect()
}

fn pairs(notes: &[(&str, &str)]) -> Vec<(String, String)> {
    notes.iter().map(|(id, op)| ((*id).to_owned(), (*op).to_owned())).collect()
}

async fn every_change_of_a_row_is_noted(db: Db) {
    let table = installed(&db).await;
    db.execute("INSERT INTO \"user\" VALUES ('a', 'a@example.com', ''), ('b', 'b@example.com', '')").await;
    db.execute("UPDATE \"user\" SET email = 'c@example.com' WHERE id = 'a'").await;
    db.execute("UPDATE \"user\" SET id = 'd' WHERE id = 'b'").await;
    db.execute("DELETE FROM \"user\" WHERE id = 'a'").await;
    let all = [
        ("a", "insert"),
        ("b", "insert"),
        ("a", "update"),
        ("d", "update"),
        ("b", "delete"),
        ("a", "delete"),
    ];
    assert_eq!(noted(&table).await, pairs(&all));
    let notes = table.notes_after(0, 100).await.unwrap();
    assert!(notes.windows(2).all(|pair| pair[0].seq < pair[1].seq && pair[0].at <= pair[1].at), "{notes:?}");
    assert!(notes.iter().all(|note| note.at.ends_with('Z') && note.at.len() >= 24), "{notes:?}");
    let state = table.outbox_state(None).await.unwrap().unwrap();
    assert_eq!((state.waiting, state.failures, state.is_concurrent), (6, 0, true));
    assert!((0..60_000).contains(&state.oldest_age_ms.unwrap()), "{state:?}");
    // The first four are taken, and no others with them.
    table.forget(&notes[..4].iter().map(|note| note.seq).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(noted(&table).await, pairs(&all[4..]));
    let content = db
        .query("SELECT user_id, op FROM headcount_outbox".replace("headcount_outbox", outbox(&db)).as_str())
        .await;
    assert_eq!(content.len(), 2);
}

fn outbox(db: &Db) -> &'static str {
    match db.backend {
        Backend::Sqlite => "headcount_outbox",
        _ => "headcount_outbox.headcount_outbox",
    }
}

async fn what_is_rolled_back_is_not_noted(db: Db) {
    let table = installed(&db).await;
    db.execute("INSERT INTO \"user\" VALUES ('a', 'a@example.com', '')").await;
    let twice = "BEGIN; INSERT INTO \"user\" VALUES ('b', 'b@example.com', ''); ROLLBACK";
    db.execute(twice).await;
    db.try_execute("INSERT INTO \"user\" VALUES ('c', 'a@example.com', '')").await.unwrap_err();
    assert_eq!(noted(&table).await, pairs(&[("a", "insert")]));
}

async fn it_is_installed_again_and_taken_away_whole(db: Db) {
    let table = installed(&db).await;
    db.execute("INSERT INTO \"user\" VALUES ('a', 'a@example.com', '')").await;
    let epoch = table.outbox_epoch().await.unwrap();
    // A column is renamed, and the outbox made again: what waits stays, and so does its life.
    db.execute("ALTER TABLE \"user\" RENAME COLUMN id TO \"the id\"").await;
    let columns = [("id".to_owned(), "the id".to_owned())].into();
    let renamed = opened_as(&db, TableNames { columns, ..TableNames::default() }).await;
    let script = renamed.outbox_installation().await.unwrap();
    renamed.run_script(&script).await.unwrap();
    renamed.run_script(&script).await.unwrap();
    db.execute("DELETE FROM \"user\"").await;
    assert_eq!(noted(&renamed).await, pairs(&[("a", "insert"), ("a", "delete")]));
    assert_eq!(renamed.outbox_epoch().await.unwrap(), epoch);
    renamed.run_script(&renamed.outbox_removal().await.unwrap()).await.unwrap();
    assert!(!renamed.has_outbox().await.unwrap());
    db.execute("INSERT INTO \"user\" VALUES ('b', 'b@example.com', '')").await;
    let left = match db.backend {
        Backend::Sqlite => "sqlite_master WHERE name LIKE 'headcount%'",
        _ => "pg_trigger WHERE tgname LIKE 'headcount%'",
    };
    assert_eq!(db.count(left).await, 0);
    // Made anew it is another life.
    renamed.run_script(&script).await.unwrap();
    assert_ne!(renamed.outbox_epoch().await.unwrap(), epoch);
}

/// What cannot be a key of the type is nobody's, and hides nobody.
async fn every_type_of_key_is_read_back(db: Db) {
    let uuid = "0198c0de-0000-7000-8000-000000000001";
    let types = match db.backend {
        Backend::Sqlite => vec![("text", "u1"), ("integer", "7")],
        _ => vec![("text", "u1"), ("varchar(40)", "u1"), ("uuid", uuid), ("integer", "7"), ("bigint", "7")],
    };
    for (kind, id) in types {
        db.execute(&format!("CREATE TABLE \"user\" (id {kind} PRIMARY KEY, email text, \"updatedAt\" text)"))
            .await;
        db.execute(&format!("INSERT INTO \"user\" VALUES ('{id}', 'a@example.com', '')")).await;
        let table = opened_as(&db, TableNames::default()).await;
        let asked = [id, "nobody", "99999999999999999999", "", "0198c0de", "7'"].map(str::to_owned);
        let rows = table.rows_of(&asked).await.unwrap();
        assert_eq!(
            rows,
            [(id.to_owned(), format!(r#"{{"id":"{id}","email":"a@example.com"}}"#))].map(|(key, row)| (
                key,
                if db.backend == Backend::Sqlite { row } else { row.replace(":", " : ").replace(",", ", ") }
            )),
            "{kind}"
        );
        db.execute("DROP TABLE \"user\"").await;
    }
}

async fn an_outbox_of_another_life_has_another_epoch(db: Db) {
    let table = installed(&db).await;
    let epoch = table.outbox_epoch().await.unwrap();
    assert_eq!(table.outbox_epoch().await.unwrap(), epoch);
    // As it was written down in a database that this one was restored from.
    let state = format!("{}_state", outbox(&db));
    db.execute(&format!("UPDATE {state} SET made_in = 'elsewhere'")).await;
    let after = table.outbox_epoch().await.unwrap();
    assert_ne!(after, epoch);
    assert_eq!(table.outbox_epoch().await.unwrap(), after);
}

/// PostgreSQL's trigger swallows whatever goes wrong, waits for nobody, and counts it where `status` sees it.
#[tokio::test(flavor = "multi_thread")]
async fn the_applications_write_goes_through_whatever_happens_to_the_outbox() {
    let db = Db::empty(Backend::Postgres).await;
    let table = installed(&db).await;
    let failures = || async { table.outbox_state(None).await.unwrap().unwrap().failures };
    db.execute("ALTER TABLE headcount_outbox.headcount_outbox ADD CONSTRAINT nobody CHECK (user_id = '')")
        .await;
    db.execute("INSERT INTO \"user\" VALUES ('a', 'a@example.com', '')").await;
    assert_eq!(failures().await, 1);
    let state = table.outbox_state(None).await.unwrap().unwrap();
    assert!(state.last_failure.unwrap().starts_with("SQLSTATE 23514 at "));
    db.execute("ALTER TABLE headcount_outbox.headcount_outbox DROP CONSTRAINT nobody").await;
    // Somebody holds the outbox.
    let holder = db.direct.clone();
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (done, is_done) = tokio::sync::oneshot::channel::<()>();
    let holding = tokio::spawn(async move {
        use sqlx::{Connection, Executor};
        let mut conn = sqlx::PgConnection::connect(&holder).await.unwrap();
        conn.execute("BEGIN; LOCK TABLE headcount_outbox.headcount_outbox").await.unwrap();
        locked.send(()).unwrap();
        let _ = is_done.await;
        conn.execute("COMMIT").await.unwrap();
    });
    is_locked.await.unwrap();
    db.execute("INSERT INTO \"user\" VALUES ('b', 'b@example.com', '')").await;
    done.send(()).unwrap();
    holding.await.unwrap();
    assert_eq!(failures().await, 2);
    db.execute("DROP TABLE headcount_outbox.headcount_outbox").await;
    db.execute("UPDATE \"user\" SET email = 'c@example.com' WHERE id = 'b'").await;
    db.execute("DROP TABLE headcount_outbox.headcount_outbox_state").await;
    db.execute("DELETE FROM \"user\" WHERE id = 'b'").await;
    assert_eq!(db.count("\"user\"").await, 1);
    // A role that has no right to the outbox writes all the same.
    let table = opened_as(&db, TableNames::default()).await;
    table.run_script(&table.outbox_installation().await.unwrap()).await.unwrap();
    let role = format!("app_{}", db.one("SELECT CAST(current_database() AS text)").await);
    db.execute(&format!("CREATE ROLE {role}; GRANT INSERT ON \"user\" TO {role}")).await;
    db.execute(&format!("SET ROLE {role}; INSERT INTO \"user\" VALUES ('e', 'e@example.com', '')")).await;
    assert_eq!(noted(&table).await, pairs(&[("e", "insert")]));
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// A transaction that commits late has lower numbers than are gone already.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_not_skipped() {
    use sqlx::{Connection, Executor};
    let db = Db::empty(Backend::Postgres).await;
    let table = installed(&db).await;
    let mut late = sqlx::PgConnection::connect(&db.direct).await.unwrap();
    late.execute("BEGIN; INSERT INTO \"user\" VALUES ('late', 'l@example.com', '')").await.unwrap();
    db.execute("INSERT INTO \"user\" VALUES ('early', 'e@example.com', '')").await;
    let first: Vec<OutboxNote> = table.notes_after(0, 100).await.unwrap();
    assert_eq!(first.iter().map(|note| &*note.provider_id).collect::<Vec<_>>(), ["early"]);
    late.execute("COMMIT").await.unwrap();
    table.forget(&first.iter().map(|note| note.seq).collect::<Vec<_>>()).await.unwrap();
    let second = table.notes_after(0, 100).await.unwrap();
    assert_eq!(second.iter().map(|note| &*note.provider_id).collect::<Vec<_>>(), ["late"]);
    assert!(second[0].seq < first[0].seq);
}

/// What is read of a file that another one has taken the place of is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_put_in_the_place_is_read_anew() {
    let db = Db::empty(Backend::Sqlite).await;
    let table = installed(&db).await;
    let epoch = table.outbox_epoch().await.unwrap();
    let path = db.url.strip_prefix("sqlite://").unwrap();
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    std::fs::copy(path, format!("{path}.restored")).unwrap();
    std::fs::rename(format!("{path}.restored"), path).unwrap();
    assert!(matches!(table.notes_after(0, 1).await, Err(StoreError::Replaced)));
    let again = opened_as(&db, TableNames::default()).await;
    assert_ne!(again.outbox_epoch().await.unwrap(), epoch);
}
