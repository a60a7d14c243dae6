//! Better Auth's outbox, drained by a worker that has nothing else: no delivery, no read on schedule.

use super::process::{Server, headcount, run};
use super::support::wait::until;
use super::support::{Backend, Db};
use crate::on_each_database;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use std::time::Duration;
use tokio::time::Instant;

on_each_database!(
    the_outbox_alone_keeps_the_rows_equal,
    whatever_lies_in_an_outbox_is_got_over,
    a_restored_outbox_is_not_taken_for_known,
    a_standstill_is_told,
    a_busy_application_is_not_written_to,
);

const COLUMNS: &str = r#"id text PRIMARY KEY, name text NOT NULL, email text NOT NULL, "emailVerified" boolean NOT NULL DEFAULT false, "createdAt" text NOT NULL, "updatedAt" text NOT NULL, banned boolean"#;
const OUTBOX: &str = "headcount_outbox.headcount_outbox";

/// The application's database, with a `user` table beside which there is an outbox.
struct Application {
    db: Db,
    /// With a configuration that never polls: nothing is found by that.
    folder: tempfile::TempDir,
}

impl Application {
    async fn start(like: &Db) -> Self {
        let db = match like.backend {
            Backend::Sqlite => Db::empty(Backend::Sqlite).await,
            _ => Db::empty(Backend::Postgres).await,
        };
        if db.backend == Backend::Sqlite {
            db.execute("PRAGMA journal_mode = WAL").await;
        }
        db.execute(&format!("CREATE TABLE \"user\" ({COLUMNS})")).await;
        let folder = tempfile::tempdir().unwrap();
        let text = "[sources.better-auth]\nkind = \"better-auth\"\ndatabase_url_env = \"APPLICATION_DATABASE\"\n\
                    poll = \"off\"\n";
        std::fs::write(folder.path().join("headcount.toml"), text).unwrap();
        Self { db, folder }
    }

    async fn write(&self, sql: &str) {
        let sql = match self.db.backend {
            Backend::Sqlite => sql.replace("headcount_outbox.", ""),
            _ => sql.to_owned(),
        };
        self.db.execute(&sql).await;
    }

    async fn add(&self, ids: impl IntoIterator<Item = String>) {
        let row = |id: String| {
            format!(
                "('{id}', 'Name of {id}', '{id}@example.com', true, '2026-01-02T03:04:05.006Z', '2026-01-02T03:04:05.006Z')"
            )
        };
        let rows: Vec<String> = ids.into_iter().map(row).collect();
        let columns = r#"id, name, email, "emailVerified", "createdAt", "updatedAt""#;
        self.write(&format!("INSERT INTO \"user\" ({columns}) VALUES {}", rows.join(", "))).await;
    }

    async fn rows(&self) -> Vec<Vec<Option<String>>> {
        let mut rows = self.db.query("SELECT id, name, email FROM \"user\"").await;
        rows.sort();
        rows
    }

    async fn waiting(&self) -> u64 {
        match self.db.backend {
            Backend::Sqlite => self.db.count("headcount_outbox").await,
            _ => self.db.count(OUTBOX).await,
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("APPLICATION_DATABASE", self.db.url.clone()),
            ("HEADCOUNT_CONFIG", self.folder.path().join("headcount.toml").display().to_string()),
            ("HEADCOUNT_RESYNC_SCHEDULE", "off".to_owned()),
            ("HEADCOUNT_LOG", "warn".to_owned()),
        ]
    }

