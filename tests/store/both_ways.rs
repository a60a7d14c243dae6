//! A sign-up over HTTP and one in the application's own transaction: one rule, and one table of cases that both pass.

use super::adopting::{adopted, either, open};
use super::calling::{assignment, calls, key};
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::core::columns::{Column, Columns};
use headcount::core::link::LinkRule;
use headcount::store::Store;

on_each_database!(
    empty:
    both_ways_come_to_the_same,
    the_applications_code_runs_as_in_its_own_insert,
    the_callers_rights_are_the_ones_that_count,
);

const COLUMNS: [(&str, &str); 4] =
    [("id", "clerk_id"), ("email", "mail"), ("username", "handle"), ("account_state", "status")];

/// Before the sign-up of `user_1`, and what is there of it afterwards: rows by provider's id, address, name and state,
/// then accounts, how they were linked, and what was known of them.
struct Case {
    name: &'static str,
    before: &'static str,
    email: Option<&'static str>,
    username: Option<&'static str>,
    rows: &'static [&'static str],
    linked_by: &'static str,
}

const IDENTITY: &str =
    "INSERT INTO headcount.identities (source, provider_id, user_id, state, first_seen_at)";

const CASES: [Case; 8] = [
    Case {
        name: "nothing is known",
        before: "",
        email: Some("a@example.com"),
        username: Some("ann"),
        rows: &["user_1|a@example.com|ann|provisional"],
        linked_by: "-",
    },
    Case {
        name: "without a hint",
        before: "",
        email: None,
        username: None,
        rows: &["user_1|-|-|provisional"],
        linked_by: "-",
    },
    Case {
        name: "the address is somebody's: hints keep nobody out, and never link",
        before: "INSERT INTO people (mail) VALUES ('a@example.com')",
        email: Some("a@example.com"),
        username: None,
        rows: &["-|a@example.com|-|-", "user_1|-|-|provisional"],
        linked_by: "-",
    },
    Case {
        name: "a trigger of theirs changes what is written",
        before: "",
        email: Some("BIG@example.com"),
        username: Some("ann"),
        rows: &["user_1|big@example.com|ann|provisional"],
        linked_by: "-",
    },
    Case {
        name: "a row shows the account",
        before: "INSERT INTO people (clerk_id, mail) VALUES ('user_1', 'theirs@example.com')",
        email: Some("a@example.com"),
        username: Some("ann"),
        rows: &["user_1|theirs@example.com|ann|provisional"],
        linked_by: "column:clerk_id",
    },
    Case {
        name: "the row that shows the account has one at another source already",
        before: "INSERT INTO people (clerk_id, mail) VALUES ('user_1', 'theirs@example.com'); \
                 {identity} SELECT 'other', 'o1', CAST({id} AS text), 'present', {now} FROM people",
        email: None,
        username: None,
        rows: &["user_1|theirs@example.com|-|provisional"],
        linked_by: "column:clerk_id",
    },
    Case {
        name: "the row that shows the account has another one of the source: there is a second row, and the column waits",
        before: "INSERT INTO people (handle, clerk_id) VALUES ('x', 'user_1'); \
                 {identity} SELECT 'clerk', 'user_9', CAST({id} AS text), 'present', {now} FROM people",
        email: None,
        username: None,
        rows: &["user_1|-|x|-", "-|-|-|provisional"],
        linked_by: "-",
    },
    Case {
        name: "the same once more",
        before: "{again}",
        email: Some("a@example.com"),
        username: Some("ann"),
        rows: &["user_1|a@example.com|ann|provisional"],
        linked_by: "-",
    },
];

