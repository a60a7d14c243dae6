//! Calls: rows before their first snapshot, columns that the application sets, bans, ways back, and one user of two.

use super::support::wait::until;
use super::support::{Db, event, user};
use super::{deliver, source};
use crate::on_each_database;
use headcount::clock::SystemClock;
use headcount::core::columns::{Cell, Column, Columns};
use headcount::core::event::IdentityKey;
use headcount::reconcile::{Assignment, CallError, Caller, Calls};
use headcount::store::{Store, UserView};
use serde_json::json;
use sqlx::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;

on_each_database!(
    a_provisional_row_follows_the_first_snapshot,
    hints_never_keep_anybody_out,
    what_the_application_sets_stays,
    a_taken_username_is_a_conflict_that_names_it,
    columns_of_the_application_are_set_where_it_says_so,
    a_row_that_needs_more_than_headcount_knows_is_a_conflict,
    a_ban_of_the_application_is_lifted_by_no_source,
    a_person_brings_a_deleted_user_back,
    two_users_become_one_by_hand_alone,
    users_that_the_application_makes_are_told_once,
    a_long_transaction_of_the_application_holds_up_only_itself,
);

pub fn calls(store: &Store) -> Calls {
    Calls { store: store.clone(), sources: Arc::new(vec![source()]), clock: Arc::new(SystemClock) }
}

pub fn key(id: &str) -> IdentityKey {
    IdentityKey { source: "clerk".into(), provider_id: id.into() }
}

pub async fn assignment(store: &Store, cells: &[(&str, Option<&str>)]) -> Assignment {
    let cells: BTreeMap<String, Cell> =
        cells.iter().map(|(name, cell)| ((*name).to_owned(), cell.map(str::to_owned))).collect();
    calls(store).assignment(&cells).await.unwrap()
}

pub async fn of(store: &Store, id: &str) -> UserView {
    store.users_of("clerk", &[id.to_owned()]).await.unwrap().remove(0)
}

fn hints(cells: &[(Column, &str)]) -> Columns {
    let mut hints = Columns::default();
    for (column, text) in cells {
        hints.set(*column, Some((*text).to_owned()));
    }
    hints
}

fn created(id: &str, email: Option<&str>, username: Option<&str>, name: &str) -> String {
    event("user.created", user(id, 0, email, username, name), 0)
}

async fn history(db: &Db) -> Vec<String> {
    let rows = db.query("SELECT kind FROM headcount.changes c ORDER BY c.seq").await;
    rows.into_iter().filter_map(|mut row| row[0].take()).collect()
}

async fn a_provisional_row_follows_the_first_snapshot(db: Db) {
    let store = db.store().await;
    let known = hints(&[(Column::Email, "hint@example.com"), (Column::DisplayName, "Hint")]);
    let set = assignment(&store, &[("username", Some("ann"))]).await;
    calls(&store).provisional(&key("user_1"), &known, &set).await.unwrap();
    let before = of(&store, "user_1").await;
    assert_eq!(before.account_state, "provisional");
    assert_eq!(before.columns.get(Column::Email), Some("hint@example.com"));
    assert_eq!(before.columns.get(Column::Username), Some("ann"));
    // Whoever comes second finds it made.
    calls(&store).provisional(&key("user_1"), &known, &Assignment::default()).await.unwrap();
    // The application writes in the row itself, meanwhile.
    db.execute("UPDATE users SET avatar_url = 'https://img.example.com/mine'").await;
    deliver(&store, &[created("user_1", Some("a@example.com"), Some("provider"), "Ann")]).await;
    let after = of(&store, "user_1").await;
    assert_eq!((after.id, after.account_state.as_str()), (before.id, "active"));
    assert_eq!(after.columns.get(Column::Email), Some("a@example.com"), "hints give way");
    assert_eq!(after.columns.get(Column::DisplayName), Some("Ann"), "in every column");
    assert_eq!(after.columns.get(Column::Username), Some("ann"), "what was set stays");
    assert_eq!(
        after.columns.get(Column::AvatarUrl),
        Some("https://img.example.com/mine"),
        "as does what SQL wrote"
    );
    assert_eq!(history(&db).await, ["created", "updated"]);
    assert_eq!(db.count("headcount.identities WHERE hints IS NOT NULL").await, 0);
}

