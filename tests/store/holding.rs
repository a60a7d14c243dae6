//! What an application's own constraints keep out of a row: everything else is applied, and the value once it fits.

use super::support::wait::until;
use super::support::{Backend, Db, Dice, event, user};
use super::{applier, deliver, delivery, with_status};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use headcount::store::Store;
use serde_json::json;

on_each_database!(
    a_taken_address_is_held_back_alone,
    a_freed_value_goes_to_who_waits_for_it,
    two_people_swap_their_names,
    two_people_swap_their_names_one_after_the_other,
    three_people_pass_their_names_on_in_a_circle,
    names_that_go_round_among_many_end_where_they_belong,
    who_waits_for_good_keeps_nobody_from_swapping,
    of_several_values_only_the_guilty_are_held_back,
    a_row_that_cannot_exist_is_waited_for,
    a_trigger_that_refuses_every_change_blocks_nothing,
    what_the_application_has_written_meanwhile_stays,
    a_value_that_somebody_removed_by_hand_is_taken_up,
    deferred_references_hold_back_their_value,
    a_commit_that_is_refused_leaves_the_row_alone,
    a_deletion_that_may_not_free_an_address_is_a_deletion,
);

const ONE_NAME: &str = "CREATE UNIQUE INDEX one_name ON users (username)";

async fn retry(store: &Store) {
    assert_eq!(applier(store, DeleteLimit::Off).retry_held(None).await.unwrap(), None);
}

fn named(n: usize, version: i64, username: &str) -> String {
    event(
        "user.updated",
        user(&format!("user_{n}"), version, Some(&format!("p{n}@example.com")), Some(username), "A"),
        version,
    )
}

