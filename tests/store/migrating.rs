//! The tables are made once, by one of many, and never by force.

use super::adopting::{adopted, open};
use super::support::{Backend, Db, event, user};
use super::{delivery, drain, with_status};
use crate::on_each_database;
use headcount::store::{Acceptance, StoreError};
use sqlx::Connection;

on_each_database!(
    empty:
    several_start_at_once,
    a_foreign_users_table_is_refused,
    somebody_elses_schema_is_refused,
    a_table_of_any_name_is_worked_on,
    the_plan_changes_nothing,
    what_does_not_fit_is_told,
    a_lost_trigger_is_put_back,
    nobody_waits_behind_a_change_of_the_schema,
    nobody_else_gets_at_the_state,
    a_newer_schema_is_left_to_the_newer_one,
    no_index_is_mistaken_for_the_key_of_accounts,
    an_inbox_of_one_table_becomes_two,
);

/// Schema 7 had the state in the delivery's own row.
async fn an_inbox_of_one_table_becomes_two(db: Db) {
    let store = db.store().await;
    let plan = store.migration_plan(None).await.unwrap();
    let earlier = plan.iter().position(|step| step.title.starts_with("migration 0008")).unwrap();
    let (schema, time) = match db.backend {
        Backend::Sqlite => ("", "text"),
        _ => ("CREATE SCHEMA headcount;", "timestamptz"),
    };
    db.execute(&format!(
        "{schema} CREATE TABLE headcount.migrations (version bigint PRIMARY KEY, name text NOT NULL,
             checksum text NOT NULL, oldest_reader bigint NOT NULL, applied_at {time} NOT NULL)"
    ))
    .await;
    store.run_steps(&plan[..earlier]).await.unwrap();
    let body = event("user.created", user("user_1", 0, None, None, "A"), 0);
    let row = |id: &str, status: &str, error: &str, body: &str| {
        let at = "'2026-01-01T00:00:00.000Z'";
        format!(
            "('clerk', '{id}', 'user.created', 'user_1', {at}, 's', {at}, '{body}', '{status}', 2, {at}, {error})"
        )
    };
    let rows = [
        row("msg_1", "pending", "NULL", &body),
        row("msg_2", "dead", "'odd'", "{}"),
        row("msg_3", "applied", "NULL", "{}"),
        row("msg_4", "applied", "NULL", "{}"),
    ];
    db.execute(&format!(
        "INSERT INTO headcount.inbox (source, message_id, event_type, provider_id, signed_at, signature, received_at, body,
             status, attempts, next_attempt_at, last_error) VALUES {};
         DELETE FROM headcount.inbox WHERE message_id = 'msg_4'",
        rows.join(", ")
    ))
    .await;
    store.migrate(None).await.unwrap();
    let dead = store.deliveries(&with_status("dead"), true).await.unwrap().remove(0);
    assert_eq!((dead.seq, dead.attempts, dead.last_error.as_deref()), (2, 2, Some("odd")));
    assert_eq!(dead.body.as_deref(), Some("{}"));
    let accepted = store.accept(&[delivery("msg_3", "{}"), delivery("msg_5", "{}")]).await.unwrap();
    assert_eq!(accepted, [Acceptance::Duplicate, Acceptance::Accepted]);
    let numbers = db.query("SELECT CAST(seq AS text) FROM headcount.inbox WHERE message_id = 'msg_5'").await;
    assert!(numbers[0][0].as_ref().unwrap().parse::<i64>().unwrap() > 4, "no number is given out twice");
    drain(&store).await;
    assert_eq!(db.count("users").await, 1, "what was pending is applied");
    // By hand it is one table still.
    db.execute("UPDATE headcount.inbox SET last_error = 'seen', event_type = 'x' WHERE message_id = 'msg_2'")
        .await;
    assert_eq!(db.one("SELECT last_error || event_type FROM headcount.inbox WHERE seq = 2").await, "seenx");
    db.execute("DELETE FROM headcount.inbox WHERE message_id = 'msg_2'").await;
    assert_eq!(db.count("headcount.deliveries WHERE seq = 2").await, 0);
    assert_eq!(db.count("headcount.delivery_states WHERE seq = 2").await, 0);
}

