//! A provider's own table in an application's database, in every form that its adapters and ORMs give it: the same rows
//! come of all of them.

use super::support::{Backend, Db};
use headcount::core::event::Snapshot;
use headcount::core::layout::Layout;
use headcount::source::directory::Listed;
use headcount::source::{Provider, provider};
use headcount::store::{DatabaseUrl, StoreError, TableElsewhere, TableNames, TableShape};
use std::sync::Arc;

fn better_auth() -> Arc<dyn Provider> {
    provider("better-auth").unwrap()
}

async fn opened(db: &Db, names: TableNames) -> TableElsewhere {
    let provider = better_auth();
    let table = provider.table().unwrap();
    let fields = provider.keeps().names();
    let shape = TableShape { table: table.name, key: table.key, version: table.version, fields };
    TableElsewhere::open(&DatabaseUrl::parse(&db.url).unwrap(), shape, names).await.unwrap()
}

fn snapshots(rows: &[String]) -> Vec<(String, Snapshot)> {
    let provider = better_auth();
    let body = format!(r#"{{"users":[{}],"total":{},"limit":9}}"#, rows.join(","), rows.len());
    let directory = provider.table().unwrap().directory;
    let Listed { entries, .. } = directory.read_page(&body, &Layout::default(), &provider.keeps()).unwrap();
    entries.into_iter().map(|entry| (entry.provider_id.unwrap(), entry.snapshot.unwrap())).collect()
}

fn named(table: &str, columns: &[(&str, &str)]) -> TableNames {
    let columns = columns.iter().map(|(field, column)| ((*field).to_owned(), (*column).to_owned()));
    TableNames { table: (!table.is_empty()).then(|| table.to_owned()), columns: columns.collect() }
}

const KYSELY: &str = r#"id text PRIMARY KEY, name text, email text, "emailVerified" boolean, "createdAt" timestamptz, "updatedAt" timestamptz, banned boolean, "banExpires" timestamptz, username text"#;
const DRIZZLE: &str = "id text PRIMARY KEY, name text, email text, email_verified boolean, created_at timestamp, updated_at timestamp, banned boolean, ban_expires timestamp, username text";
const PRISMA: &str = r#"id uuid PRIMARY KEY, name text, email text, "emailVerified" boolean, "createdAt" timestamp(3), "updatedAt" timestamp(3), banned boolean, "banExpires" timestamp(3), username text"#;
const SERIAL: &str = r#"id serial PRIMARY KEY, name text, mail varchar(200), "emailVerified" boolean, "createdAt" timestamptz, changed timestamptz, banned boolean, "banExpires" timestamptz, username text"#;

/// What a table is called, its columns, the id, the names to be configured.
type Form = (&'static str, &'static str, &'static str, TableNames);

fn forms_of_postgres() -> Vec<Form> {
    let uuid = "0198c0de-0000-7000-8000-000000000001";
    vec![
        (r#""user""#, KYSELY, "u1", TableNames::default()),
        (r#""user""#, DRIZZLE, "u1", TableNames::default()),
        (r#""user""#, PRISMA, uuid, TableNames::default()),
        (
            r#"auth."people of it""#,
            SERIAL,
            "7",
            named("auth.people of it", &[("email", "mail"), ("updatedAt", "changed")]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_postgresql_is_the_same_row() {
    for (table, columns, id, names) in forms_of_postgres() {
        let db = Db::empty(Backend::Postgres).await;
        // Whoever writes a column without zone writes UTC, whatever the session's zone is.
        db.execute(&format!(
            "CREATE SCHEMA auth; ALTER DATABASE {} SET timezone = 'America/New_York'; CREATE TABLE {table} ({columns})",
            db.one("SELECT CAST(current_database() AS text)").await
        ))
        .await;
        let values = "'Ann', 'ann@example.com', true, '2026-01-02 03:04:05.006', '2026-01-02 03:04:05.007', true, '2126-01-02 00:00:00', 'ann'";
        db.execute(&format!("SET timezone = 'UTC'; INSERT INTO {table} VALUES ('{id}', {values})")).await;
        is_ann(&db, names, id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_sqlite_is_the_same_row() {
    let columns = r#"id TEXT PRIMARY KEY, name TEXT, email TEXT, "emailVerified" INTEGER, "createdAt" DATE, "updatedAt" DATE, banned INTEGER, "banExpires" DATE, username TEXT"#;
    let numbers = "1767323045006, 1767323045007, 1, 4922985600000";
    let texts = "'2026-01-02T03:04:05.006Z', '2026-01-02T03:04:05.007Z', 1, '2126-01-02T00:00:00.000Z'";
    for (key, times) in [("u1", numbers), ("u1", texts), ("7", numbers)] {
        let db = Db::empty(Backend::Sqlite).await;
        let columns = if key == "7" { columns.replace("id TEXT", "id INTEGER") } else { columns.to_owned() };
        db.execute(&format!("CREATE TABLE \"user\" ({columns})")).await;
        db.execute(&format!(
            "INSERT INTO \"user\" VALUES ('{key}', 'Ann', 'ann@example.com', 1, {times}, 'ann')"
        ))
        .await;
        is_ann(&db, TableNames::default(), key).await;
    }
}

async fn is_ann(db: &Db, names: TableNames, id: &str) {
    let table = opened(db, names).await;
    let found = snapshots(&table.rows_after(None, 10).await.unwrap());
    let [(key, snapshot)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((key.as_str(), snapshot.version), (id, 1_767_323_045_007_000));
    let ends = snapshot.suspended_until.map(|at| at.to_string());
    assert_eq!((snapshot.suspended, ends.as_deref()), (true, Some("2126-01-02T00:00:00.000Z")));
    assert!(snapshot.profile.contains(r#""createdAt":"2026-01-02T03:04:05.006Z""#), "{}", snapshot.profile);
    assert!(snapshot.profile.contains(r#""email":"ann@example.com""#), "{}", snapshot.profile);
    assert_eq!(snapshots(&[table.row(id).await.unwrap().unwrap()]), found, "the same by its id");
    assert_eq!(snapshots(&table.newest(0, 5).await.unwrap()), found);
    assert_eq!(table.rows_after(Some(id), 10).await.unwrap(), Vec::<String>::new());
    assert_eq!((table.count().await.unwrap(), table.is_standby().await.unwrap()), (1, false));
}

/// The walk goes on behind an id in the order that the column itself has, whatever its collation is.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_meets_everybody_once() {
    for backend in [Backend::Postgres, Backend::Sqlite] {
        let db = Db::empty(backend).await;
        let columns = "id text PRIMARY KEY, email text, \"updatedAt\" text";
        db.execute(&format!("CREATE TABLE \"user\" ({columns})")).await;
        let ids: Vec<String> =
            ["a", "B", "b", "A", "ä", "_", "Z1", "z2", "é", "10", "9"].map(str::to_owned).to_vec();
        for id in &ids {
            let row = format!("('{id}', '{id}@example.com', '2026-01-02T03:04:05.007Z')");
            db.execute(&format!("INSERT INTO \"user\" VALUES {row}")).await;
        }
        let table = opened(&db, TableNames::default()).await;
        let (mut met, mut after) = (Vec::new(), None);
        loop {
            let page = snapshots(&table.rows_after(after.as_deref(), 3).await.unwrap());
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            met.extend(page.into_iter().map(|(id, _)| id));
        }
        met.sort();
        let mut expected = ids;
        expected.sort();
        assert_eq!(met, expected, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named() {
    let db = Db::empty(Backend::Sqlite).await;
    db.execute("CREATE TABLE person (id TEXT, e_mail TEXT); CREATE TABLE dated (id TEXT, e_mail TEXT, updated_at TEXT)").await;
    for (names, said) in [
        (TableNames::default(), "no table \"user\""),
        (named("person", &[]), "no column for updatedAt"),
        (
            named("dated", &[("email", "email_address")]),
            "no column for email_address; the nearest is `e_mail`",
        ),
    ] {
        let error = opened(&db, names).await.rows_after(None, 1).await.unwrap_err();
        assert!(matches!(&error, StoreError::Setup(told) if told.contains(said)), "{error}");
    }
    let missing = DatabaseUrl::parse("sqlite:///tmp/headcount-no-such-file.db").unwrap();
    let shape = TableShape { table: "user", key: "id", version: "updatedAt", fields: vec!["id".to_owned()] };
    assert!(TableElsewhere::open(&missing, shape, TableNames::default()).await.is_err());
}

/// A column of the application's own is read where the configuration keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_besides_is_read_as_well() {
    for backend in [Backend::Postgres, Backend::Sqlite] {
        let db = Db::empty(backend).await;
        db.execute("CREATE TABLE \"user\" (id text, \"updatedAt\" text, the_plan text, secret text)").await;
        db.execute("INSERT INTO \"user\" VALUES ('u1', '2026-01-02T03:04:05.007Z', 'gold', 'nobody''s')")
            .await;
        let fields = ["id", "updatedAt", "thePlan", "name"].map(str::to_owned).to_vec();
        let shape = TableShape { table: "user", key: "id", version: "updatedAt", fields };
        let url = DatabaseUrl::parse(&db.url).unwrap();
        let table = TableElsewhere::open(&url, shape, TableNames::default()).await.unwrap();
        let row: serde_json::Value = serde_json::from_str(&table.row("u1").await.unwrap().unwrap()).unwrap();
        let expected =
            serde_json::json!({"id": "u1", "updatedAt": "2026-01-02T03:04:05.007Z", "thePlan": "gold"});
        assert_eq!(row, expected, "{backend:?}");
    }
}