    fn command(&self, db: &Db, args: &[&str]) -> (Option<i32>, String) {
        let mut command = headcount(&db.url);
        let output = run(command.envs(self.variables()).args(args));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    fn install(&self, db: &Db) {
        let (code, told) = self.command(db, &["source", "install", "better-auth", "--apply"]);
        assert_eq!(code, Some(0), "{told}");
    }

    async fn serve(&self, db: &Db) -> Server {
        let variables = self.variables();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Server::start_with(db, &[], &variables).await
    }
}

async fn people(db: &Db) -> Vec<Vec<Option<String>>> {
    let sql = "SELECT i.provider_id, u.display_name, u.email
         FROM headcount.identities i JOIN users u ON CAST(u.id AS text) = i.user_id WHERE i.state <> 'deleted'";
    let mut people = db.query(sql).await;
    people.sort();
    people
}

async fn equal(db: &Db, application: &Application) {
    until("the rows are equal", || async {
        people(db).await == application.rows().await && application.waiting().await == 0
    })
    .await;
}

async fn the_outbox_alone_keeps_the_rows_equal(db: Db) {
    let application = Application::start(&db).await;
    application.install(&db);
    let server = application.serve(&db).await;
    // More than are taken at once.
    application.add((0..1_200).map(|n| format!("u{n:04}"))).await;
    equal(&db, &application).await;
    // Raw SQL that moves no `updatedAt`, and one that sets it back.
    application.write("UPDATE \"user\" SET name = 'By SQL' WHERE id = 'u0001'").await;
    let past = "UPDATE \"user\" SET name = 'Of the past', \"updatedAt\" = '2001-01-01T00:00:00.000Z'";
    application.write(&format!("{past} WHERE id = 'u0002'")).await;
    application.write("DELETE FROM \"user\" WHERE id IN ('u0003', 'u0004')").await;
    equal(&db, &application).await;
    assert_eq!(db.count("headcount.identities WHERE state = 'deleted' AND deleted_by = 'event'").await, 2);
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 2);
    assert_eq!(db.count("headcount.inbox WHERE status IN ('dead', 'held', 'pending')").await, 0);
    assert_eq!(db.count("headcount.runs WHERE mode <> 'user'").await, 0, "nothing else has found it");
    // Many changes of one row, some within one transaction.
    for n in 0..20 {
        application.write(&format!("UPDATE \"user\" SET name = 'Version {n}' WHERE id = 'u0005'")).await;
    }
    application
        .write("BEGIN; DELETE FROM \"user\" WHERE id = 'u0006'; UPDATE \"user\" SET id = 'moved' WHERE id = 'u0007'; COMMIT")
        .await;
    equal(&db, &application).await;
    let message = db.one("SELECT max(message_id) FROM headcount.inbox").await;
    let (epoch, seq) = message.split_once('-').unwrap();
    assert!(epoch.len() == 16 && seq.parse::<u64>().is_ok(), "{message}");
    drop(server);
    let (code, told) = application.command(&db, &["status", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["sources"][0]["outbox"]["waiting"]), (Some(0), &Value::from(0)), "{told}");
}

/// Rows of another table, of a future version, of an id that nobody has, and twice the same.
async fn whatever_lies_in_an_outbox_is_got_over(db: Db) {
    let application = Application::start(&db).await;
    application.install(&db);
    let at = "'2026-01-02T03:04:05.006Z'";
    for (id, op) in [
        ("session-1", "update"),
        ("nobody", "delete"),
        ("u1", "truncate"),
        ("", "delete"),
        ("o''clock; --", "insert"),
        ("u1", "merge"),
    ] {
        application
            .write(&format!("INSERT INTO {OUTBOX} (user_id, op, at) VALUES ('{id}', '{op}', {at})"))
            .await;
    }
    application.add(["u1".to_owned()]).await;
    let _server = application.serve(&db).await;
    equal(&db, &application).await;
    assert_eq!(db.count("users").await, 1);
    application.write("UPDATE \"user\" SET name = 'Later' WHERE id = 'u1'").await;
    equal(&db, &application).await;
    // A column is renamed while it drains, which its snake case answers for.
    application.write("ALTER TABLE \"user\" RENAME COLUMN \"updatedAt\" TO updated_at").await;
    application.write("UPDATE \"user\" SET name = 'After the migration' WHERE id = 'u1'").await;
    equal(&db, &application).await;
}

/// After a restore the same numbers come once more, for other changes.
async fn a_restored_outbox_is_not_taken_for_known(db: Db) {
    let application = Application::start(&db).await;
    application.install(&db);
    let server = application.serve(&db).await;
    application.add((0..9).map(|n| format!("u{n}"))).await;
    equal(&db, &application).await;
    drop(server);
    let begin = match application.db.backend {
        Backend::Sqlite => "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'headcount_outbox'",
        _ => "ALTER TABLE headcount_outbox.headcount_outbox ALTER COLUMN seq RESTART",
    };
    application.write(begin).await;
    application
        .write("UPDATE headcount_outbox.headcount_outbox_state SET made_in = 'before the restore'")
        .await;
    application.write("UPDATE \"user\" SET name = 'Restored'").await;
    let _server = application.serve(&db).await;
    equal(&db, &application).await;
}