async fn several_start_at_once(db: Db) {
    let starts: Vec<_> = {
        let mut starts = Vec::new();
        for _ in 0..4 {
            let store = db.store().await;
            starts.push(tokio::spawn(async move { store.migrate(None).await.map(|done| done.steps.len()) }));
        }
        starts
    };
    let mut did = 0;
    for start in starts {
        did += usize::from(start.await.unwrap().unwrap() > 0);
    }
    assert_eq!(did, 1, "one does it, the others find it done");
    assert_eq!(db.count("headcount.migrations").await, 12);
    db.store().await.check_schema().await.unwrap();
}

async fn somebody_elses_schema_is_refused(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    db.execute(
        "DO $$ BEGIN CREATE ROLE squatter LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE SCHEMA headcount AUTHORIZATION squatter",
    )
    .await;
    let error = db.store().await.migrate(None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Setup(reason) if reason.contains("squatter")), "{error}");
    db.execute("ALTER SCHEMA headcount OWNER TO postgres").await;
    db.store().await.migrate(None).await.unwrap();
}

async fn a_table_of_any_name_is_worked_on(db: Db) {
    let (table, id) = ("the \"people's\" 100% {table} $headcount$", "its \"id\" 50%'s");
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (name, key) = (quoted(table), quoted(id));
    db.execute(&format!(
        "CREATE TABLE {name} ({key} text PRIMARY KEY NOT NULL, \"e%'mail\" text, status text)"
    ))
    .await;
    let columns = [("email", "e%'mail"), ("account_state", "status")];
    let mut config = adopted(id, &columns);
    config.adopted.as_mut().unwrap().name = table.to_owned();
    let store = open(&db, config).await;
    assert_eq!(store.migrate(None).await.unwrap().steps, [], "what is there is known again");
    let body = event("user.created", user("user_1", 0, Some("a@example.com"), None, "A"), 0);
    store.accept(&[delivery("msg_1", &body)]).await.unwrap();
    drain(&store).await;
    if db.backend != Backend::Sqlite {
        db.execute("SELECT headcount.ensure('clerk', 'user_2', '{\"email\": \"b@example.com\"}')").await;
        assert_eq!(db.count("headcount.people").await, 2);
    }
    db.execute(&format!("UPDATE {name} SET \"e%'mail\" = NULL WHERE status = 'active'")).await;
    assert_eq!(db.count(&format!("{name} WHERE status = 'incomplete'")).await, 1);
    assert_eq!(store.table_problems().await.unwrap(), Vec::<String>::new());
    store.run_steps(&store.uninstall_plan().await.unwrap()).await.unwrap();
    assert_eq!(db.count(&name).await, if db.backend == Backend::Sqlite { 1 } else { 2 });
    store.close().await;
}

async fn a_foreign_users_table_is_refused(db: Db) {
    db.execute("CREATE TABLE users (id text PRIMARY KEY, name text)").await;
    db.execute("INSERT INTO users VALUES ('1', 'theirs')").await;
    let error = db.store().await.migrate(None).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Setup(reason) if reason.contains("HEADCOUNT_DATABASE_URL")),
        "{error}"
    );
    assert_eq!(db.one("SELECT name FROM users").await, "theirs");
}

async fn the_plan_changes_nothing(db: Db) {
    let store = db.store().await;
    let plan = store.migration_plan(None).await.unwrap();
    assert_eq!(plan, store.migration_plan(None).await.unwrap());
    assert!(matches!(store.check_schema().await, Err(StoreError::Setup(_))));
    assert_eq!(store.migrate(None).await.unwrap().steps, plan, "what was planned is what is done");
    assert_eq!(store.migrate(None).await.unwrap().steps, []);
    store.check_schema().await.unwrap();
}

