//! Erasure: nothing of the person is left in any table, and neither a delivery nor a read brings anybody back.

use super::calling::{calls, key, of};
use super::support::{Backend, Db, event, user};
use super::{deliver, reads, source, tick};
use crate::on_each_database;
use headcount::core::columns::Column;
use headcount::core::event::EventKind;
use headcount::core::layout::Layout;
use headcount::core::read::{Observation, Reading};
use headcount::reconcile::{Assignment, CallError, Caller, ErasedRow, ReadContext};
use headcount::store::{Counts, Store, own_table_names};
use serde_json::json;

on_each_database!(
    nothing_of_an_erased_person_is_left,
    a_row_that_is_needed_is_emptied_instead_of_removed,
    what_may_not_be_empty_says_nothing_instead,
    deleted_people_are_erased_when_their_time_is_over,
    the_feed_is_bounded_and_says_so,
    a_reader_of_the_feed_misses_nothing,
);

const MARKS: [&str; 5] = ["erasemark", "user_erasemark", "Erasemark", "+15559999", "erasemarkpic"];

fn marked(version: i64) -> serde_json::Value {
    let mut user =
        user("user_erasemark", version, Some("erasemark@example.com"), Some("erasemark"), "Erasemark");
    user["phone_numbers"] = json!([{"id": "idn_2", "phone_number": "+15559999"}]);
    user["primary_phone_number_id"] = json!("idn_2");
    user["image_url"] = json!("https://img.example.com/erasemarkpic");
    user["has_image"] = json!(true);
    user
}

/// Every table's rows as text, ours and the application's.
async fn everything(db: &Db) -> String {
    let mut all = String::new();
    let own = own_table_names().into_iter().map(|name| format!("headcount.{name}"));
    for table in own.chain(["users".to_owned()]) {
        let rows = match db.backend {
            Backend::Sqlite => {
                let bare = db.own(&table);
                let columns = db.query(&format!("SELECT name FROM pragma_table_info('{bare}')")).await;
                let columns: Vec<String> = columns
                    .into_iter()
                    .map(|mut row| format!("coalesce(CAST(\"{}\" AS text), '')", row[0].take().unwrap()))
                    .collect();
                db.query(&format!("SELECT {} FROM {table}", columns.join(" || ' ' || "))).await
            }
            _ => db.query(&format!("SELECT CAST(t AS text) FROM {table} t")).await,
        };
        for row in rows {
            all.push_str(&format!("{table}: {}\n", row[0].clone().unwrap_or_default()));
        }
    }
    all
}

async fn read(store: &Store, version: i64) {
    let body = event("user.updated", marked(version), version);
    let kind = source().provider.normalize("clerk", &body, &Layout::default()).unwrap().kind;
    let EventKind::Upsert(snapshot) = kind else { panic!("no upsert") };
    let reading = Reading {
        observed: Observation::Present(snapshot),
        marked_at: store.now().await.unwrap(),
        is_of_the_row: false,
    };
    let context = ReadContext { cause: "test", ..ReadContext::default() };
    reads(store)
        .apply(&[(key("user_erasemark"), reading)], &[], &context, "", Counts::default())
        .await
        .unwrap();
}