async fn people(db: &Db) -> Store {
    let id =
        either(db, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "integer PRIMARY KEY AUTOINCREMENT");
    db.execute(&format!(
        "CREATE TABLE people (number {id}, clerk_id text UNIQUE, mail text UNIQUE, handle text, status text)"
    ))
    .await;
    let small = either(
        db,
        "CREATE OR REPLACE FUNCTION small() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.mail := lower(NEW.mail); RETURN NEW; END $$;
         CREATE TRIGGER small BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION small()",
        "CREATE TRIGGER small AFTER INSERT ON people WHEN new.mail <> lower(new.mail)
             BEGIN UPDATE people SET mail = lower(mail) WHERE number = new.number; END",
    );
    db.execute(small).await;
    let store = open(db, adopted("number", &COLUMNS)).await;
    store.set_link_rule("clerk", Some(&LinkRule::Column("clerk_id".into()))).await.unwrap();
    store
}

/// Whether the sign-up was refused.
async fn over_http(store: &Store, case: &Case) -> bool {
    let mut hints = Columns::default();
    hints.set(Column::Email, case.email.map(str::to_owned));
    let set: Vec<(&str, Option<&str>)> = case.username.iter().map(|name| ("username", Some(*name))).collect();
    calls(store).provisional(&key("user_1"), &hints, &assignment(store, &set).await).await.is_err()
}

async fn in_sql(db: &Db, case: &Case) -> bool {
    let object = |name: &str, value: Option<&str>| {
        value.map_or("{}".to_owned(), |value| format!("{{\"{name}\": \"{value}\"}}"))
    };
    let (hints, set) = (object("email", case.email), object("username", case.username));
    db.try_execute(&format!("SELECT headcount.ensure('clerk', 'user_1', '{hints}', '{set}')")).await.is_err()
}

async fn outcome(db: &Db) -> (Vec<String>, String) {
    let rows = db.query(
        "SELECT coalesce(u.clerk_id, '-') || '|' || coalesce(u.mail, '-') || '|' || coalesce(u.handle, '-') || '|' ||
             coalesce(a.account_state, '-') FROM people u
         LEFT JOIN headcount.accounts a ON a.user_id = CAST(u.number AS text) ORDER BY u.number",
    );
    let linked = "SELECT coalesce(max(coalesce(linked_by, '-') || coalesce(hints, '-')), 'none') FROM headcount.identities
                  WHERE source = 'clerk' AND provider_id = 'user_1' AND user_id IS NOT NULL";
    (rows.await.into_iter().filter_map(|mut row| row[0].take()).collect(), db.one(linked).await)
}

