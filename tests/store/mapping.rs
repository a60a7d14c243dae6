//! What an application's table must be, rights included, and that it is left as it was.

use super::adopting::{adopted, created, either, open, try_open};
use super::deliver;
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::clock::{Clock, SystemClock};
use headcount::store::{DatabaseUrl, Store, StoreError};

on_each_database!(
    empty:
    wrong_mappings_are_told_all_at_once,
    no_table_and_no_view_will_do,
    another_table_is_another_database,
    uninstalling_leaves_the_table_as_it_was,
);

async fn wrong_mappings_are_told_all_at_once(db: Db) {
    let generated =
        either(&db, "GENERATED ALWAYS AS (upper(mail)) STORED", "GENERATED ALWAYS AS (upper(mail)) VIRTUAL");
    let rough = either(&db, "timestamp(0)", "integer");
    db.execute(&format!(
        "CREATE TABLE people (nr numeric, id text PRIMARY KEY NOT NULL, mail text, shout text {generated}, age real, made {rough},
             flag boolean, strict_at timestamp NOT NULL)"
    ))
    .await;
    let columns = [
        ("email", "mial"),
        ("username", "shout"),
        ("first_name", "age"),
        ("created_at", "made"),
        ("last_name", "flag"),
        ("email_verified", "mail"),
        ("public_metadata.x", "mail"),
        ("deleted_at", "strict_at"),
    ];
    let error = try_open(&db, adopted("nr", &columns)).await.err().unwrap().to_string();
    for expected in [
        "id column `nr` is not unique by itself",
        "id column `nr` may be null",
        "id column `nr` has type numeric; it must be",
        "email is mapped to `mial`, which is no column of public.people; the nearest is `mail`",
        "username is mapped to `shout`, which is generated",
        "first_name is mapped to `age`, which has type real; it must be text",
        "created_at is mapped to `made`, which has type",
        "last_name is mapped to `flag`, which has type boolean; it must be text",
        "email_verified is mapped to `mail`, which has type text; it must be boolean",
        "column `mail` is mapped twice",
        "deleted_at is mapped to `strict_at`, which may not be null",
    ] {
        let expected = expected.replace("public.people", either(&db, "public.people", "people"));
        assert!(error.to_lowercase().contains(&expected.to_lowercase()), "{expected}: {error}");
    }
    let error = try_open(&db, adopted("identity", &[])).await.err().unwrap().to_string();
    assert!(error.contains("`identity`") && error.contains("`id`"), "{error}");
    db.execute("DROP TABLE people").await;
    let no_ids = either(
        &db,
        "CREATE TABLE people (id bigint PRIMARY KEY)",
        "CREATE TABLE people (id bigint PRIMARY KEY NOT NULL)",
    );
    db.execute(no_ids).await;
    let error = try_open(&db, adopted("id", &[])).await.err().unwrap().to_string();
    assert!(error.contains("no default that makes a new id"), "{error}");
    assert_eq!(db.count("people").await, 0);
}

async fn no_table_and_no_view_will_do(db: Db) {
    db.execute("CREATE TABLE persons (id text PRIMARY KEY NOT NULL)").await;
    let error = try_open(&db, adopted("id", &[])).await.err().unwrap().to_string();
    assert!(error.contains("no such table") && error.contains("persons"), "{error}");
    db.execute("CREATE VIEW people AS SELECT * FROM persons").await;
    let error = try_open(&db, adopted("id", &[])).await.err().unwrap();
    assert!(matches!(&error, StoreError::Setup(reason) if reason.contains("is a view")), "{error}");
}

async fn another_table_is_another_database(db: Db) {
    db.execute("CREATE TABLE people (id text PRIMARY KEY NOT NULL)").await;
    let store = open(&db, adopted("id", &[])).await;
    store.check_schema().await.unwrap();
    let oldest = "SELECT CAST(oldest_reader AS text) FROM headcount.migrations WHERE version = 3";
    assert_eq!(db.one(oldest).await, "3", "older versions know of no such table");
    let own = db.store().await;
    let error = own.check_schema().await.unwrap_err().to_string();
    assert!(error.contains("people") && error.contains("[users]"), "{error}");
    db.execute("CREATE TABLE others (id text PRIMARY KEY NOT NULL)").await;
    let mut config = adopted("id", &[]);
    config.adopted.as_mut().unwrap().name = "others".into();
    let other = try_open(&db, config).await.unwrap();
    assert!(other.migrate(None).await.is_err());
}