async fn names(db: &Db) -> Vec<String> {
    let rows = db.query(
        "SELECT i.provider_id || '=' || coalesce(u.username, '-') FROM headcount.identities i
         LEFT JOIN users u ON CAST(u.id AS text) = i.user_id ORDER BY i.provider_id",
    );
    rows.await.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

async fn held(db: &Db) -> Vec<String> {
    let rows = db.query("SELECT \"column\" FROM headcount.held_values ORDER BY \"column\"").await;
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

async fn nothing_waits(db: &Db) {
    assert_eq!(db.count("headcount.inbox WHERE status NOT IN ('applied', 'stale')").await, 0);
}

async fn a_taken_address_is_held_back_alone(db: Db) {
    let store = db.store().await;
    db.execute("CREATE UNIQUE INDEX one_email ON users (email)").await;
    let bodies: Vec<String> = (0..20)
        .map(|n| {
            let email = if n == 7 { "p3@example.com".to_owned() } else { format!("p{n}@example.com") };
            event("user.created", user(&format!("user_{n:02}"), 0, Some(&email), Some("same"), "A"), 0)
        })
        .collect();
    deliver(&store, &bodies).await;
    nothing_waits(&db).await;
    assert_eq!((db.count("users").await, db.count("users WHERE username = 'same'").await), (20, 20));
    let row = &db.people().await["user_07"];
    assert_eq!((row[0].as_deref(), row[2].as_deref()), (Some("incomplete"), None));
    assert_eq!(held(&db).await, ["email", "email_verified"]);
    let noted = store.deliveries(&with_status("applied"), false).await.unwrap();
    let notes: Vec<_> = noted.iter().filter_map(|delivery| delivery.last_error.clone()).collect();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("one_email") || notes[0].contains("users.email"), "{notes:?}");
    assert!(!notes[0].contains("p3@"), "{notes:?}");
    let changed = db.query("SELECT CAST(changed AS text) FROM headcount.changes").await;
    let without = changed.iter().filter(|row| !row[0].as_ref().unwrap().contains("email")).count();
    assert_eq!((changed.len(), without), (20, 1), "the feed tells what was written");
    let groups = store.held_groups().await.unwrap();
    assert_eq!((groups[0].column.as_deref(), groups[0].count), (Some("email"), 1));
}

async fn a_freed_value_goes_to_who_waits_for_it(db: Db) {
    let store = db.store().await;
    db.execute("CREATE UNIQUE INDEX one_email ON users (email)").await;
    let created = |n: usize| {
        event("user.created", user(&format!("user_{n}"), 0, Some("same@example.com"), None, "A"), 0)
    };
    deliver(&store, &[created(1)]).await;
    deliver(&store, &[created(2)]).await;
    assert_eq!(db.count("users").await, 2);
    // Somebody who deletes their account and comes back under the same address.
    deliver(&store, &[event("user.deleted", json!({"id": "user_1"}), 5)]).await;
    let emails = db.query("SELECT account_state, email FROM users ORDER BY account_state").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(emails, [[text("active"), text("same@example.com")], [text("deleted"), None]]);
    assert!(held(&db).await.is_empty());
    let last = db.one("SELECT cause FROM headcount.changes ORDER BY seq DESC LIMIT 1").await;
    assert!(last.contains("retry") && last.contains("user_2"), "{last}");
}

async fn two_people_swap_their_names(db: Db) {
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    deliver(&store, &[named(1, 0, "ann"), named(2, 0, "bob")]).await;
    deliver(&store, &[named(1, 1, "bob"), named(2, 1, "ann")]).await;
    assert_eq!(names(&db).await, ["user_1=bob", "user_2=ann"]);
    assert!(held(&db).await.is_empty());
    nothing_waits(&db).await;
    let told = db.query("SELECT cause FROM headcount.changes WHERE kind = 'updated'").await;
    assert_eq!(told.len(), 2, "each change once");
    assert!(told.iter().all(|row| row[0].as_ref().unwrap().contains("delivery")), "{told:?}");
}

async fn two_people_swap_their_names_one_after_the_other(db: Db) {
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    deliver(&store, &[named(1, 0, "ann"), named(2, 0, "bob")]).await;
    deliver(&store, &[named(1, 1, "bob")]).await;
    assert_eq!(names(&db).await, ["user_1=ann", "user_2=bob"]);
    deliver(&store, &[named(2, 1, "ann")]).await;
    assert_eq!(names(&db).await, ["user_1=bob", "user_2=ann"]);
    assert!(held(&db).await.is_empty());
    let told = db.query("SELECT cause FROM headcount.changes WHERE kind = 'updated' ORDER BY seq").await;
    let causes: Vec<bool> = told.iter().map(|row| row[0].as_ref().unwrap().contains("retry")).collect();
    assert_eq!(causes, [false, true], "the second delivery's own, then what it has made room for");
}

async fn three_people_pass_their_names_on_in_a_circle(db: Db) {
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    deliver(&store, &[named(1, 0, "a"), named(2, 0, "b"), named(3, 0, "c")]).await;
    for (n, name) in [(1, "b"), (2, "c"), (3, "a")] {
        deliver(&store, &[named(n, 1, name)]).await;
    }
    assert_eq!(names(&db).await, ["user_1=b", "user_2=c", "user_3=a"]);
    assert!(held(&db).await.is_empty());
}

/// Three appliers, small batches, every delivery out of order: in the end everybody has the name that the last round gave.
async fn names_that_go_round_among_many_end_where_they_belong(db: Db) {
    const PEOPLE: usize = 12;
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    let mut dice = Dice(23);
    let mut turn: Vec<usize> = (0..PEOPLE).collect();
    deliver(&store, &turn.iter().map(|n| named(10 + n, 0, &format!("name{n}"))).collect::<Vec<_>>()).await;
    let mut sent = Vec::new();
    for round in 1..=4 {
        dice.shuffle(&mut turn);
        for (n, name) in turn.iter().enumerate() {
            sent.push((format!("round{round}_{n}"), named(10 + n, round, &format!("name{name}"))));
        }
    }
    dice.shuffle(&mut sent);
    let sent: Vec<_> = sent.iter().map(|(id, body)| delivery(id, body)).collect();
    store.accept(&sent).await.unwrap();
    let mut workers = Vec::new();
    for _ in 0..3 {
        let mut applier = applier(&db.store().await, DeleteLimit::Off);
        applier.batch_max = 5;
        workers.push(tokio::spawn(async move {
            until("nothing is pending", || async {
                match applier.apply_batch().await {
                    Ok(applied) if applied.finished > 0 => return false,
                    Ok(_) => {}
                    // Two that wait for each other's names: PostgreSQL ends one of them, which tries again.
                    Err(failure) => assert!(failure.is_transient(), "{failure}"),
                }
                applier.store.deliveries(&with_status("pending"), false).await.unwrap().is_empty()
            })
            .await;
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    nothing_waits(&db).await;
    retry(&store).await;
    let expected: Vec<String> =
        turn.iter().enumerate().map(|(n, name)| format!("user_{}=name{name}", 10 + n)).collect();
    assert_eq!(names(&db).await, expected);
    assert!(held(&db).await.is_empty());
    let feed = db.query("SELECT CAST(count(*) AS text), CAST(max(seq) AS text) FROM headcount.changes").await;
    assert_eq!(feed[0][0], feed[0][1]);
}

async fn who_waits_for_good_keeps_nobody_from_swapping(db: Db) {
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    deliver(&store, &[named(1, 0, "ann"), named(2, 0, "bob"), named(3, 0, "cem"), named(4, 0, "dee")]).await;
    // One wants a name that stays taken; two swap, but are kept from it while they do.
    refuse_rows(&db, "UPDATE", "NEW.username IN ('ann', 'bob')").await;
    deliver(&store, &[named(3, 1, "dee"), named(1, 1, "bob"), named(2, 1, "ann")]).await;
    assert_eq!(db.count("headcount.held_values").await, 3);
    allow_rows(&db).await;
    retry(&store).await;
    assert_eq!(names(&db).await, ["user_1=bob", "user_2=ann", "user_3=cem", "user_4=dee"]);
    assert_eq!(db.count("headcount.held_values").await, 1);
}

async fn of_several_values_only_the_guilty_are_held_back(db: Db) {
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    db.execute("CREATE UNIQUE INDEX one_first_name ON users (first_name)").await;
    deliver(&store, &[named(1, 0, "ann")]).await;
    let both = event("user.created", user("user_2", 0, Some("new@example.com"), Some("ann"), "A"), 0);
    deliver(&store, &[both]).await;
    assert_eq!(held(&db).await, ["first_name", "username"]);
    let row = db.query("SELECT email, display_name FROM users WHERE email LIKE 'new%'").await;
    assert_eq!(row, [[Some("new@example.com".to_owned()), Some("A".to_owned())]]);
}

/// The application's rule about which rows there may be.
async fn refuse_rows(db: &Db, event: &str, condition: &str) {
    let sql = match db.backend {
        Backend::Sqlite => format!(
            "CREATE TRIGGER app_rule BEFORE {event} ON users WHEN {condition} BEGIN SELECT RAISE(ABORT, 'not here'); END"
        ),
        _ => format!(
            "CREATE FUNCTION app_rule() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN IF {condition} THEN RAISE EXCEPTION 'not here'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER app_rule BEFORE {event} ON users FOR EACH ROW EXECUTE FUNCTION app_rule()"
        ),
    };
    db.execute(&sql).await;
}

async fn allow_rows(db: &Db) {
    match db.backend {
        Backend::Sqlite => db.execute("DROP TRIGGER app_rule").await,
        _ => db.execute("DROP TRIGGER app_rule ON users").await,
    }
}

async fn a_row_that_cannot_exist_is_waited_for(db: Db) {
    let store = db.store().await;
    refuse_rows(&db, "INSERT", "true").await;
    deliver(&store, &[named(1, 0, "ann")]).await;
    deliver(&store, &[named(1, 1, "anna")]).await;
    nothing_waits(&db).await;
    let identity = db.query("SELECT user_id, state, waiting_reason FROM headcount.identities").await;
    assert_eq!((&identity[0][0], identity[0][1].as_deref()), (&None, Some("present")));
    assert!(identity[0][2].is_some());
    assert_eq!((db.count("users").await, db.count("headcount.changes").await), (0, 0));
    let groups = store.held_groups().await.unwrap();
    assert_eq!((groups[0].column.as_deref(), groups[0].count), (None, 1));
    retry(&store).await;
    assert_eq!(db.count("users").await, 0);
    allow_rows(&db).await;
    retry(&store).await;
    assert_eq!(names(&db).await, ["user_1=anna"]);
    assert_eq!(
        db.count("headcount.identities WHERE waiting_reason IS NOT NULL OR waiting_since IS NOT NULL").await,
        0
    );
    assert_eq!(db.one("SELECT kind FROM headcount.changes").await, "created");
}

async fn a_trigger_that_refuses_every_change_blocks_nothing(db: Db) {
    let store = db.store().await;
    deliver(&store, &[named(1, 0, "ann")]).await;
    refuse_rows(&db, "UPDATE", "true").await;
    deliver(&store, &[named(1, 1, "anna"), event("user.deleted", json!({"id": "user_1"}), 5)]).await;
    nothing_waits(&db).await;
    assert_eq!(db.one("SELECT state FROM headcount.identities").await, "deleted");
    assert!(held(&db).await.contains(&"account_state".to_owned()));
    assert_eq!(db.count("headcount.changes").await, 1, "of the row nothing has changed");
    allow_rows(&db).await;
    retry(&store).await;
    let row = db.query("SELECT account_state, username FROM users").await;
    assert_eq!(row, [[Some("deleted".to_owned()), None]]);
    assert!(held(&db).await.is_empty());
    assert_eq!(db.one("SELECT kind FROM headcount.changes ORDER BY seq DESC LIMIT 1").await, "deleted");
}

async fn what_the_application_has_written_meanwhile_stays(db: Db) {
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    deliver(&store, &[named(1, 0, "ann"), named(2, 0, "bob")]).await;
    deliver(&store, &[named(1, 1, "bob")]).await;
    assert_eq!(held(&db).await, ["username"]);
    db.execute("UPDATE users SET username = 'chosen' WHERE username = 'ann'").await;
    retry(&store).await;
    assert_eq!(names(&db).await, ["user_1=chosen", "user_2=bob"]);
    assert!(held(&db).await.is_empty(), "the application has answered the question");
    deliver(&store, &[named(1, 2, "third")]).await;
    assert_eq!(names(&db).await, ["user_1=chosen", "user_2=bob"]);
}

async fn a_value_that_somebody_removed_by_hand_is_taken_up(db: Db) {
    let store = db.store().await;
    db.execute(ONE_NAME).await;
    deliver(&store, &[named(1, 0, "ann"), named(2, 0, "bob")]).await;
    deliver(&store, &[named(1, 1, "bob")]).await;
    db.execute("UPDATE users SET username = 'robert' WHERE username = 'bob'").await;
    retry(&store).await;
    assert_eq!(names(&db).await, ["user_1=bob", "user_2=robert"]);
}

/// On PostgreSQL they are asked before the commit; SQLite says nothing until then.
async fn deferred_references_hold_back_their_value(db: Db) {
    let store = db.store().await;
    db.execute("CREATE TABLE allowed (name text PRIMARY KEY)").await;
    db.execute("INSERT INTO allowed VALUES ('good')").await;
    match db.backend {
        Backend::Sqlite => {
            db.execute("ALTER TABLE users ADD COLUMN allowed text REFERENCES allowed (name) DEFERRABLE INITIALLY DEFERRED").await;
            db.execute(
                "CREATE TRIGGER app_allowed AFTER INSERT ON users BEGIN
                   UPDATE users SET allowed = NEW.first_name WHERE id = NEW.id; END",
            )
            .await;
            db.execute(
                "CREATE TRIGGER app_allowed_too AFTER UPDATE OF first_name ON users BEGIN
                   UPDATE users SET allowed = NEW.first_name WHERE id = NEW.id; END",
            )
            .await;
        }
        _ => {
            db.execute(
                "ALTER TABLE users ADD CONSTRAINT app_allowed FOREIGN KEY (first_name) REFERENCES allowed (name)
                 DEFERRABLE INITIALLY DEFERRED",
            )
            .await;
        }
    }
    let bodies: Vec<String> = ["good", "bad", "good"]
        .iter()
        .enumerate()
        .map(|(n, name)| event("user.created", user(&format!("user_{n}"), 0, None, None, name), 0))
        .collect();
    deliver(&store, &bodies).await;
    nothing_waits(&db).await;
    assert_eq!((db.count("users").await, db.count("users WHERE first_name IS NULL").await), (3, 1));
    assert_eq!(held(&db).await, ["first_name"]);
    db.execute("INSERT INTO allowed VALUES ('bad')").await;
    retry(&store).await;
    assert_eq!(db.count("users WHERE first_name = 'bad'").await, 1);
    assert!(held(&db).await.is_empty());
}

/// A trigger that breaks a deferred reference of yet another table where the column gets this value.
pub async fn audit(db: &Db, column: &str, value: &str) {
    let sql = match db.backend {
        Backend::Sqlite => format!(
            "CREATE TRIGGER app_audit AFTER UPDATE OF {column} ON users WHEN NEW.{column} = '{value}'
             BEGIN INSERT INTO audit VALUES ('none'); END"
        ),
        _ => format!(
            "CREATE FUNCTION app_audit() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN INSERT INTO audit VALUES ('none'); RETURN NULL; END $$;
             CREATE TRIGGER app_audit AFTER UPDATE OF {column} ON users FOR EACH ROW
               WHEN (NEW.{column} = '{value}') EXECUTE FUNCTION app_audit()"
        ),
    };
    db.execute(&sql).await;
}

async fn a_commit_that_is_refused_leaves_the_row_alone(db: Db) {
    let store = db.store().await;
    deliver(&store, &[named(1, 0, "ann"), named(2, 0, "bob")]).await;
    db.execute("CREATE TABLE teams (name text PRIMARY KEY)").await;
    db.execute("CREATE TABLE audit (team text REFERENCES teams (name) DEFERRABLE INITIALLY DEFERRED)").await;
    audit(&db, "username", "anna").await;
    deliver(&store, &[named(1, 1, "anna"), named(2, 1, "bert")]).await;
    nothing_waits(&db).await;
    assert_eq!(names(&db).await, ["user_1=ann", "user_2=bert"]);
    assert_eq!(held(&db).await, ["username"]);
    db.execute("INSERT INTO teams VALUES ('none')").await;
    retry(&store).await;
    assert_eq!(names(&db).await, ["user_1=anna", "user_2=bert"]);
}

async fn a_deletion_that_may_not_free_an_address_is_a_deletion(db: Db) {
    let store = db.store().await;
    deliver(&store, &[named(1, 0, "ann")]).await;
    refuse_rows(&db, "UPDATE", "NEW.email IS NULL").await;
    deliver(&store, &[event("user.deleted", json!({"id": "user_1"}), 5)]).await;
    let row = db.query("SELECT account_state, username, email FROM users").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(row, [[text("deleted"), None, text("p1@example.com")]]);
    assert_eq!(held(&db).await, ["email", "email_verified"]);
}
