//! Rule 10: an account whose address is another user's and not verified waits without a user, whatever brings it.

use super::calling::key as clerks;
use super::sources::{applier, clerk, columns, deliver, open, source, workos};
use super::support::wait::until;
use super::support::{Backend, Db, event};
use crate::on_each_database;
use headcount::clock::SystemClock;
use headcount::core::columns::{Column, Columns};
use headcount::core::event::{EventKind, IdentityKey};
use headcount::core::layout::Layout;
use headcount::core::link::LinkRule;
use headcount::core::read::{Observation, Reading};
use headcount::reconcile::{
    Assignment, CallError, Caller, Calls, ErasedRow, ReadContext, Reads, ReadsOutcome, Separated,
};
use headcount::source::Source;
use headcount::store::{Counts, NamedSource, Store};
use serde_json::json;
use std::sync::Arc;

on_each_database!(
    in_every_order_of_its_deliveries_a_verified_account_is_linked,
    two_accounts_that_come_together_are_decided_one_after_the_other,
    reads_wait_and_link_as_deliveries_do,
    it_waits_no_more_once_its_own_address_or_the_users_changes,
    nobody_is_made_again_where_linking_ends,
    a_person_decides_by_linking_or_separating,
    a_call_makes_no_user_under_another_ones_address,
    a_user_that_is_provisional_already_collides,
    the_function_refuses_as_a_call_does,
    whoever_sees_an_address_at_the_same_moment_waits_for_the_other,
);

const CLARA: &str = "clara@example.com";

fn linking() -> Vec<Source> {
    let workos = source("workos", "workos", |source| source.link_by.push(LinkRule::VerifiedEmail));
    vec![source("clerk", "clerk", |_| {}), workos]
}

fn key() -> IdentityKey {
    IdentityKey { source: "workos".into(), provider_id: "user_w".into() }
}

fn calls(store: &Store) -> Calls {
    Calls { store: store.clone(), sources: Arc::new(linking()), clock: Arc::new(SystemClock) }
}

async fn claras(db: &Db) -> Store {
    let store = open(db, &["clerk", "workos"]).await;
    deliver(&store, &linking(), &[("clerk", clerk(1, CLARA, Some("clara"), None))]).await;
    store
}

fn unverified(version: i64) -> (&'static str, String) {
    ("workos", workos(version, "Clara@Example.com", false, None))
}

fn verified(version: i64) -> (&'static str, String) {
    ("workos", workos(version, CLARA, true, None))
}

async fn waits(db: &Db) -> bool {
    db.count(
        "headcount.identities WHERE source = 'workos' AND user_id IS NULL AND awaited_address IS NOT NULL",
    )
    .await
        == 1
}

async fn is_linked(db: &Db) -> bool {
    db.count("headcount.identities WHERE linked_by = 'verified-email' AND awaited_address IS NULL AND waiting_reason IS NULL")
        .await
        == 1
}

async fn in_every_order_of_its_deliveries_a_verified_account_is_linked(db: Db) {
    let backend = db.backend;
    let mut databases = vec![db];
    for _ in 0..3 {
        databases.push(Db::new(backend).await);
    }
    let batches: [&[&[i64]]; 4] = [&[&[1], &[2]], &[&[2], &[1]], &[&[1, 2]], &[&[2, 1], &[1]]];
    let mut ends = Vec::new();
    for (db, batches) in databases.iter().zip(batches) {
        let store = claras(db).await;
        for (n, batch) in batches.iter().enumerate() {
            let bodies: Vec<_> =
                batch.iter().map(|&version| if version == 1 { unverified(1) } else { verified(2) }).collect();
            deliver(&store, &linking(), &bodies).await;
            if n == 0 && **batch == [1] {
                assert!(waits(db).await);
                let told = "SELECT last_error FROM headcount.inbox WHERE source = 'workos'";
                assert!(db.one(told).await.contains("another user's"), "the delivery says why");
                assert_eq!(
                    store.status(&["workos".to_owned()]).await.unwrap().sources[0].address_conflicts.awaiting,
                    1
                );
            }
        }
        assert!(is_linked(db).await, "{batches:?}");
        // But for the id.
        ends.push(columns(db).await.into_iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>());
    }
    assert!(ends.iter().all(|end| *end == ends[0] && end.len() == 1), "{ends:#?}");
    // Who came first has a user of its own, and nothing merges two of them.
    let db = Db::new(backend).await;
    let store = open(&db, &["clerk", "workos"]).await;
    for body in [unverified(1), ("clerk", clerk(1, CLARA, Some("clara"), None)), verified(2)] {
        deliver(&store, &linking(), &[body]).await;
    }
    assert_eq!(db.count("users").await, 2);
}

