//! Where a source shares its ids, a row has the id of its account.

use super::sources::{deliver, open, source};
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::clock::SystemClock;
use headcount::core::columns::Columns;
use headcount::core::event::IdentityKey;
use headcount::core::link::LinkRule;
use headcount::reconcile::Calls;
use headcount::store::NamedSource;
use serde_json::json;
use std::sync::Arc;

on_each_database!(a_row_takes_the_id_of_its_account_where_ids_are_shared);

/// Supabase's own pattern: a row may only have the id of an account. Whichever way the row is made, it has that id.
async fn a_row_takes_the_id_of_its_account_where_ids_are_shared(db: Db) {
    let accounts: Vec<String> =
        (1..=4).map(|n| format!("{n}1111111-1111-4111-8111-11111111111{n}")).collect();
    let sharing = vec![source("supabase", "supabase", |source| source.link_by.push(LinkRule::SharedId))];
    let store = open(&db, &["supabase"]).await;
    let named = NamedSource {
        name: "supabase".into(),
        kind: "supabase".into(),
        shares_ids: true,
        links_by_address: false,
    };
    store.name_sources(&[named]).await.unwrap();
    let row = |id: &str, email: &str| {
        let at = "2026-01-02T03:04:05+00:00";
        let record =
            json!({"id": id, "email": email, "email_confirmed_at": at, "created_at": at, "updated_at": at});
        json!({"type": "INSERT", "table": "users", "schema": "auth", "record": record}).to_string()
    };
    deliver(&store, &sharing, &[("supabase", row(&accounts[0], "1@example.com"))]).await;
    let calls =
        Calls { store: store.clone(), sources: Arc::new(sharing.clone()), clock: Arc::new(SystemClock) };
    let key = |id: &str| IdentityKey { source: "supabase".into(), provider_id: id.into() };
    let assignment = headcount::reconcile::Assignment::default();
    calls.provisional(&key(&accounts[1]), &Columns::default(), &assignment).await.unwrap();
    let mut expected = accounts[..2].to_vec();
    if db.backend != Backend::Sqlite {
        db.execute(&format!("SELECT headcount.ensure('supabase', '{}')", accounts[2])).await;
        expected.push(accounts[2].clone());
        // Of an account that says nothing of itself as an id, and of a row that is there already.
        db.execute("SELECT headcount.ensure('supabase', 'no-uuid')").await;
        db.execute(&format!("INSERT INTO users (id) VALUES ('{}')", accounts[3])).await;
        db.execute(&format!("SELECT headcount.ensure('supabase', '{}')", accounts[3])).await;
        expected.push(accounts[3].clone());
        assert_eq!(db.count("users").await, 5);
        let linked =
            format!("SELECT linked_by FROM headcount.identities WHERE provider_id = '{}'", accounts[3]);
        assert_eq!(db.one(&linked).await, "shared-id");
    }
    for id in &expected {
        let user =
            db.one(&format!("SELECT user_id FROM headcount.identities WHERE provider_id = '{id}'")).await;
        assert_eq!(&user, id);
        assert_eq!(db.count(&format!("users WHERE id = '{id}'")).await, 1);
    }
    // Nobody takes the id of a row that another account of the source has.
    db.execute(&format!(
        "UPDATE headcount.identities SET provider_id = 'other' WHERE provider_id = '{}'",
        accounts[0]
    ))
    .await;
    deliver(&store, &sharing, &[("supabase", row(&accounts[0], "5@example.com"))]).await;
    let other = db
        .one(&format!("SELECT user_id FROM headcount.identities WHERE provider_id = '{}'", accounts[0]))
        .await;
    assert_ne!(other, accounts[0]);
}
