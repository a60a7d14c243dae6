//! Whatever an application's table answers while a row is written is about that row, but for what is everybody's.

use super::support::{Backend, Db, event, user};
use super::{all, applier, deliver, delivery, with_status};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use headcount::store::StoreError;
use sqlx::Connection;
use std::time::Duration;

on_each_database!(
    a_refusal_of_any_kind_is_one_rows,
    a_trigger_that_lacks_a_right_of_its_own_blocks_nobody,
    a_missing_right_is_told_and_uses_up_nobodys_attempts,
    a_statement_that_is_cancelled_again_and_again_is_one_rows,
    a_transaction_that_stands_still_holds_nobody_up_for_long,
    what_is_blocked_costs_the_others_little,
);

fn named(n: usize) -> String {
    let id = format!("user_{n}");
    event("user.updated", user(&id, 1, Some(&format!("p{n}@example.com")), None, "A"), 1)
}

/// Of ten people one is refused.
async fn nine_of_ten(db: &Db, what: &str) {
    let store = db.store().await;
    deliver(&store, &(0..10).map(named).collect::<Vec<_>>()).await;
    assert_eq!(db.count("users WHERE email IS NOT NULL").await, 9, "{what}");
    assert_eq!(db.count("headcount.inbox WHERE status <> 'applied'").await, 0, "{what}");
    store.close().await;
}

async fn a_refusal_of_any_kind_is_one_rows(db: Db) {
    let refusals: &[&str] = match db.backend {
        Backend::Sqlite => &["ABORT", "FAIL", "ROLLBACK"],
        _ => &[
            "42501", "PT409", "HC001", "21000", "42P01", "55000", "P0001", "0A000", "25001", "28000", "22003",
        ],
    };
    for refusal in refusals {
        let trigger = match db.backend {
            Backend::Sqlite => format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON users WHEN new.email = 'p3@example.com'
                 BEGIN SELECT RAISE({refusal}, 'not you'); END"
            ),
            _ => format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     RAISE EXCEPTION 'not p3@example.com' USING ERRCODE = '{refusal}'; END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW
                 WHEN (new.email = 'p3@example.com') EXECUTE FUNCTION refuse()"
            ),
        };
        db.execute(&trigger).await;
        nine_of_ten(&db, refusal).await;
        let told = db.query("SELECT coalesce(waiting_reason, '') FROM headcount.identities").await;
        assert!(!format!("{told:?}").contains("p3@"), "no address in a reason");
        let drop = if db.backend == Backend::Sqlite {
            "DROP TRIGGER refuse"
        } else {
            "DROP TRIGGER refuse ON users"
        };
        db.execute(drop).await;
        for table in [
            "users",
            "headcount.identities",
            "headcount.held_values",
            "headcount.delivery_states",
            "headcount.deliveries",
        ] {
            db.execute(&format!("DELETE FROM {table}")).await;
        }
    }
}

async fn a_trigger_that_lacks_a_right_of_its_own_blocks_nobody(db: Db) {
    // It fails for one address only, by a table that is not there or a function that only the application has.
    let trigger = match db.backend {
        Backend::Sqlite => {
            "CREATE TABLE audit (email text NOT NULL);
             CREATE TRIGGER audit AFTER INSERT ON users WHEN new.email = 'p3@example.com'
             BEGIN INSERT INTO audit VALUES (json_extract('no json', '$.x')); END"
        }
        _ => {
            "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO audit VALUES (new.email); RETURN new; END $$;
             CREATE TRIGGER audit AFTER INSERT ON users FOR EACH ROW
             WHEN (new.email = 'p3@example.com') EXECUTE FUNCTION audit()"
        }
    };
    db.execute(trigger).await;
    nine_of_ten(&db, "audit").await;
}