async fn two_accounts_that_come_together_are_decided_one_after_the_other(db: Db) {
    let store = open(&db, &["clerk", "workos"]).await;
    deliver(&store, &linking(), &[("clerk", clerk(1, CLARA, Some("clara"), None)), unverified(1)]).await;
    assert!(waits(&db).await);
    assert_eq!(db.count("users").await, 1);
    let dora = |body: String| {
        body.replace("clara@", "dora@").replace("user_c", "user_d").replace("user_w", "user_wd")
    };
    let both = [("clerk", dora(clerk(1, CLARA, None, None))), ("workos", dora(workos(3, CLARA, true, None)))];
    deliver(&store, &linking(), &both).await;
    assert!(is_linked(&db).await);
    assert_eq!(db.count("users").await, 2);
}

async fn read(store: &Store, version: i64, is_verified: bool) -> ReadsOutcome {
    let sources = linking();
    let body = workos(version, CLARA, is_verified, None);
    let event = sources[1].provider.normalize("workos", &body, &Layout::default()).unwrap();
    let EventKind::Upsert(snapshot) = event.kind else { panic!("no upsert") };
    let marked_at = store.now().await.unwrap();
    let reading = Reading { observed: Observation::Present(snapshot), marked_at, is_of_the_row: false };
    let reads = Reads {
        store: store.clone(),
        source: sources[1].clone(),
        sources: Arc::new(sources),
        clock: Arc::new(SystemClock),
        confirm_after_ms: 0,
    };
    let context = ReadContext { cause: "test", ..ReadContext::default() };
    reads.apply(&[(key(), reading)], &[], &context, "", Counts::default()).await.unwrap()
}

async fn reads_wait_and_link_as_deliveries_do(db: Db) {
    let store = claras(&db).await;
    read(&store, 1, false).await;
    assert!(waits(&db).await);
    let again = read(&store, 1, false).await;
    assert_eq!(
        (again.counts.unchanged, again.counts.created, again.counts.updated),
        (1, 0, 0),
        "it is no drift"
    );
    let linked = read(&store, 2, true).await;
    assert_eq!(linked.linked, 1);
    assert!(is_linked(&db).await);
    // What a stale page says links nobody.
    let db = Db::new(db.backend).await;
    let store = claras(&db).await;
    deliver(&store, &linking(), &[unverified(5)]).await;
    read(&store, 2, true).await;
    assert!(waits(&db).await);
}

async fn it_waits_no_more_once_its_own_address_or_the_users_changes(db: Db) {
    let backend = db.backend;
    let gone = event("user.deleted", json!({"object": "user", "id": "user_c", "deleted": true}), 50);
    let ends: [(&str, &str, String); 3] = [
        ("its own", "workos", workos(2, "wanda@example.com", false, None)),
        ("the user's", "clerk", clerk(2, "new@example.com", Some("clara"), None)),
        ("deleted", "clerk", gone),
    ];
    for (what, from, body) in ends {
        let db = Db::new(backend).await;
        let store = claras(&db).await;
        deliver(&store, &linking(), &[unverified(1)]).await;
        assert!(waits(&db).await);
        deliver(&store, &linking(), &[(from, body)]).await;
        assert_eq!(db.count("users").await, 2, "{what}");
        assert_eq!(db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await, 0, "{what}");
    }
    // By an erasure, and by a statement of the application's: at the next look.
    for erases in [true, false] {
        let db = Db::new(backend).await;
        let store = claras(&db).await;
        deliver(&store, &linking(), &[unverified(1)]).await;
        let user = db.one("SELECT user_id FROM headcount.identities WHERE source = 'clerk'").await;
        match erases {
            true => drop(calls(&store).erase(&user, ErasedRow::Emptied, Caller::OPERATOR).await.unwrap()),
            false => db.execute("UPDATE users SET email = 'by@hand.example.com'").await,
        }
        applier(&store, &linking()).retry_held(None).await.unwrap();
        assert_eq!(db.count("users").await, 2);
        assert!(!waits(&db).await);
    }
    // Who is deleted waits for nothing.
    let store = claras(&db).await;
    deliver(&store, &linking(), &[unverified(1)]).await;
    deliver(
        &store,
        &linking(),
        &[("workos", workos(9, CLARA, false, None).replace("user.updated", "user.deleted"))],
    )
    .await;
    assert_eq!(db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await, 0);
    assert_eq!(db.count("users").await, 1);
}