/// Everything that the database knows of what is the application's.
async fn described(db: &Db) -> Vec<Vec<Option<String>>> {
    match db.backend {
        Backend::Sqlite => db.query("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY name").await,
        _ => {
            let mut all = db
                .query("SELECT relname, CAST(relkind AS text), CAST(relacl AS text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1")
                .await;
            all.extend(db.query("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1").await);
            all.extend(db.query("SELECT proname FROM pg_proc WHERE pronamespace = CAST('public' AS regnamespace) ORDER BY 1").await);
            all.extend(db.query("SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1").await);
            all
        }
    }
}

async fn uninstalling_leaves_the_table_as_it_was(db: Db) {
    db.execute("CREATE TABLE people (id text PRIMARY KEY NOT NULL, mail text)").await;
    db.execute("CREATE INDEX people_mail ON people (mail)").await;
    let before = described(&db).await;
    let store = open(&db, adopted("id", &[("email", "mail")])).await;
    deliver(&store, &[created(1, "a@example.com")]).await;
    assert_ne!(described(&db).await, before);
    let steps = store.uninstall_plan().await.unwrap();
    store.run_steps(&steps).await.unwrap();
    assert_eq!(described(&db).await, before);
    assert_eq!(db.one("SELECT mail FROM people").await, "a@example.com");
    assert!(store.uninstall_plan().await.unwrap().len() <= 1, "a second time there is nothing to remove");
}

/// What only PostgreSQL has: partitions, row-level security, roles.
mod postgres {
    use super::super::calling::{assignment, calls};
    use super::*;
    use headcount::reconcile::{CallError, Caller};

    fn as_role(db: &Db, role: &str) -> DatabaseUrl {
        DatabaseUrl::parse(&db.url.replace("postgres@", &format!("{role}@"))).unwrap()
    }