/// SQLite: an application that is never quiet for five seconds. `BEGIN` alone takes no lock, so that its write fails where
/// anybody has written since its read.
async fn a_busy_application_is_not_written_to(db: Db) {
    if db.backend != Backend::Sqlite {
        return;
    }
    let application = Application::start(&db).await;
    application.install(&db);
    let server = application.serve(&db).await;
    let mut theirs = SqliteConnection::connect(&application.db.url).await.unwrap();
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < Duration::from_secs(34) {
        let transaction = format!(
            "BEGIN; SELECT count(*) FROM \"user\"; INSERT INTO \"user\" (id, name, email, \"emailVerified\", \"createdAt\", \"updatedAt\")
             VALUES ('b{written}', 'Busy', 'b{written}@example.com', 1, '2026-01-02T03:04:05.006Z', '2026-01-02T03:04:05.006Z'); COMMIT"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(transaction))
            .execute(&mut theirs)
            .await
            .expect("nobody has written in between");
        written += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("the last one is here", || async { people(&db).await.len() as u64 == written }).await;
    assert_eq!(application.waiting().await, written, "the notes lie there still");
    let (code, told) = application.command(&db, &["status"]);
    assert_eq!(code, Some(0), "and none of them waits: {told}");
    // The next process takes them away, and none of them twice.
    drop(server);
    let deliveries = db.count("headcount.deliveries").await;
    let _server = application.serve(&db).await;
    equal(&db, &application).await;
    assert_eq!(db.count("headcount.deliveries").await, deliveries);
}

async fn a_standstill_is_told(db: Db) {
    let application = Application::start(&db).await;
    let (code, told) = application.command(&db, &["source", "install", "better-auth"]);
    assert!(code == Some(0) && told.contains("CREATE TRIGGER headcount_outbox_delete"), "{told}");
    assert!(told.starts_with("BEGIN;") && told.trim_end().ends_with("COMMIT;"), "{told}");
    application.write(told.strip_prefix("BEGIN;").unwrap().trim_end().strip_suffix("COMMIT;").unwrap()).await;
    application.add(["u1".to_owned()]).await;
    assert_eq!(application.command(&db, &["status"]).0, Some(0), "nobody is late yet");
    application.write(&format!("UPDATE {OUTBOX} SET at = '2026-01-02T03:04:05.006Z'")).await;
    let (code, told) = application.command(&db, &["status"]);
    assert!(code == Some(3) && told.contains("nobody drains it"), "{told}");
    let server = application.serve(&db).await;
    equal(&db, &application).await;
    let (code, told) = application.command(&db, &["source", "install", "better-auth", "--uninstall"]);
    assert_eq!(code, Some(0), "{told}");
    application.add(["u2".to_owned()]).await;
    // It is found again by the worker that serves.
    application.install(&db);
    application.write("UPDATE \"user\" SET name = 'Both'").await;
    equal(&db, &application).await;
    drop(server);
    let state = "headcount_outbox.headcount_outbox_state";
    application.write(&format!("UPDATE {state} SET failures = 2, last_failure = 'a lock'")).await;
    let (code, told) = application.command(&db, &["status"]);
    assert!(code == Some(3) && told.contains("could not"), "{told}");
    let (code, told) = application.command(&db, &["resync", "better-auth"]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = application.command(&db, &["status"]);
    assert_eq!(code, Some(0), "a full run has found what was not noted: {told}");
    if db.backend == Backend::Sqlite {
        application.db.execute("PRAGMA journal_mode = DELETE").await;
        let (code, told) = application.command(&db, &["status"]);
        assert!(code == Some(3) && told.contains("not in WAL mode"), "{told}");
        assert!(
            application.command(&db, &["source", "install", "better-auth", "--apply"]).1.contains("ALARM")
        );
    }
}