async fn nobody_is_made_again_where_linking_ends(db: Db) {
    let store = claras(&db).await;
    deliver(&store, &linking(), &[unverified(1)]).await;
    let plain = vec![source("clerk", "clerk", |_| {}), source("workos", "workos", |_| {})];
    applier(&store, &plain).retry_held(None).await.unwrap();
    assert_eq!(db.count("users").await, 2, "without the rule an address says nothing");
    deliver(&store, &linking(), &[verified(2)]).await;
    assert_eq!(db.count("users").await, 2);
}

async fn a_person_decides_by_linking_or_separating(db: Db) {
    let store = claras(&db).await;
    deliver(&store, &linking(), &[unverified(1)]).await;
    let waiting = store.address_conflicts(None, 10).await.unwrap();
    let clara = db.one("SELECT user_id FROM headcount.identities WHERE source = 'clerk'").await;
    assert_eq!((waiting.len(), waiting[0].user_id.as_deref()), (1, None));
    assert_eq!(waiting[0].other_user_id.as_deref(), Some(clara.as_str()));
    let Separated::Made(id) = calls(&store).separate(&key(), Caller::OPERATOR).await.unwrap() else {
        panic!()
    };
    assert_ne!(id, clara);
    assert_eq!(db.count("users").await, 2);
    assert!(!waits(&db).await);
    assert_eq!(store.address_conflicts(None, 10).await.unwrap(), []);
    assert!(matches!(calls(&store).separate(&key(), Caller::OPERATOR).await, Err(CallError::Conflict(_))));
    // Verified later, it is somebody else all the same.
    deliver(&store, &linking(), &[verified(2)]).await;
    assert_eq!(db.count("headcount.identities WHERE linked_by IS NOT NULL").await, 0);

    let db = Db::new(db.backend).await;
    let store = claras(&db).await;
    deliver(&store, &linking(), &[unverified(1)]).await;
    let clara = db.one("SELECT user_id FROM headcount.identities WHERE source = 'clerk'").await;
    calls(&store).link(&key(), &clara, Caller::OPERATOR).await.unwrap();
    assert_eq!(db.count("users").await, 1);
    assert_eq!(db.count("headcount.identities WHERE linked_by = 'hand' AND waiting_reason IS NULL").await, 1);
    let nobody = IdentityKey { source: "workos".into(), provider_id: "user_nobody".into() };
    assert!(matches!(calls(&store).separate(&nobody, Caller::OPERATOR).await, Err(CallError::Conflict(_))));
}

fn hints(email: &str) -> Columns {
    let mut hints = Columns::default();
    hints.set(Column::Email, Some(email.to_owned()));
    hints
}

async fn ensured(store: &Store, email: &str) -> Result<(), CallError> {
    calls(store).provisional(&key(), &hints(email), &Assignment::default()).await
}

async fn a_call_makes_no_user_under_another_ones_address(db: Db) {
    let store = claras(&db).await;
    assert!(matches!(ensured(&store, "CLARA@example.com").await, Err(CallError::AddressOfAnotherUser)));
    assert_eq!(db.count("headcount.identities WHERE source = 'workos'").await, 0, "nothing is left of it");
    deliver(&store, &linking(), &[unverified(1)]).await;
    assert!(matches!(ensured(&store, "else@example.com").await, Err(CallError::AddressOfAnotherUser)));
    assert!(waits(&db).await);
    deliver(&store, &linking(), &[verified(2)]).await;
    ensured(&store, CLARA).await.unwrap();
    assert_eq!(db.count("users").await, 1);
    // A source that does not link by addresses goes on as before.
    calls(&store).provisional(&clerks("user_d"), &hints(CLARA), &Assignment::default()).await.unwrap();
    assert_eq!(db.count("users").await, 2);
}