async fn nothing_of_an_erased_person_is_left(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", marked(0), 0), event("user.updated", marked(1), 1)]).await;
    deliver(&store, &[event("user.created", user("user_2", 0, Some("b@example.com"), None, "Bob"), 0)]).await;
    let id = of(&store, "user_erasemark").await.id;
    // A delivery of which nobody can tell whose it is, why somebody was banned, and what a trigger made of a name.
    let nobodys = json!({"first_name": "?", "email_addresses": [{"email_address": "erasemark@example.com"}]});
    deliver(&store, &[event("user.updated", nobodys, 1)]).await;
    assert_eq!(
        db.count("headcount.inbox WHERE status = 'dead' AND provider_id IS NULL AND body IS NOT NULL").await,
        1
    );
    let (mut ban, mut lift) = (Assignment::default(), Assignment::default());
    (ban.setting.suspended, lift.setting.suspended) = (Some(true), Some(false));
    let why = Caller { by: "operator", reason: Some("Erasemark was rude") };
    calls(&store).set(&id, &ban, why).await.unwrap();
    calls(&store).set(&id, &lift, why).await.unwrap();
    assert_eq!(db.count("headcount.changes WHERE cause LIKE '%was rude%'").await, 2);
    db.execute(&format!(
        "INSERT INTO headcount.altered_values (user_id, \"column\", sent, stored, since)
         VALUES ('{id}', 'username', 'Erasemark', 'erasemark', '2026-01-01T00:00:00.000Z')"
    ))
    .await;
    assert!(
        MARKS.iter().all(|mark| !mark.is_empty()) && everything(&db).await.contains("erasemark@example.com")
    );
    let erased = calls(&store).erase(&id, ErasedRow::Emptied, Caller::OPERATOR).await.unwrap();
    assert_eq!((erased.removed, erased.left.len()), (false, 0));
    let look = |when: &'static str| {
        let db = &db;
        async move {
            let left = everything(db).await;
            for mark in MARKS {
                let line = left.lines().find(|line| line.contains(mark));
                assert_eq!(line, None, "{mark} {when}");
            }
        }
    };
    look("after the erasure").await;
    // What was under way, what comes late, and what the source still shows.
    deliver(
        &store,
        &[event("user.updated", marked(2), 2), event("user.deleted", json!({"id": "user_erasemark"}), 3)],
    )
    .await;
    look("after late deliveries").await;
    let odd = json!({"id": "user_erasemark", "updated_at": "never", "first_name": "Erasemark"});
    deliver(&store, &[event("user.updated", odd, 4)]).await;
    look("after one that nobody understands").await;
    for version in [3, 4] {
        read(&store, version).await;
    }
    look("after reads").await;
    let hinted =
        calls(&store).provisional(&key("user_erasemark"), &Default::default(), &Assignment::default()).await;
    assert!(matches!(hinted, Err(CallError::Erased)));
    if db.backend != Backend::Sqlite {
        let made = db.try_execute("SELECT headcount.ensure('clerk', 'user_erasemark')").await.unwrap_err();
        assert!(made.to_string().contains("has ended"), "the function computes the same hash: {made}");
    }
    look("after attempts to make it anew").await;
    assert!(matches!(calls(&store).revive(&id, Caller::OPERATOR).await, Err(CallError::Erased)));
    let row = store.users_by_id(std::slice::from_ref(&id)).await.unwrap().remove(0);
    assert_eq!((row.account_state.as_str(), row.identities[0].state.as_str()), ("deleted", "deleted"));
    assert_eq!(db.count("users").await, 2);
    assert_eq!(db.count("headcount.inbox WHERE status = 'pending'").await, 0);
    let told = store.history(&id, 9).await.unwrap();
    assert_eq!(told[0].kind, "erased");
    // Once more is no error, and nothing.
    calls(&store).erase(&id, ErasedRow::Emptied, Caller::OPERATOR).await.unwrap();
    assert_eq!(store.history(&id, 9).await.unwrap().len(), told.len());
    if db.backend == Backend::Sqlite {
        store.close().await;
        let path = db.url.trim_start_matches("sqlite://").to_owned();
        for file in [path.clone(), format!("{path}-wal")] {
            let bytes = std::fs::read(&file).unwrap_or_default();
            for mark in MARKS {
                let found = bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
                assert!(!found, "{mark} is in the bytes of {file}");
            }
        }
    }
}

async fn a_row_that_is_needed_is_emptied_instead_of_removed(db: Db) {
    db.execute("CREATE TABLE posts (id integer PRIMARY KEY, author text)").await;
    let reference = match db.backend {
        Backend::Sqlite => {
            "DROP TABLE posts; CREATE TABLE posts (id integer PRIMARY KEY, author text REFERENCES users (id))"
        }
        _ => {
            "ALTER TABLE posts ALTER COLUMN author TYPE uuid USING CAST(author AS uuid), ADD FOREIGN KEY (author) REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED"
        }
    };
    db.execute(reference).await;
    let store = db.store().await;
    for n in [1, 2] {
        let person = user(&format!("user_{n}"), 0, Some(&format!("p{n}@example.com")), None, "Ann");
        deliver(&store, &[event("user.created", person, 0)]).await;
    }
    let (wrote, silent) = (of(&store, "user_1").await.id, of(&store, "user_2").await.id);
    db.execute(&format!("INSERT INTO posts VALUES (1, '{wrote}')")).await;
    let erased = calls(&store).erase(&wrote, ErasedRow::Removed, Caller::OPERATOR).await.unwrap();
    assert!(!erased.removed && erased.kept_because.is_some(), "{erased:?}");
    let row = store.users_by_id(&[wrote]).await.unwrap().remove(0);
    assert_eq!((row.account_state.as_str(), row.columns.get(Column::DisplayName)), ("deleted", None));
    let erased = calls(&store).erase(&silent, ErasedRow::Removed, Caller::OPERATOR).await.unwrap();
    assert!(erased.removed);
    assert_eq!(db.count("users").await, 1);
    deliver(&store, &[event("user.updated", user("user_2", 5, Some("p2@example.com"), None, "Ann"), 5)])
        .await;
    assert_eq!(db.count("users").await, 1, "nobody comes back");
    let shown = "SELECT coalesce(p.display_name, '-') || p.account_state FROM posts t JOIN headcount.people p ON p.id = t.author";
    assert_eq!(db.one(shown).await, "-deleted", "the post keeps its author");
}