async fn hints_never_keep_anybody_out(db: Db) {
    db.execute("CREATE UNIQUE INDEX one_address ON users (email)").await;
    let store = db.store().await;
    deliver(&store, &[created("user_1", Some("a@example.com"), None, "Ann")]).await;
    let known = hints(&[(Column::Email, "a@example.com")]);
    calls(&store).provisional(&key("user_2"), &known, &Assignment::default()).await.unwrap();
    let other = of(&store, "user_2").await;
    assert_eq!((other.columns.get(Column::Email), other.account_state.as_str()), (None, "provisional"));
    assert_ne!(other.id, of(&store, "user_1").await.id, "hints never link");
}

async fn what_the_application_sets_stays(db: Db) {
    let store = db.store().await;
    deliver(&store, &[created("user_1", Some("a@example.com"), Some("ann"), "Ann")]).await;
    let id = of(&store, "user_1").await.id;
    // The very value of the provider's: by SQL it could not be told apart, by a call it can.
    let set = assignment(&store, &[("username", Some("ann"))]).await;
    assert!(calls(&store).set(&id, &set, Caller::APPLICATION).await.unwrap());
    assert!(!calls(&store).set(&id, &set, Caller::APPLICATION).await.unwrap(), "nothing is left to do");
    let renamed = event("user.updated", user("user_1", 1, Some("b@example.com"), Some("other"), "Ann"), 1);
    deliver(&store, &[renamed]).await;
    let after = of(&store, "user_1").await;
    assert_eq!(after.columns.get(Column::Username), Some("ann"));
    assert_eq!(after.columns.get(Column::Email), Some("b@example.com"));
    let empty = assignment(&store, &[("username", None)]).await;
    calls(&store).set(&id, &empty, Caller::APPLICATION).await.unwrap();
    assert_eq!(of(&store, "user_1").await.columns.get(Column::Username), None);
    let cells = BTreeMap::from([("email".to_owned(), Some("x".to_owned()))]);
    assert!(matches!(calls(&store).assignment(&cells).await, Err(CallError::NotSettable { .. })));
    let cells = BTreeMap::from([("usernme".to_owned(), None)]);
    let error = calls(&store).assignment(&cells).await.unwrap_err().to_string();
    assert!(error.contains("nearest is `username`"), "{error}");
    let nobody = "01900000-0000-7000-8000-000000000000";
    assert!(matches!(calls(&store).set(nobody, &set, Caller::APPLICATION).await, Err(CallError::Unknown)));
    db.execute(&format!("INSERT INTO users (id) VALUES ('{nobody}')")).await;
    assert!(matches!(calls(&store).set(nobody, &set, Caller::APPLICATION).await, Err(CallError::NoAccount)));
}