async fn a_user_that_is_provisional_already_collides(db: Db) {
    for decides_by_link in [false, true] {
        let db = Db::new(db.backend).await;
        let store = claras(&db).await;
        ensured(&store, "else@example.com").await.unwrap();
        deliver(&store, &linking(), &[unverified(1)]).await;
        assert_eq!(db.count("users").await, 2, "the user stays");
        let collides = store.address_conflicts(Some("workos"), 10).await.unwrap();
        let clara = db.one("SELECT user_id FROM headcount.identities WHERE source = 'clerk'").await;
        assert_eq!(collides.len(), 1);
        assert!(collides[0].user_id.is_some());
        assert_eq!(collides[0].other_user_id.as_deref(), Some(clara.as_str()));
        // Until somebody decides, whatever comes.
        deliver(&store, &linking(), &[verified(2)]).await;
        assert_eq!(
            store.status(&["workos".to_owned()]).await.unwrap().sources[0].address_conflicts.colliding,
            1
        );
        match decides_by_link {
            true => drop(calls(&store).link(&key(), &clara, Caller::OPERATOR).await.unwrap()),
            false => {
                let separated = calls(&store).separate(&key(), Caller::OPERATOR).await.unwrap();
                assert_eq!(Some(separated), collides[0].user_id.clone().map(Separated::Stays));
            }
        }
        assert_eq!(store.address_conflicts(None, 10).await.unwrap(), []);
        let living = db.count("users WHERE account_state <> 'deleted'").await;
        assert_eq!(living, if decides_by_link { 1 } else { 2 });
    }
}

async fn the_function_refuses_as_a_call_does(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    let store = claras(&db).await;
    let named = |name: &str, links_by_address| NamedSource {
        name: name.into(),
        kind: name.into(),
        shares_ids: false,
        links_by_address,
    };
    store.name_sources(&[named("clerk", false), named("workos", true)]).await.unwrap();
    let code = async |call: &str| match db.try_execute(call).await {
        Ok(()) => "made".to_owned(),
        Err(error) => error.as_database_error().unwrap().code().unwrap().into_owned(),
    };
    let by_hint = "SELECT headcount.ensure('workos', 'user_w', '{\"email\": \"Clara@example.com\"}')";
    assert_eq!(code(by_hint).await, "HC409");
    assert_eq!(db.count("headcount.identities WHERE source = 'workos'").await, 0);
    deliver(&store, &linking(), &[unverified(1)]).await;
    assert_eq!(code("SELECT headcount.ensure('workos', 'user_w')").await, "HC409", "it waits");
    deliver(&store, &linking(), &[verified(2)]).await;
    assert_eq!(code(by_hint).await, "made");
    assert_eq!(db.count("users").await, 1);
    let elsewhere = "SELECT headcount.ensure('clerk', 'user_d', '{\"email\": \"Clara@example.com\"}')";
    assert_eq!(code(elsewhere).await, "made", "that source links by no address");
}

async fn whoever_sees_an_address_at_the_same_moment_waits_for_the_other(db: Db) {
    let store = open(&db, &["clerk", "workos"]).await;
    let address = [CLARA.to_owned()];
    if db.backend == Backend::Sqlite {
        return;
    }
    let mut first = store.reconciliation().await.unwrap();
    first.claim_addresses(&address).await.unwrap();
    let other = store.clone();
    let second = tokio::spawn(async move {
        let mut second = other.reconciliation().await.unwrap();
        second.claim_addresses(&[CLARA.to_owned()]).await.unwrap();
        second.commit(&[]).await.unwrap();
    });
    let waiting = "pg_locks WHERE NOT granted";
    until("the second to wait", async || db.count(waiting).await > 0).await;
    assert!(!second.is_finished());
    first.commit(&[]).await.unwrap();
    second.await.unwrap();
    assert_eq!(db.count("headcount.address_claims").await, 0);
}
