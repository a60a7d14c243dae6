//! Accounts that are seen for the first time, and the rows that were there before them.

use super::adopting::{adopted, created, either, open, text};
use super::support::{Db, event, user};
use super::{applier, deliver, delivery, drain, source};
use crate::on_each_database;
use headcount::core::brake::DeleteLimit;
use headcount::core::link::LinkRule;
use serde_json::json;
use std::sync::Arc;

on_each_database!(a_row_in_headcounts_own_table_is_found_as_well);

on_each_database!(
    empty:
    an_account_finds_its_row_at_first_sight,
    nobody_is_linked_by_guess,
);

async fn a_row_in_headcounts_own_table_is_found_as_well(db: Db) {
    let store = db.store().await;
    let id = "0198c0de-0000-7000-8000-000000000001";
    db.execute(&format!(
        "INSERT INTO users (id, email, username) VALUES ('{id}', 'typed@example.com', 'ann')"
    ))
    .await;
    let mut data = user("user_1", 0, Some("a@example.com"), Some("other"), "Ann");
    data["external_id"] = json!(id.to_uppercase());
    deliver(&store, &[event("user.created", data, 0), created(2, "b@example.com")]).await;
    let row = db.query("SELECT email, username, account_state FROM users WHERE username = 'ann'").await;
    assert_eq!(
        row,
        [[text("a@example.com"), text("ann"), text("active")]],
        "the provider's column is the provider's"
    );
    assert_eq!(db.count("users").await, 2);
    assert_eq!(db.one("SELECT user_id FROM headcount.identities WHERE linked_by = 'external-id'").await, id);
}

async fn an_account_finds_its_row_at_first_sight(db: Db) {
    db.execute(
        "CREATE TABLE people (id text PRIMARY KEY NOT NULL, mail text, mail_ok boolean, clerk_id text)",
    )
    .await;
    let yes = either(&db, "true", "1");
    db.execute(&format!(
        "INSERT INTO people VALUES ('row_a', 'A@example.com', {yes}, NULL), ('user_2', 'b@example.com', {yes}, NULL),
             ('row_c', 'c@example.com', {yes}, 'user_3'), ('row_d', 'd@example.com', {yes}, NULL)"
    ))
    .await;
    let store = open(&db, adopted("id", &[("email", "mail"), ("email_verified", "mail_ok")])).await;
    store.set_link_rule("clerk", Some(&LinkRule::Column("clerk_id".into()))).await.unwrap();
    let mut applier = applier(&store, DeleteLimit::Off);
    let mut configured = source();
    configured.link_by.extend([LinkRule::SharedId, LinkRule::VerifiedEmail]);
    applier.sources = Arc::new(vec![configured]);
    let mut by_external_id = user("user_4", 0, Some("elsewhere@example.com"), None, "D");
    by_external_id["external_id"] = json!("row_d");
    let bodies = [
        created(1, "a@example.com"),
        created(2, "other@example.com"),
        created(3, "another@example.com"),
        event("user.created", by_external_id, 0),
        created(5, "nobody@example.com"),
    ];
    let deliveries: Vec<_> =
        bodies.iter().enumerate().map(|(n, body)| delivery(&format!("msg_{n}"), body)).collect();
    store.accept(&deliveries).await.unwrap();
    while applier.apply_batch().await.unwrap().claimed > 0 {}
    let links = db
        .query("SELECT provider_id, user_id, linked_by FROM headcount.identities ORDER BY provider_id")
        .await;
    let link = |n: usize| (links[n][1].as_deref().unwrap(), links[n][2].as_deref());
    assert_eq!(link(0), ("row_a", Some("verified-email")));
    assert_eq!(link(1), ("user_2", Some("shared-id")));
    assert_eq!(link(2), ("row_c", Some("column:clerk_id")));
    assert_eq!(link(3), ("row_d", Some("external-id")));
    assert_eq!((link(4).1, db.count("people").await), (None, 5));
}

async fn nobody_is_linked_by_guess(db: Db) {
    db.execute("CREATE TABLE people (id text PRIMARY KEY NOT NULL, mail text, mail_ok boolean)").await;
    let (yes, no) = (either(&db, "true", "1"), either(&db, "false", "0"));
    db.execute(&format!(
        "INSERT INTO people VALUES ('unverified', 'a@example.com', {no}), ('one', 'b@example.com', {yes}),
             ('two', 'B@example.com', {yes}), ('taken', 'c@example.com', {yes})"
    ))
    .await;
    let store = open(&db, adopted("id", &[("email", "mail"), ("email_verified", "mail_ok")])).await;
    let mut first = user("user_0", 0, None, None, "First");
    first["external_id"] = json!("taken");
    let mut second = user("user_9", 0, None, None, "Second");
    second["external_id"] = json!("taken");
    deliver(&store, &[event("user.created", first, 0), event("user.created", second, 0)]).await;
    // The second is put off for a moment: the row may be given up yet.
    while db.count("headcount.inbox WHERE status = 'pending'").await > 0 {
        drain(&store).await;
    }
    let by_email = |email: &str| {
        let email = email.to_owned();
        let store = store.clone();
        async move { store.candidates(&LinkRule::VerifiedEmail, &[email], &[]).await.unwrap() }
    };
    for (email, why) in
        [("a@example.com", "not verified"), ("b@example.com", "several"), ("c@example.com", "another")]
    {
        let found = by_email(email).await.remove(email).unwrap();
        let matched = headcount::core::link::matched(&found, "clerk");
        assert!(
            matches!(matched, headcount::core::link::Match::Ambiguous(reason) if reason.contains(why)),
            "{matched:?}"
        );
    }
    let owners = db.query("SELECT provider_id FROM headcount.identities WHERE user_id = 'taken'").await;
    assert_eq!(owners, [[text("user_0")]], "who comes first is linked, and the other has a row of their own");
    assert_eq!(db.count("people").await, 5);
}