async fn what_may_not_be_empty_says_nothing_instead(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", marked(0), 0)]).await;
    let check = "CREATE TRIGGER needs_a_name BEFORE UPDATE ON users WHEN NEW.username IS NULL OR NEW.email NOT LIKE '%@%'
         BEGIN SELECT RAISE(ABORT, 'no'); END";
    match db.backend {
        Backend::Sqlite => db.execute(check).await,
        _ => {
            db.execute("ALTER TABLE users ALTER COLUMN username SET NOT NULL, ADD CHECK (email LIKE '%@%')")
                .await
        }
    }
    let id = of(&store, "user_erasemark").await.id;
    let erased = calls(&store).erase(&id, ErasedRow::Emptied, Caller::OPERATOR).await.unwrap();
    assert_eq!(erased.left, Vec::<String>::new());
    let row = store.users_by_id(std::slice::from_ref(&id)).await.unwrap().remove(0);
    assert_eq!(row.columns.get(Column::Username), Some(&*format!("erased-{id}")));
    assert_eq!(row.account_state, "deleted");
    let left = everything(&db).await;
    assert!(MARKS.iter().all(|mark| !left.contains(mark)), "{left}");
}

async fn deleted_people_are_erased_when_their_time_is_over(db: Db) {
    let store = db.store().await;
    deliver(&store, &[event("user.created", marked(0), 0)]).await;
    deliver(&store, &[event("user.created", user("user_2", 0, Some("b@example.com"), None, "Bob"), 0)]).await;
    deliver(&store, &[event("user.deleted", json!({"id": "user_erasemark"}), 1)]).await;
    deliver(&store, &[event("user.deleted", json!({"id": "user_never_seen_erasemark"}), 1)]).await;
    assert_eq!(
        calls(&store).erase_ended(60_000, ErasedRow::Emptied, 10).await.unwrap(),
        0,
        "there is time yet"
    );
    assert!(everything(&db).await.contains("Erasemark"));
    tick(&store).await;
    assert_eq!(calls(&store).erase_ended(1, ErasedRow::Emptied, 10).await.unwrap(), 2);
    assert_eq!(calls(&store).erase_ended(1, ErasedRow::Emptied, 10).await.unwrap(), 0);
    let left = everything(&db).await;
    assert!(MARKS.iter().all(|mark| !left.contains(mark)), "{left}");
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 1);
    assert_eq!(of(&store, "user_2").await.account_state, "active");
}

async fn the_feed_is_bounded_and_says_so(db: Db) {
    let store = db.store().await;
    for version in 0..5 {
        let name = format!("Name {version}");
        let person = user("user_1", version, Some("a@example.com"), Some("ann"), &name);
        deliver(&store, &[event("user.updated", person, version)]).await;
    }
    assert_eq!(store.feed(None, 100).await.unwrap().changes.len(), 5);
    tick(&store).await;
    while store.prune_changes(1).await.unwrap() {}
    let feed = store.feed(None, 100).await.unwrap();
    assert_eq!((feed.changes.len(), feed.pruned, feed.latest), (0, 5, 5));
    // Where each column's value comes from is known still: the creation, and the last change of the name.
    let id = of(&store, "user_1").await.id;
    let kept: Vec<i64> = store.history(&id, 9).await.unwrap().iter().map(|told| told.seq).collect();
    assert_eq!(kept, [5, 1]);
}

async fn a_reader_of_the_feed_misses_nothing(db: Db) {
    let store = db.store().await;
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..25 {
                let assignment = Assignment::default();
                let key = key(&format!("user_{writer}_{n}"));
                calls(&store).provisional(&key, &Default::default(), &assignment).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut seen, mut after) = (Vec::new(), 0);
    while seen.len() < 100 {
        let feed = store.feed(Some(after), 7).await.unwrap();
        after = feed.changes.last().map_or(after, |told| told.seq);
        seen.extend(feed.changes.into_iter().map(|told| told.seq));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen, (1..=100).collect::<Vec<i64>>(), "in order, each once");
}