async fn both_ways_come_to_the_same(db: Db) {
    for case in &CASES {
        let mut outcomes = Vec::new();
        for is_sql in [false, true] {
            if is_sql && db.backend == Backend::Sqlite {
                continue;
            }
            let store = people(&db).await;
            match case.before {
                "{again}" => assert!(!over_http(&store, case).await, "{}", case.name),
                before => {
                    let now = "'2026-01-01T00:00:00.000Z'";
                    let before = before
                        .replace("{identity}", IDENTITY)
                        .replace("{id}", "number")
                        .replace("{now}", now);
                    if !before.is_empty() {
                        db.execute(&before).await;
                    }
                }
            }
            let refused = if is_sql { in_sql(&db, case).await } else { over_http(&store, case).await };
            let (rows, linked) = outcome(&db).await;
            assert!(!refused, "{} (sql: {is_sql})", case.name);
            assert_eq!(rows, case.rows, "{} (sql: {is_sql})", case.name);
            assert!(linked.starts_with(case.linked_by), "{} (sql: {is_sql}): {linked}", case.name);
            outcomes.push(rows);
            store.run_steps(&store.uninstall_plan().await.unwrap()).await.unwrap();
            store.close().await;
            db.execute("DROP TABLE people").await;
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{}: {outcomes:?}", case.name);
    }
}

async fn the_applications_code_runs_as_in_its_own_insert(db: Db) {
    if db.backend != Backend::Postgres {
        return;
    }
    // A default and a trigger that find their names by the search path, and a trigger that asks who it is.
    db.execute(
        "DO $$ BEGIN CREATE ROLE application LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE FUNCTION make_code() RETURNS text LANGUAGE sql AS $$ SELECT md5(random()::text) $$;
         CREATE TABLE audit (who text, what text);
         CREATE TABLE people (number text PRIMARY KEY DEFAULT make_code(), mail text, status text, code text DEFAULT make_code());
         CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO audit VALUES (current_user, TG_OP); RETURN NULL; END $$;
         CREATE TRIGGER audited AFTER INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION audited();
         GRANT INSERT ON audit TO application; GRANT UPDATE (mail) ON people TO application",
    )
    .await;
    let store = open(&db, adopted("number", &[("email", "mail"), ("account_state", "status")])).await;
    store.run_steps(&store.app_grants("application").await.unwrap()).await.unwrap();
    let application = Db::at(db.backend, db.url.replace("postgres@", "application@"));
    application.execute("SELECT headcount.ensure('clerk', 'user_1', '{\"email\": \"a@example.com\"}')").await;
    assert_eq!(db.count("people WHERE code IS NOT NULL AND length(number) = 32").await, 1);
    assert_eq!(db.one("SELECT who || what FROM audit").await, "applicationINSERT");
    application.execute("UPDATE people SET mail = NULL").await;
    assert_eq!(
        db.count("audit WHERE who = 'application'").await,
        2,
        "one statement of theirs is one to their triggers"
    );
    assert_eq!(application.one("SELECT account_state FROM headcount.people").await, "provisional");
    store.retire("clerk", true).await.unwrap();
    let error = db.try_execute("SELECT headcount.ensure('clerk', 'user_2')").await.unwrap_err().to_string();
    assert!(error.contains("retired"), "{error}");
    store.close().await;
}

async fn the_callers_rights_are_the_ones_that_count(db: Db) {
    if db.backend != Backend::Postgres {
        return;
    }
    db.execute(
        "DO $$ BEGIN CREATE ROLE tenant LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE TABLE people (number serial PRIMARY KEY, mail text, tenant text DEFAULT current_user)",
    )
    .await;
    let store = open(&db, adopted("number", &[("email", "mail")])).await;
    let tenant = Db::at(db.backend, db.url.replace("postgres@", "tenant@"));
    db.execute(
        "GRANT USAGE ON SCHEMA headcount TO tenant; GRANT SELECT ON headcount.people TO tenant;
         GRANT EXECUTE ON FUNCTION headcount.ensure TO tenant",
    )
    .await;
    let half = tenant.try_execute("SELECT headcount.ensure('clerk', 'user_1')").await.unwrap_err();
    assert!(half.to_string().contains("headcount.ensure: role tenant"), "{half}");
    db.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA headcount TO tenant").await;
    let ensure = "SELECT headcount.ensure('clerk', 'user_1', '{}', '{\"tenant\": \"tenant\"}')";
    assert!(tenant.try_execute(ensure).await.is_err(), "who may not insert makes no row");
    store.run_steps(&store.app_grants("tenant").await.unwrap()).await.unwrap();
    assert!(tenant.try_execute(ensure).await.is_err(), "nor a column that it may not write");
    db.execute(
        "GRANT INSERT (tenant) ON people TO tenant; ALTER TABLE people ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON people TO tenant USING (tenant = current_user) WITH CHECK (tenant = current_user)",
    )
    .await;
    let other = ensure.replace("\"tenant\"}", "\"somebody\"}");
    assert!(tenant.try_execute(&other).await.is_err(), "nor a row that its policy refuses");
    tenant.execute(ensure).await;
    db.execute("INSERT INTO people (mail, tenant) VALUES ('other@example.com', 'somebody')").await;
    assert_eq!(db.count("headcount.people").await, 2);
    assert_eq!(tenant.count("headcount.people").await, 1, "the view shows what the caller may see");
    // Neither half of the function by itself gives away a row that was there.
    tenant.execute("SELECT headcount.ensure_start('clerk', 'user_2', '2', NULL)").await;
    assert!(
        tenant.try_execute("SELECT headcount.ensure_finish('clerk', 'user_2', '{}', '{}')").await.is_err()
    );
    assert_eq!(db.count("headcount.identities WHERE user_id = '2'").await, 0);
    store.close().await;
}