async fn a_taken_username_is_a_conflict_that_names_it(db: Db) {
    db.execute("CREATE UNIQUE INDEX one_name ON users (username)").await;
    let store = db.store().await;
    deliver(&store, &[created("user_1", Some("a@example.com"), Some("ann"), "Ann")]).await;
    deliver(&store, &[created("user_2", Some("b@example.com"), None, "Bob")]).await;
    let id = of(&store, "user_2").await.id;
    let set = assignment(&store, &[("username", Some("ann")), ("display_name", Some("Bobby"))]).await;
    let Err(CallError::NoRoom(no_room)) = calls(&store).set(&id, &set, Caller::APPLICATION).await else {
        panic!("it is taken")
    };
    assert_eq!(no_room.columns, ["username"]);
    let bob = of(&store, "user_2").await;
    assert_eq!(bob.columns.get(Column::DisplayName), Some("Bob"), "all or nothing");
    assert_eq!(db.count("headcount.held_values").await, 0);
    let fresh = calls(&store).provisional(&key("user_3"), &Columns::default(), &set).await;
    assert!(matches!(fresh, Err(CallError::NoRoom(no_room)) if no_room.columns == ["username"]));
    assert_eq!(
        db.count("headcount.identities WHERE provider_id = 'user_3'").await,
        0,
        "nothing is left of it"
    );
    // Who gives the name up makes room for whoever waits for it.
    let waits = event("user.updated", user("user_2", 1, Some("b@example.com"), Some("ann"), "Bob"), 1);
    deliver(&store, &[waits]).await;
    assert_eq!(db.count("headcount.held_values").await, 1);
    let ann = of(&store, "user_1").await.id;
    let other = assignment(&store, &[("username", Some("annie"))]).await;
    calls(&store).set(&ann, &other, Caller::APPLICATION).await.unwrap();
    assert_eq!(of(&store, "user_2").await.columns.get(Column::Username), Some("ann"));
    assert_eq!(db.count("headcount.held_values").await, 0);
}

async fn columns_of_the_application_are_set_where_it_says_so(db: Db) {
    db.execute("ALTER TABLE users ADD COLUMN accepted_terms boolean").await;
    db.execute("ALTER TABLE users ADD COLUMN karma integer CHECK (karma >= 0)").await;
    let store = db.store().await;
    store.migrate(Some(&["email".into(), "accepted_terms".into()])).await.unwrap();
    deliver(&store, &[created("user_1", Some("a@example.com"), None, "Ann")]).await;
    let before = of(&store, "user_1").await;
    assert_eq!(before.missing, ["accepted_terms"]);
    let set = assignment(&store, &[("accepted_terms", Some("true")), ("karma", Some("7"))]).await;
    assert!(calls(&store).set(&before.id, &set, Caller::APPLICATION).await.unwrap());
    assert!(!calls(&store).set(&before.id, &set, Caller::APPLICATION).await.unwrap());
    assert_eq!(of(&store, "user_1").await.account_state, "active");
    assert_eq!(db.count("users WHERE accepted_terms AND karma = 7").await, 1);
    let told = store.history(&before.id, 1).await.unwrap().remove(0);
    assert_eq!(
        (told.kind.as_str(), told.changed),
        ("updated", vec!["accepted_terms".into(), "karma".into()])
    );
    let bad = assignment(&store, &[("karma", Some("-1"))]).await;
    let error = calls(&store).set(&before.id, &bad, Caller::APPLICATION).await.unwrap_err();
    assert!(matches!(&error, CallError::NoRoom(no_room) if no_room.columns == ["karma"]), "{error}");
    assert_eq!(db.one("SELECT CAST(karma AS text) FROM users").await, "7");
}

async fn a_row_that_needs_more_than_headcount_knows_is_a_conflict(db: Db) {
    db.execute("ALTER TABLE users ADD COLUMN tenant text NOT NULL DEFAULT 'x'").await;
    if db.backend != super::support::Backend::Sqlite {
        db.execute("ALTER TABLE users ALTER COLUMN tenant DROP DEFAULT").await;
    } else {
        // SQLite cannot drop a default: a trigger refuses what was not given.
        db.execute(
            "CREATE TRIGGER tenants BEFORE INSERT ON users WHEN NEW.tenant = 'x'
             BEGIN SELECT RAISE(ABORT, 'no tenant'); END",
        )
        .await;
    }
    let store = db.store().await;
    let made = calls(&store).provisional(&key("user_1"), &Columns::default(), &Assignment::default()).await;
    let Err(CallError::NoRoom(no_room)) = made else { panic!("there can be no such row") };
    if db.backend != super::support::Backend::Sqlite {
        assert_eq!(no_room.columns, ["tenant"]);
    }
    let set = assignment(&store, &[("tenant", Some("acme"))]).await;
    calls(&store).provisional(&key("user_1"), &Columns::default(), &set).await.unwrap();
    assert_eq!(db.one("SELECT tenant FROM users").await, "acme");
}

