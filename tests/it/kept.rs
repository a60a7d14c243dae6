//! What a provider sends and headcount has no list for is nowhere in the database, and nowhere in the log.

use super::process::Server;
use super::provider::Provider;
use super::support::{Backend, Db, event, user};
use crate::on_each_database;
use serde_json::{Value, json};

on_each_database!(what_is_on_no_list_is_nowhere, what_an_older_version_has_stored_is_stripped);

/// In every place that is on no list.
const PLANTED: &str = "planted-secret-4711";

/// Every byte of SQLite's files, or every row of PostgreSQL's tables.
async fn everything(db: &Db) -> String {
    if db.backend == Backend::Sqlite {
        let path = db.url.trim_start_matches("sqlite://");
        let files =
            [path.to_owned(), format!("{path}-wal")].map(|file| std::fs::read(file).unwrap_or_default());
        return files.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    }
    let mut all = String::new();
    let names = headcount::store::own_table_names().into_iter().map(|name| format!("headcount.{name}"));
    for table in names.chain(["users".to_owned()]) {
        for row in db.query(&format!("SELECT CAST(t AS text) FROM {table} t")).await {
            all += &row.into_iter().flatten().collect::<String>();
        }
    }
    all
}

/// What stands before the first.
fn around(all: &str) -> String {
    let before = all.split(PLANTED).next().unwrap_or_default();
    before.chars().skip(before.chars().count().saturating_sub(300)).collect()
}

fn planted(mut body: Value) -> String {
    body["event_attributes"] = json!({"http_request": {"client_ip": PLANTED, "user_agent": PLANTED}});
    body["unknown_of_the_envelope"] = json!(PLANTED);
    let data = &mut body["data"];
    data["private_metadata"] = json!({"note": PLANTED});
    data["totp_secret"] = json!(PLANTED);
    data["unknown_list"] = json!([{"a": PLANTED}]);
    if let Some(email) = data["email_addresses"].get_mut(0) {
        email["verification"] = json!({"status": "verified", "strategy": "email_code", "nonce": PLANTED});
        email["backup_codes"] = json!([PLANTED]);
    }
    data["external_accounts"] =
        json!([{"id": "eac_1", "provider": "oauth_x", "access_token": PLANTED, "provider_user_id": "x1"}]);
    body.to_string()
}

fn created(id: &str) -> Value {
    let user = user(id, 0, Some("a@example.com"), None, "Ann");
    serde_json::from_str(&event("user.created", user, 0)).unwrap()
}

async fn what_is_on_no_list_is_nowhere(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.toml");
    let table = "[sources.shop]\nkind = \"standard-webhooks\"\nwebhook_secret_env = \"SHOP\"\nupsert = [\"user.updated\"]\n\
                 id = \"data.id\"\nversion = \"data.at\"\ncolumns = { email = \"data.emails[?main].email\" }\n\
                 keep = [\"data.plan\"]\n";
    std::fs::write(&file, table).unwrap();
    let variables = [
        ("HEADCOUNT_CONFIG", file.to_str().unwrap()),
        ("SHOP", "whsec_YW5vdGhlci1zZWNyZXQtb2YtMzItYnl0ZXMtaXMtaXQ="),
        ("WORKOS_WEBHOOK_SECRET", "a-workos-secret-for-tests"),
    ];
    let server = Server::start_with(&db, &[], &variables).await;
    let secret = super::support::SECRET;
    assert_eq!(server.deliver_signed(secret, "msg_1", &planted(created("user_1"))).await, 202);
    // One that cannot be understood, one that is not used, and a deletion.
    let mut odd = created("user_2");
    odd["data"]["updated_at"] = Value::Null;
    assert_eq!(server.deliver_signed(secret, "msg_2", &planted(odd)).await, 202);
    let session = json!({"type": "session.created", "object": "event", "data": {"id": "sess_1", "email_addresses": []}});
    assert_eq!(server.deliver_signed(secret, "msg_3", &planted(session)).await, 202);
    let gone = json!({"type": "user.deleted", "object": "event", "data": {"id": "user_3", "deleted": true}});
    assert_eq!(server.deliver_signed(secret, "msg_4", &planted(gone)).await, 202);
    let shop = json!({"type": "user.updated", "note": PLANTED, "data": {"id": "u1", "at": 5, "plan": "gold", "pin": PLANTED,
        "emails": [{"email": "b@example.com", "main": true, "code": PLANTED}]}});
    let at = headcount::clock::Clock::now(&headcount::clock::SystemClock).seconds();
    let key = headcount::source::signature::SigningKey::parse(variables[1].1).unwrap();
    let signature = super::support::signature(&key, "shop_1", at, shop.to_string().as_bytes());
    let headers = [
        ("webhook-id", "shop_1"),
        ("webhook-timestamp", &*at.to_string()),
        ("webhook-signature", &*signature),
    ];
    assert_eq!(server.post("shop", &headers, shop.to_string()).await.unwrap().0.as_u16(), 202);
    server.drained(&db).await;
    let all = everything(&db).await;
    assert!(!all.contains(PLANTED), "{}", around(&all));
    let profile = db.one("SELECT profile FROM headcount.identities WHERE source = 'shop'").await;
    assert!(profile.contains("gold") && profile.contains("b@example.com"), "{profile}");
    assert_eq!(db.count("users WHERE email = 'b@example.com'").await, 1);
    let log = std::fs::read_to_string(&server.log).unwrap();
    assert!(!log.contains(PLANTED), "{log}");
}

async fn what_an_older_version_has_stored_is_stripped(db: Db) {
    let provider = Provider::with_users(30).await;
    assert_eq!(provider.resync(&db, &[]).0, Some(0));
    let server = provider.server(&db).await;
    provider.simulator.change(5);
    provider.simulator.delivered().await;
    server.drained(&db).await;
    server.terminate();
    drop(server);
    // As a version stored it that had no list.
    let extra = format!(",\"totp_secret\":\"{PLANTED}\"}}");
    for sql in [
        format!(
            "UPDATE headcount.identities SET profile = substr(profile, 1, length(profile) - 1) || '{extra}'"
        ),
        format!(
            "UPDATE headcount.deliveries SET body = substr(body, 1, length(body) - 1) || '{extra}' WHERE body IS NOT NULL"
        ),
        "DELETE FROM headcount.settings WHERE key LIKE 'stripped %'".to_owned(),
    ] {
        db.execute(&sql).await;
    }
    let feed = db.count("headcount.changes").await;
    let (code, drift, _) = provider.resync(&db, &["--dry-run"]);
    assert_eq!(code, Some(0), "it is no drift: {drift}");
    let server = Server::start_with(&db, &[], &provider.variables()).await;
    server.until(|| async { db.count("headcount.settings WHERE key = 'stripped clerk'").await == 1 }).await;
    let left = |table: &str, column: &str| format!("headcount.{table} WHERE {column} LIKE '%{PLANTED}%'");
    assert_eq!(db.count(&left("identities", "profile")).await, 0);
    assert_eq!(db.count(&left("deliveries", "body")).await, 0);
    assert_eq!(db.count("headcount.changes").await, feed, "nobody is told");
    assert_eq!(provider.resync(&db, &["--dry-run"]).0, Some(0));
}
