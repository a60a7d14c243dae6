//! The table that ORMs make by default, a trigger of the application's on it, and a provider that is up and down: everybody
//! gets a row who can have one, and no run repairs twice.

use super::process::{APP_TOKEN, Server};
use super::provider::Provider;
use super::support::{Backend, Db};
use crate::on_each_database;
use serde_json::{Value, json};

on_each_database!(
    empty:
    everybody_gets_a_row_and_no_run_repairs_twice,
);

/// `HEADCOUNT_TEST_COMMON=5000 ./tests/run common_table` takes as many people.
const PEOPLE: u64 = 300;

const POSTGRES: &str = "
    CREATE TABLE people (id serial PRIMARY KEY, email text NOT NULL UNIQUE, created_at timestamptz NOT NULL DEFAULT now());
    CREATE FUNCTION marked() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.email := replace(NEW.email, 'person', 'Person'); RETURN NEW; END $$;
    CREATE TRIGGER marked BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION marked();";

const SQLITE: &str = "
    CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, email text NOT NULL UNIQUE,
        created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')));
    CREATE TRIGGER marked AFTER INSERT ON people WHEN new.email LIKE 'person%' BEGIN
        UPDATE people SET email = replace(email, 'person', 'Person') WHERE id = new.id; END;";

async fn ensure(server: &Server, provider_id: &str, call: Value) -> (u16, Value) {
    let mut body = json!({"source": "clerk", "provider_id": provider_id});
    body.as_object_mut().unwrap().extend(call.as_object().unwrap().clone());
    server.call("POST", "/v1/users/ensure", APP_TOKEN, Some(body)).await
}

async fn everybody_gets_a_row_and_no_run_repairs_twice(db: Db) {
    let people = super::support::sizes::size("HEADCOUNT_TEST_COMMON", PEOPLE);
    let provider = Provider::with_users(people).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("headcount.toml");
    let mapped =
        "[users]\ntable = \"people\"\n[users.columns]\nemail = \"email\"\ncreated_at = \"created_at\"\n";
    std::fs::write(&config, mapped).unwrap();
    db.execute(if db.backend == Backend::Sqlite { SQLITE } else { POSTGRES }).await;
    let config = config.to_str().unwrap();
    let command = |args: &[&str]| provider.command(&db, &[args, &["--config", config]].concat());

    command(&["migrate"]);
    let (code, run, error) = command(&["resync", "clerk"]);
    assert_eq!(code, Some(0), "{run} {error}");
    let rowless =
        db.query("SELECT provider_id FROM headcount.identities WHERE user_id IS NULL ORDER BY 1").await;
    let rowless: Vec<String> = rowless.into_iter().filter_map(|mut row| row[0].take()).collect();
    assert!(rowless.len() > 3, "some have a phone alone");
    assert_eq!(db.count("people").await + rowless.len() as u64, people);
    assert!(db.count("people WHERE email LIKE 'Person%'").await > 0, "the trigger has spoken");
    for _ in 0..2 {
        let (code, run, error) = command(&["resync", "clerk", "--dry-run"]);
        assert_eq!(
            (code, &run["updated"], &run["created"]),
            (Some(0), &json!(0), &json!(0)),
            "{run} {error}"
        );
    }
    let told = db.count("headcount.changes").await;
    let (code, run, _) = command(&["resync", "clerk"]);
    assert_eq!(
        (code, &run["updated"], db.count("headcount.changes").await),
        (Some(0), &json!(0), told),
        "{run}"
    );

    let variables = [provider.variables(), vec![("HEADCOUNT_RESYNC_SCHEDULE", "off")]].concat();
    let server = Server::start_with(&db, &["--config", config], &variables).await;
    let (status, refused) = ensure(&server, &rowless[0], json!({})).await;
    assert_eq!((status, &refused["columns"]), (409, &json!(["email"])), "{refused}");
    let (status, user) = ensure(&server, &rowless[0], json!({"set": {"email": "a@app.example"}})).await;
    assert_eq!(
        (status, &user["email"], &user["account_state"]),
        (200, &json!("a@app.example"), &json!("active"))
    );
    let (status, user) = ensure(&server, &rowless[1], json!({"hints": {"email": "b@app.example"}})).await;
    assert_eq!(
        (status, &user["email"], &user["account_state"]),
        (200, &json!("b@app.example"), &json!("active"))
    );
    provider.simulator.set_faults(|faults| faults.outage = true);
    let (status, user) = ensure(&server, &rowless[2], json!({"hints": {"email": "c@app.example"}})).await;
    assert_eq!((status, &user["email"]), (200, &json!("c@app.example")));
    let (status, user) = ensure(&server, "user_new", json!({"hints": {"email": "new@app.example"}})).await;
    assert_eq!((status, &user["account_state"]), (200, &json!("provisional")), "{user}");
    assert_eq!(db.count("people WHERE email LIKE '%app.example' AND created_at IS NOT NULL").await, 4);

    let explained = command(&["explain", &rowless[3]]);
    assert!(explained.2.contains("waits without a row"), "{}", explained.2);
    let (_, explained, _) = command(&["explain", "a@app.example"]);
    assert_eq!(explained["columns"][0]["word"], "supplied", "{explained}");
}