async fn a_ban_of_the_application_is_lifted_by_no_source(db: Db) {
    let store = db.store().await;
    deliver(&store, &[created("user_1", Some("a@example.com"), None, "Ann")]).await;
    let id = of(&store, "user_1").await.id;
    let mut ban = Assignment::default();
    ban.setting.suspended = Some(true);
    let because = Caller { reason: Some("spam"), ..Caller::APPLICATION };
    calls(&store).set(&id, &ban, because).await.unwrap();
    let mut lifted = user("user_1", 1, Some("a@example.com"), None, "Ann");
    lifted["banned"] = json!(false);
    deliver(&store, &[event("user.updated", lifted, 1)]).await;
    assert_eq!(of(&store, "user_1").await.account_state, "suspended");
    let told = store.history(&id, 9).await.unwrap();
    assert!(told[0].cause.contains("\"reason\":\"spam\""), "{}", told[0].cause);
    ban.setting.suspended = Some(false);
    calls(&store).set(&id, &ban, Caller::APPLICATION).await.unwrap();
    assert_eq!(of(&store, "user_1").await.account_state, "active");
}

async fn a_person_brings_a_deleted_user_back(db: Db) {
    let store = db.store().await;
    deliver(&store, &[created("user_1", Some("a@example.com"), Some("ann"), "Ann")]).await;
    let id = of(&store, "user_1").await.id;
    assert!(matches!(calls(&store).revive(&id, Caller::OPERATOR).await, Err(CallError::NotDeleted)));
    deliver(&store, &[event("user.deleted", json!({"id": "user_1"}), 2)]).await;
    assert!(matches!(
        calls(&store)
            .set(&id, &assignment(&store, &[("username", Some("x"))]).await, Caller::APPLICATION)
            .await,
        Err(CallError::Deleted)
    ));
    calls(&store).revive(&id, Caller::OPERATOR).await.unwrap();
    let back = of(&store, "user_1").await;
    assert_eq!(
        (back.account_state.as_str(), back.columns.get(Column::Email)),
        ("active", Some("a@example.com"))
    );
    assert_eq!(back.columns.get(Column::Username), Some("ann"));
    assert_eq!(history(&db).await, ["created", "deleted", "revived"]);
}

async fn two_users_become_one_by_hand_alone(db: Db) {
    db.execute("CREATE UNIQUE INDEX one_address ON users (email)").await;
    let store = db.store().await;
    // The same person, deleted and signed up again: same address, another id.
    deliver(&store, &[created("user_1", Some("a@example.com"), Some("ann"), "Ann")]).await;
    deliver(&store, &[event("user.deleted", json!({"id": "user_1"}), 2)]).await;
    deliver(&store, &[created("user_2", Some("a@example.com"), None, "Ann again")]).await;
    let (old, new) = (of(&store, "user_1").await.id, of(&store, "user_2").await.id);
    assert_ne!(old, new);
    let tied = calls(&store).link(&key("user_2"), &old, Caller::OPERATOR).await.unwrap();
    assert_eq!((tied.from.as_deref(), tied.ended), (Some(&*new), true));
    let merged = of(&store, "user_2").await;
    assert_eq!((merged.id.as_str(), merged.account_state.as_str()), (&*old, "active"));
    assert_eq!(merged.columns.get(Column::Email), Some("a@example.com"));
    assert_eq!(merged.identities.len(), 2);
    let left = store.users_by_id(std::slice::from_ref(&new)).await.unwrap().remove(0);
    assert_eq!((left.account_state.as_str(), left.columns.get(Column::Email)), ("deleted", None));
    // The end of the first account, told once more, is not the end of the user.
    deliver(&store, &[event("user.deleted", json!({"id": "user_1"}), 3)]).await;
    assert_eq!(of(&store, "user_2").await.account_state, "active");
    let again = calls(&store).link(&key("user_2"), &old, Caller::OPERATOR).await;
    assert!(matches!(again, Err(CallError::Conflict(_))));
    deliver(&store, &[event("user.deleted", json!({"id": "user_2"}), 4)]).await;
    assert_eq!(of(&store, "user_2").await.account_state, "deleted", "and the end of the last one is");
    assert_eq!(history(&db).await, ["created", "deleted", "created", "deleted", "revived", "deleted"]);
}