async fn what_does_not_fit_is_told(db: Db) {
    let store = db.store().await;
    let error = store.migrate(Some(&["usernme".into()])).await.unwrap_err().to_string();
    assert!(error.contains("`usernme`") && error.contains("`username`"), "{error}");
    store.migrate(None).await.unwrap();
    db.execute("UPDATE headcount.migrations SET checksum = 'another'").await;
    assert!(store.check_schema().await.unwrap_err().to_string().contains("another form"));
    db.execute(
        "DELETE FROM headcount.migrations;
         INSERT INTO headcount.migrations SELECT 1, 'tables', '', 1, '2026-01-01T00:00:00.000Z' WHERE false;
         INSERT INTO headcount.migrations VALUES (77, 'future', 'x', 70, '2026-01-01T00:00:00.000Z')",
    )
    .await;
    assert!(store.check_schema().await.unwrap_err().to_string().contains("newer headcount"));
}

async fn a_lost_trigger_is_put_back(db: Db) {
    let store = db.store().await;
    store.migrate(None).await.unwrap();
    drop_trigger(&db).await;
    assert!(store.check_schema().await.unwrap_err().to_string().contains("trigger"));
    assert_eq!(store.migrate(None).await.unwrap().steps.len(), 1);
    store.check_schema().await.unwrap();
}

/// A statement that waits for a table has everybody wait behind it, so it does not wait for long.
async fn nobody_waits_behind_a_change_of_the_schema(db: Db) {
    if db.backend == Backend::Sqlite {
        // There one writer waits for the other, and nobody behind it.
        return;
    }
    let store = db.store().await;
    store.migrate(None).await.unwrap();
    let mut reader = sqlx::PgConnection::connect(&db.direct).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM users").execute(&mut reader).await.unwrap();
    let mut application = sqlx::PgConnection::connect(&db.direct).await.unwrap();
    let migrating = tokio::spawn({
        let store = store.clone();
        // Another trigger, for which the one that is there has to go.
        async move { store.migrate(Some(&["username".into()])).await }
    });
    sqlx::raw_sql("SET statement_timeout = 2000").execute(&mut application).await.unwrap();
    for _ in 0..20 {
        let read = sqlx::raw_sql("SELECT count(*) FROM users").execute(&mut application).await;
        assert!(read.is_ok(), "the application waited for two seconds: {read:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(!migrating.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    migrating.await.unwrap().unwrap();
    store.check_schema().await.unwrap();
}

/// By a trigger on a table of one's own anybody could have had the function set a state.
async fn nobody_else_gets_at_the_state(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    db.store().await.migrate(None).await.unwrap();
    let allowed = "SELECT CAST(count(*) AS text) FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                   WHERE p.pronamespace = 'headcount'::regnamespace AND a.grantee = 0
                     AND (p.prosecdef OR p.proname <> 'people_now')";
    assert_eq!(db.one(allowed).await, "0", "no function is everybody's but one that has its caller's rights");
}

async fn drop_trigger(db: &Db) {
    match db.backend {
        Backend::Sqlite => db.execute("DROP TRIGGER headcount_state_update").await,
        _ => db.execute("DROP TRIGGER zz_headcount_state ON users").await,
    }
}

async fn a_newer_schema_is_left_to_the_newer_one(db: Db) {
    let store = db.store().await;
    store.migrate(None).await.unwrap();
    db.execute("INSERT INTO headcount.migrations VALUES (1000, 'newer', 'x', 1, '2026-01-01T00:00:00.000Z')")
        .await;
    // Its trigger may well be another one than ours.
    drop_trigger(&db).await;
    store.check_schema().await.unwrap();
    assert_eq!(store.migrate(Some(&["username".into()])).await.unwrap().steps, []);
    assert_eq!(store.required_fields().await.unwrap(), ["email"]);
}

/// On PostgreSQL a planner that thinks the table empty finds all indexes with the source in them equally good for one account, and
/// keeps to its choice while the table grows.
async fn no_index_is_mistaken_for_the_key_of_accounts(db: Db) {
    db.store().await.migrate(None).await.unwrap();
    if db.backend == Backend::Sqlite {
        return;
    }
    let with_source = "pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)
        WHERE x.indrelid = CAST('headcount.identities' AS regclass) AND x.indpred IS NULL AND a.attname = 'source'";
    assert_eq!(db.count(with_source).await, 1, "the primary key alone");
}