async fn a_missing_right_is_told_and_uses_up_nobodys_attempts(db: Db) {
    if db.backend == Backend::Sqlite {
        // SQLite has no rights. A function that only the application registers stops every row: each waits by itself.
        db.execute("CREATE TRIGGER theirs AFTER INSERT ON users BEGIN INSERT INTO nowhere VALUES (1); END")
            .await;
        let store = db.store().await;
        deliver(&store, &[named(1), named(2)]).await;
        assert_eq!(db.count("headcount.inbox WHERE status = 'applied'").await, 2);
        assert_eq!(db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await, 2);
        db.execute("DROP TRIGGER theirs").await;
        assert_eq!(applier(&store, DeleteLimit::Off).retry_held(None).await.unwrap(), None);
        assert_eq!(db.count("users").await, 2);
        return;
    }
    db.execute(
        "DO $$ BEGIN CREATE ROLE limited LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT USAGE ON SCHEMA headcount TO limited;
         GRANT ALL ON ALL TABLES IN SCHEMA headcount TO limited; GRANT ALL ON ALL SEQUENCES IN SCHEMA headcount TO limited;
         GRANT SELECT, UPDATE ON users TO limited",
    )
    .await;
    let mut theirs = Db::at(db.backend, db.url.replace("postgres@", "limited@"));
    theirs.direct = db.direct.clone();
    if db.backend == Backend::Bouncer {
        theirs.url = db.direct.replace("postgres@", "limited@");
    }
    let store = theirs.store().await;
    store.accept(&[delivery("msg_1", &named(1)), delivery("msg_2", &named(2))]).await.unwrap();
    let error = applier(&store, DeleteLimit::Off).apply_batch().await.err();
    assert!(matches!(error, Some(StoreError::Forbidden(_))), "{error:?}");
    let waiting = store.deliveries(&with_status("pending"), false).await.unwrap();
    assert_eq!(waiting.iter().map(|delivery| delivery.attempts).collect::<Vec<_>>(), [0, 0]);
    db.execute("GRANT INSERT ON users TO limited").await;
    super::drain(&store).await;
    assert_eq!(db.count("users").await, 2);
}

async fn a_statement_that_is_cancelled_again_and_again_is_one_rows(db: Db) {
    if db.backend != Backend::Postgres {
        return;
    }
    db.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN new; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW
         WHEN (new.email = 'p3@example.com') EXECUTE FUNCTION slow()",
    )
    .await;
    let name = db.one("SELECT CAST(current_database() AS text)").await;
    db.execute(&format!("ALTER DATABASE {name} SET statement_timeout = 500")).await;
    nine_of_ten(&db, "57014").await;
}

async fn a_transaction_that_stands_still_holds_nobody_up_for_long(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    let frozen = db.store().await;
    let store = db.store().await;
    deliver(&store, &[named(1), named(2)]).await;
    let mut tx = frozen.reconciliation().await.unwrap();
    let key = headcount::core::event::IdentityKey { source: "clerk".into(), provider_id: "user_1".into() };
    assert_eq!(tx.lock(&[key]).await.unwrap().len(), 1);
    let newer = event("user.updated", user("user_1", 2, Some("new@example.com"), None, "B"), 2);
    store.accept(&[delivery("msg_newer", &newer)]).await.unwrap();
    let applied = || async {
        applier(&store, DeleteLimit::Off).apply_batch().await.unwrap();
        db.count("users WHERE email = 'new@example.com'").await == 1
    };
    assert!(!applied().await, "it is held");
    let began = tokio::time::Instant::now();
    super::support::wait::until("the server ends the transaction", applied).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(tx.commit(&[]).await.is_err());
    assert_eq!(store.deliveries(&all(), false).await.unwrap().len(), 3);
}

async fn what_is_blocked_costs_the_others_little(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    let store = db.store().await;
    let mut theirs = sqlx::PgConnection::connect(&db.direct).await.unwrap();
    sqlx::raw_sql(
        "BEGIN; INSERT INTO headcount.identities (source, provider_id, state, first_seen_at)
         SELECT 'clerk', 'user_' || n, 'present', now() FROM generate_series(0, 49) n",
    )
    .execute(&mut theirs)
    .await
    .unwrap();
    let deliveries: Vec<_> = (0..80).map(|n| delivery(&format!("msg_{n}"), &named(n))).collect();
    store.accept(&deliveries).await.unwrap();
    let mut rounds = 0;
    while db.count("users").await < 30 {
        applier(&store, DeleteLimit::Off).apply_batch().await.unwrap();
        rounds += 1;
        assert!(rounds <= 3, "the others wait for what is blocked");
    }
    let waiting = store.deliveries(&with_status("pending"), false).await.unwrap();
    assert_eq!(waiting.len(), 50);
    assert!(waiting.iter().all(|delivery| delivery.attempts == 0), "it is nobody's failure");
    sqlx::raw_sql("ROLLBACK").execute(&mut theirs).await.unwrap();
    super::support::wait::until("what was blocked is applied", || async {
        applier(&store, DeleteLimit::Off).apply_batch().await.unwrap();
        db.count("users").await == 80
    })
    .await;
}