    async fn role(db: &Db) -> String {
        let name = format!("r{}", SystemClock.fresh_id().replace('-', ""));
        db.execute(&format!("CREATE ROLE {name} LOGIN")).await;
        name
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_partitioned_table_works() {
        let db = Db::empty(Backend::Postgres).await;
        db.execute(
            "CREATE TABLE people (id uuid PRIMARY KEY, mail text) PARTITION BY HASH (id);
             CREATE TABLE people_0 PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE people_1 PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        )
        .await;
        let store = open(&db, adopted("id", &[("email", "mail")])).await;
        let bodies: Vec<String> = (0..20).map(|n| created(n, &format!("p{n}@example.com"))).collect();
        deliver(&store, &bodies).await;
        db.execute("UPDATE people SET mail = NULL").await;
        assert_eq!(db.count("headcount.accounts WHERE account_state = 'incomplete'").await, 20);
        let parts = (db.count("people_0").await, db.count("people_1").await);
        assert!(parts.0 > 0 && parts.1 > 0 && parts.0 + parts.1 == 20, "{parts:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_application_may_use_what_it_is_offered_and_no_more() {
        let db = Db::new(Backend::Postgres).await;
        let app = role(&db).await;
        let store = db.store().await;
        let as_app = |sql: &str| format!("SET ROLE {app}; {sql}");
        let (ensure, people) =
            ("SELECT headcount.ensure('clerk', 'user_1')", "SELECT count(*) FROM headcount.people");
        for sql in [ensure, people] {
            assert!(db.try_execute(&as_app(sql)).await.is_err(), "{sql}");
        }
        store.run_steps(&store.app_grants(&app).await.unwrap()).await.unwrap();
        for sql in [ensure, people] {
            db.execute(&as_app(sql)).await;
        }
        for sql in [
            "SELECT * FROM headcount.identities",
            "DELETE FROM users",
            "SELECT value FROM headcount.settings",
        ] {
            assert!(db.try_execute(&as_app(sql)).await.is_err(), "{sql}");
        }
        assert_eq!(db.count("users WHERE account_state = 'provisional'").await, 1);
        // A newer headcount puts the function anew, and takes no right away.
        db.execute("DELETE FROM headcount.settings WHERE key = 'offered'").await;
        store.migrate(None).await.unwrap();
        db.execute(&as_app(ensure)).await;
        db.execute(&as_app(people)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_least_rights_are_enough_and_are_taken_back() {
        let db = Db::empty(Backend::Postgres).await;
        db.execute("CREATE TABLE people (id serial PRIMARY KEY, mail text, bio text)").await;
        let (worker, app) = (role(&db).await, role(&db).await);
        db.execute(&format!("GRANT SELECT, UPDATE ON people TO {app}")).await;
        let before = described(&db).await;
        let config = adopted("id", &[("email", "mail")]);
        let store = open(&db, config.clone()).await;
        let refused = Store::open_on(&as_role(&db, &worker), &config).await.err().unwrap().to_string();
        for expected in ["may not read public.people", "may not update mail", "may not use sequence"] {
            assert!(refused.contains(expected) && refused.contains("--grants"), "{expected}: {refused}");
        }
        store.run_steps(&store.grants(&worker).await.unwrap()).await.unwrap();
        let limited = Store::open_on(&as_role(&db, &worker), &config).await.unwrap();
        limited.check_schema().await.unwrap();
        deliver(&limited, &[created(1, "a@example.com")]).await;
        assert_eq!(db.one("SELECT mail FROM people").await, "a@example.com");
        assert!(limited.migrate(Some(&["username".into()])).await.is_err());
        let as_worker = Db::at(Backend::Postgres, db.url.replace("postgres@", &format!("{worker}@")));
        assert!(
            as_worker.try_execute("UPDATE people SET bio = 'x'").await.is_err(),
            "it may not write what is theirs"
        );
        let (id, bio) = (
            db.one("SELECT CAST(id AS text) FROM people").await,
            assignment(&limited, &[("bio", Some("x"))]).await,
        );
        let refused = calls(&limited).set(&id, &bio, Caller::OPERATOR).await;
        let lacks_right = matches!(refused, Err(CallError::Store(StoreError::Forbidden(_))));
        assert!(lacks_right, "a call that wants it is told that a right is missing: {refused:?}");
        // The application's role knows nothing of headcount's tables, and its writes keep the state true.
        let as_app = Db::at(Backend::Postgres, db.url.replace("postgres@", &format!("{app}@")));
        as_app.execute("UPDATE people SET mail = NULL").await;
        assert_eq!(db.one("SELECT account_state FROM headcount.accounts").await, "incomplete");
        assert!(as_app.try_execute("SELECT 1 FROM headcount.accounts").await.is_err());
        store.run_steps(&store.uninstall_plan().await.unwrap()).await.unwrap();
        let acl = |rows: Vec<Vec<Option<String>>>| -> Vec<Vec<Option<String>>> {
            // An empty list and none are the same rights.
            rows.into_iter().filter(|row| row[0].as_deref() != Some("people_id_seq")).collect()
        };
        assert_eq!(acl(described(&db).await), acl(before));
        db.execute(&format!("DROP OWNED BY {worker}, {app}; DROP ROLE {worker}, {app}")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn row_level_security_that_hides_people_is_told() {
        let db = Db::empty(Backend::Postgres).await;
        db.execute("CREATE TABLE people (id uuid PRIMARY KEY, mail text); ALTER TABLE people ENABLE ROW LEVEL SECURITY").await;
        let worker = role(&db).await;
        let config = adopted("id", &[("email", "mail")]);
        let store = open(&db, config.clone()).await;
        store.run_steps(&store.grants(&worker).await.unwrap()).await.unwrap();
        let hidden = Store::open_on(&as_role(&db, &worker), &config).await.err().unwrap().to_string();
        assert!(hidden.contains("row-level security") && hidden.contains("BYPASSRLS"), "{hidden}");
        db.execute("CREATE POLICY mine ON people USING (false)").await;
        assert!(Store::open_on(&as_role(&db, &worker), &config).await.is_err());
        db.execute(&format!("CREATE POLICY worker ON people TO {worker} USING (true) WITH CHECK (true)"))
            .await;
        let seeing = Store::open_on(&as_role(&db, &worker), &config).await.unwrap();
        deliver(&seeing, &[created(1, "a@example.com")]).await;
        assert_eq!(db.count("people").await, 1);
        db.execute(&format!("DROP OWNED BY {worker}; DROP ROLE {worker}")).await;
    }
}