async fn users_that_the_application_makes_are_told_once(db: Db) {
    let store = db.store().await;
    let id = "01900000-0000-7000-8000-00000000000a";
    match db.backend {
        super::support::Backend::Sqlite => {
            db.execute(&format!(
                "INSERT INTO users (id, email, username, provisional) VALUES ('{id}', 'hint@example.com', 'ann', 1);
                 INSERT INTO headcount_identities (source, provider_id, user_id, state, first_seen_at)
                 VALUES ('clerk', 'user_1', '{id}', 'present', strftime('%Y-%m-%dT%H:%M:%fZ','now'))"
            ))
            .await;
        }
        _ => {
            db.execute("SELECT headcount.ensure('clerk', 'user_1', '{\"email\": \"hint@example.com\"}', '{\"username\": \"ann\"}')")
                .await;
        }
    }
    assert_eq!(of(&store, "user_1").await.account_state, "provisional");
    assert_eq!(calls(&store).announce(10).await.unwrap(), 1);
    assert_eq!(calls(&store).announce(10).await.unwrap(), 0);
    assert_eq!(history(&db).await, ["created"]);
    assert_eq!(store.ask_provisional("clerk", 10).await.unwrap(), 1, "its snapshot is asked for");
    deliver(&store, &[created("user_1", Some("a@example.com"), Some("provider"), "Ann")]).await;
    let after = of(&store, "user_1").await;
    assert_eq!(after.columns.get(Column::Email), Some("a@example.com"));
    assert_eq!(after.columns.get(Column::Username), Some("ann"), "what the application wrote stays");
    assert_eq!(history(&db).await, ["created", "updated"]);
}

async fn a_long_transaction_of_the_application_holds_up_only_itself(db: Db) {
    if db.backend == super::support::Backend::Sqlite {
        // One writer at a time: there is nothing to hold up but everything.
        return;
    }
    let store = db.store().await;
    let mut application = sqlx::PgConnection::connect(&db.direct).await.unwrap();
    let begin = "BEGIN; SELECT headcount.ensure('clerk', 'user_5')";
    sqlx::raw_sql(begin).execute(&mut application).await.unwrap();
    let bodies: Vec<String> =
        (0..10).map(|n| created(&format!("user_{n}"), Some("a@example.com"), None, "Ann")).collect();
    let deliveries: Vec<_> =
        bodies.iter().map(|body| super::delivery(&body.len().to_string(), body)).collect();
    let deliveries = deliveries.into_iter().enumerate().map(|(n, mut delivery)| {
        delivery.message_id = format!("msg_{n}");
        delivery
    });
    store.accept(&deliveries.collect::<Vec<_>>()).await.unwrap();
    super::applier(&store, headcount::core::brake::DeleteLimit::Off).apply_batch().await.unwrap();
    // While the application's transaction is open still.
    assert_eq!(db.count("headcount.inbox WHERE status = 'applied'").await, 9);
    sqlx::raw_sql("COMMIT").execute(&mut application).await.unwrap();
    until("what was put off is applied", || async {
        super::drain(&store).await;
        db.count("headcount.inbox WHERE status = 'applied'").await == 10
    })
    .await;
    assert_eq!(db.count("users").await, 10);
    assert_eq!(of(&store, "user_5").await.account_state, "active");
}
