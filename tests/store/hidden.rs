//! A row that cannot be seen is no row that is not there: whose it is stays known, and nobody gets a second user.

use super::support::{Backend, Db, event, user};
use super::{applier, deliver, drain};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;

on_each_database!(
    a_row_whose_return_is_refused_for_a_while_keeps_its_id,
    a_row_that_row_level_security_hides_is_nobodys_second,
);

fn named(version: i64) -> String {
    event("user.updated", user("user_1", version, Some("a@example.com"), None, "A"), version)
}

async fn a_row_whose_return_is_refused_for_a_while_keeps_its_id(db: Db) {
    let store = db.store().await;
    deliver(&store, &[named(1)]).await;
    let id = db.one("SELECT CAST(id AS text) FROM users").await;
    db.execute("DELETE FROM users").await;
    let (refuse, allow) = match db.backend {
        Backend::Sqlite => (
            "CREATE TRIGGER refuse BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, 'not now'); END",
            "DROP TRIGGER refuse",
        ),
        _ => (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION refuse()",
            "DROP TRIGGER refuse ON users",
        ),
    };
    db.execute(refuse).await;
    for version in 2..5 {
        deliver(&store, &[named(version)]).await;
    }
    assert_eq!(db.one("SELECT user_id FROM headcount.identities").await, id, "whose it is stays known");
    assert_eq!(db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await, 1);
    db.execute(allow).await;
    assert_eq!(applier(&store, DeleteLimit::Off).retry_held(None).await.unwrap(), None);
    assert_eq!(db.one("SELECT CAST(id AS text) FROM users").await, id);
    assert_eq!(db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await, 0);
    store.close().await;
}

async fn a_row_that_row_level_security_hides_is_nobodys_second(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    db.execute(
        "DO $$ BEGIN CREATE ROLE hidden LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT USAGE ON SCHEMA headcount TO hidden;
         GRANT ALL ON ALL TABLES IN SCHEMA headcount TO hidden; GRANT ALL ON ALL SEQUENCES IN SCHEMA headcount TO hidden;
         GRANT SELECT, INSERT, UPDATE ON users TO hidden",
    )
    .await;
    let mut theirs = Db::at(db.backend, db.direct.replace("postgres@", "hidden@"));
    theirs.direct = db.direct.clone();
    let store = theirs.store().await;
    assert_eq!(store.table_problems().await.unwrap(), Vec::<String>::new());
    deliver(&store, &[named(1)]).await;
    let id = db.one("SELECT CAST(id AS text) FROM users").await;
    db.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON users USING (false) WITH CHECK (true)")
        .await;
    let problems = store.table_problems().await.unwrap();
    assert!(problems.len() == 1 && problems[0].contains("row-level security"), "{problems:?}");
    deliver(&store, &[named(2), named(3)]).await;
    assert_eq!(db.one("SELECT user_id FROM headcount.identities").await, id, "whose it is stays known");
    assert_eq!(
        db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await,
        1,
        "and why it waits is told"
    );
    db.execute("CREATE POLICY worker ON users TO hidden USING (true) WITH CHECK (true)").await;
    assert_eq!(applier(&store, DeleteLimit::Off).retry_held(None).await.unwrap(), None);
    drain(&store).await;
    assert_eq!((db.count("users").await, db.one("SELECT CAST(id AS text) FROM users").await), (1, id));
    assert_eq!(db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await, 0);
    store.close().await;
}
