//! A real Better Auth on its own database, through its real API: rows are equal by the emitter's deliveries alone, and by
//! the admin API alone.

use super::process::{Server, headcount, run};
use super::provider::told;
use super::support::needs::BETTER_AUTH;
use super::support::wait::until;
use super::support::{Backend, Db, signature};
use crate::on_each_database;
use headcount::clock::{Clock, SystemClock};
use headcount::source::signature::SigningKey;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

on_each_database!(
    deliveries_alone_keep_the_rows_equal,
    the_admin_api_alone_keeps_the_rows_equal,
    the_table_alone_keeps_the_rows_equal,
    the_real_outbox_alone_keeps_the_rows_equal,
    a_delivery_that_is_overtaken_has_the_row_read,
);

const SECRET: &str = "whsec_aGVhZGNvdW50IHB1YmxpYyBmaXh0dXJlIGtleSAwMDE=";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/webhooks/better-auth";

struct RealBetterAuth {
    server: Child,
    url: String,
    /// May do everything.
    admin: String,
    /// May list and get users, and nothing else.
    keeper: String,
    db: Db,
    client: reqwest::Client,
}

impl Drop for RealBetterAuth {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl RealBetterAuth {
    /// On a database of the same kind; its emitter tells `to`.
    async fn start(modules: &str, like: &Db, to: &str) -> Self {
        let db = match like.backend {
            Backend::Sqlite => Db::empty(Backend::Sqlite).await,
            Backend::Postgres | Backend::Bouncer => Db::empty(Backend::Postgres).await,
        };
        let root = env!("CARGO_MANIFEST_DIR");
        let database = db.url.strip_prefix("sqlite://").unwrap_or(&db.url).to_owned();
        let mut server = Command::new("node")
            .arg(format!("{root}/tests/better_auth/server.mjs"))
            .args([modules, &database, &format!("{root}/examples/better-auth/emitter.ts"), to, SECRET])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = server.stdout.take().unwrap();
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).map(|_| line)
        });
        let told: Value = serde_json::from_str(&line.await.unwrap().unwrap()).expect("it starts");
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, admin, keeper) = (text("url"), text("admin"), text("keeper"));
        Self { server, url, admin, keeper, db, client: reqwest::Client::new() }
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Value {
        let mut request = self.client.post(format!("{}{path}", self.url)).header("origin", &self.url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// As the administrator.
    async fn act(&self, call: &str, body: Value) -> Value {
        self.post(&format!("/api/auth/admin/{call}"), Some(&self.admin), body).await
    }

    /// Past every hook, as imports do it.
    async fn adapter(&self, body: Value) -> Value {
        self.post("/test/adapter", None, body).await
    }

    /// The id and the session's token.
    async fn sign_up(&self, name: &str) -> (String, String) {
        let body =
            json!({"name": name, "email": format!("{name}@example.com"), "password": "a-long-password"});
        let answer = self.post("/api/auth/sign-up/email", None, body).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&answer["user"]["id"]), text(&answer["token"]))
    }

    /// Sign-ups, changes, bans, deletions, by everybody's own calls and by an administrator's.
    async fn live_through(&self) {
        for name in ["Ann", "Bea", "Cem", "Dan", "Eve"] {
            self.sign_up(&format!("{name}-stays")).await;
        }
        let (ann, token) = self.sign_up("ann").await;
        let change =
            json!({"name": "Ann Doe", "image": "https://img.example.com/ann", "username": "Ann_Doe"});
        self.post("/api/auth/update-user", Some(&token), change).await;
        self.act("update-user", json!({"userId": ann, "data": {"emailVerified": true}})).await;
        let (bob, _) = self.sign_up("bob").await;
        self.act("ban-user", json!({"userId": bob, "banReason": "spam"})).await;
        let (cleo, _) = self.sign_up("cleo").await;
        self.act("ban-user", json!({"userId": cleo, "banExpiresIn": 86_400})).await;
        let (dora, _) = self.sign_up("dora").await;
        self.act("ban-user", json!({"userId": dora})).await;
        self.act("unban-user", json!({"userId": dora})).await;
        let (emil, _) = self.sign_up("emil").await;
        self.act("remove-user", json!({"userId": emil})).await;
        let (_, token) = self.sign_up("fay").await;
        self.post("/api/auth/delete-user", Some(&token), json!({"password": "a-long-password"})).await;
        self.post("/api/auth/sign-in/anonymous", None, json!({})).await;
        let phone = "+4915123456789";
        self.post("/api/auth/phone-number/send-otp", None, json!({"phoneNumber": phone})).await;
        let code = self.adapter(json!({"action": "code", "phone": phone})).await;
        self.post("/api/auth/phone-number/verify", None, json!({"phoneNumber": phone, "code": code})).await;
    }

    /// Imports and raw SQL, of which no hook tells.
    async fn live_past_the_hooks(&self) {
        let at = "2026-01-02T03:04:05.006Z";
        for name in ["gil", "hal"] {
            let row = json!({"id": format!("import-{name}"), "name": name, "email": format!("{name}@example.com"),
                "emailVerified": true, "createdAt": at, "updatedAt": at});
            self.adapter(json!({"action": "create", "data": row})).await;
        }
        let gil = json!({"id": "import-gil"});
        self.adapter(json!({"action": "update", "where": gil, "data": {"name": "Gil by adapter"}})).await;
        self.adapter(json!({"action": "delete", "where": {"id": "import-hal"}})).await;
        let (_, ida) = (self.sign_up("ida").await, "ida@example.com");
        self.db.execute(&format!("UPDATE \"user\" SET name = 'Ida by SQL' WHERE email = '{ida}'")).await;
        self.db
            .execute("UPDATE \"user\" SET image = 'https://img.example.com/cem' WHERE name = 'Cem-stays'")
            .await;
        let dan = self.db.one("SELECT id FROM \"user\" WHERE name = 'Dan-stays'").await;
        let past = json!({"name": "Dan of the past", "updatedAt": "2001-01-01T00:00:00.000Z"});
        self.act("update-user", json!({"userId": dan, "data": past})).await;
        self.db.execute("DELETE FROM \"user\" WHERE email = 'bea-stays@example.com'").await;
    }

    /// As their own rows say it: id, address, verified, username, name, phone, banned.
    async fn rows(&self) -> Vec<Vec<Option<String>>> {
        let text = |truth: &str| format!("CASE WHEN {truth} THEN 'true' ELSE 'false' END");
        let (verified, banned) = (text("\"emailVerified\""), text("coalesce(banned, false)"));
        let real = "NOT coalesce(\"isAnonymous\", false) AND email NOT LIKE '%@phone.example.com'";
        let sql = format!(
            "SELECT id, CASE WHEN {real} THEN email END, {verified}, username, name, \"phoneNumber\", {banned}
             FROM \"user\" ORDER BY id"
        );
        let mut rows = self.db.query(&sql).await;
        rows.sort();
        rows
    }

    fn by_api(&self) -> Vec<(&'static str, String)> {
        let api = [("BETTER_AUTH_URL", self.url.clone()), ("BETTER_AUTH_ADMIN_TOKEN", self.keeper.clone())];
        [api.to_vec(), quickly()].concat()
    }

    fn by_table(&self) -> Vec<(&'static str, String)> {
        [vec![("BETTER_AUTH_DATABASE_URL", self.db.url.clone())], quickly()].concat()
    }

    fn resync(&self, db: &Db, variables: &[(&str, String)], args: &[&str]) -> (Option<i32>, Value, String) {
        let mut command = headcount(&db.url);
        command.envs(variables.iter().cloned());
        told(&run(command.args(["resync", "better-auth", "--json"]).args(args)))
    }
}

/// The version of a row that was changed later may be the lower one: it is read, and the row decides.
async fn a_delivery_that_is_overtaken_has_the_row_read(db: Db) {
    let Some(modules) = BETTER_AUTH.found() else { return };
    let nowhere = RealBetterAuth::start(&modules, &db, NOWHERE).await;
    overtakes(&db, &nowhere, &nowhere.by_api()).await;
    let another = Db::new(db.backend).await;
    let patient = [nowhere.by_table(), vec![("HEADCOUNT_CONFIRM_AFTER", "1h".to_owned())]].concat();
    overtakes(&another, &nowhere, &patient).await;
}

async fn overtakes(db: &Db, nowhere: &RealBetterAuth, variables: &[(&'static str, String)]) {
    nowhere.db.execute("DELETE FROM \"user\" WHERE email = 'ann@example.com'").await;
    let mut variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend([("BETTER_AUTH_WEBHOOK_SECRET", SECRET), ("HEADCOUNT_RESYNC_SCHEDULE", "off")]);
    let server = Server::start_with(db, &[], &variables).await;
    let (id, _) = nowhere.sign_up("ann").await;
    assert_eq!(
        server
            .call(
                "POST",
                "/v1/users/ensure",
                super::process::APP_TOKEN,
                Some(json!({"source": "better-auth", "provider_id": id}))
            )
            .await
            .0,
        200
    );
    let past = json!({"name": "Ann of the past", "updatedAt": "2001-01-01T00:00:00.000Z"});
    nowhere.act("update-user", json!({"userId": id, "data": past})).await;
    let row = json!({"id": id, "name": "Ann of the past", "email": "ann@example.com", "updatedAt": "2001-01-01T00:00:00.000Z"});
    let body =
        json!({"type": "user.updated", "timestamp": "2026-11-28T00:00:00.000Z", "data": row}).to_string();
    let now = SystemClock.now().seconds();
    let signature = signature(&SigningKey::parse(SECRET).unwrap(), "msg_1", now, body.as_bytes());
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &*now.to_string()),
        ("webhook-signature", &*signature),
    ];
    assert_eq!(server.post("better-auth", &headers, body).await.unwrap().0.as_u16(), 202);
    until("the rows are equal", || async {
        let staff = "admin keeper";
        let rows: Vec<_> = nowhere
            .rows()
            .await
            .into_iter()
            .filter(|row| !staff.contains(row[4].as_deref().unwrap_or("-")))
            .collect();
        people(db).await == rows
    })
    .await;
}

fn quickly() -> Vec<(&'static str, String)> {
    let variables =
        [("HEADCOUNT_CONFIRM_AFTER", "300ms"), ("HEADCOUNT_RATE_SHARE", "100%"), ("HEADCOUNT_LOG", "warn")];
    variables.map(|(name, value)| (name, value.to_owned())).to_vec()
}

/// As headcount has it, in the same columns.
async fn people(db: &Db) -> Vec<Vec<Option<String>>> {
    let verified = "CASE WHEN u.email_verified THEN 'true' ELSE 'false' END";
    let banned = "CASE WHEN u.account_state = 'suspended' THEN 'true' ELSE 'false' END";
    let sql = format!(
        "SELECT i.provider_id, u.email, {verified}, u.username, u.display_name, u.phone, {banned}
         FROM headcount.identities i JOIN users u ON CAST(u.id AS text) = i.user_id WHERE i.state <> 'deleted'"
    );
    let mut people = db.query(&sql).await;
    people.sort();
    people
}

async fn deliveries_alone_keep_the_rows_equal(db: Db) {
    let Some(modules) = BETTER_AUTH.found() else { return };
    let server = Server::start_with(&db, &[], &[("BETTER_AUTH_WEBHOOK_SECRET", SECRET)]).await;
    let to = format!("http://{}/webhooks/better-auth", server.address);
    let real = RealBetterAuth::start(&modules, &db, &to).await;
    real.live_through().await;
    until("the rows are equal", || async { people(&db).await == real.rows().await }).await;
    assert_eq!(db.count("headcount.inbox WHERE status IN ('dead', 'held')").await, 0);
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 2);
    let kept = db.query("SELECT body FROM headcount.inbox WHERE body IS NOT NULL").await;
    assert!(!kept.is_empty() && kept.iter().flatten().flatten().all(|body| !body.contains("legacyDigest")));
    // What is read is what was delivered: nothing changes by it.
    let changes = db.count("headcount.changes").await;
    for variables in [real.by_api(), real.by_table()] {
        let (code, run, error) = real.resync(&db, &variables, &[]);
        assert_eq!((code, &run["unchanged"], &run["updated"]), (Some(0), &run["seen"], &json!(0)), "{error}");
        assert_eq!(db.count("headcount.changes").await, changes, "{run}");
    }
}

async fn the_admin_api_alone_keeps_the_rows_equal(db: Db) {
    let Some(modules) = BETTER_AUTH.found() else { return };
    let real = RealBetterAuth::start(&modules, &db, NOWHERE).await;
    keeps_equal(&db, &real, &real.by_api()).await;
    // Whoever has been demoted reads nothing, and deletes nobody.
    real.db.execute("UPDATE \"user\" SET role = 'user' WHERE role = 'keeper'").await;
    let (code, run, error) = real.resync(&db, &real.by_api(), &[]);
    assert_eq!((code, &run["deleted"]), (Some(1), &json!(0)), "{error}");
    assert_eq!(people(&db).await.len(), real.rows().await.len());
}

async fn the_table_alone_keeps_the_rows_equal(db: Db) {
    let Some(modules) = BETTER_AUTH.found() else { return };
    let real = RealBetterAuth::start(&modules, &db, NOWHERE).await;
    keeps_equal(&db, &real, &real.by_table()).await;
    // What the row says decides at once, even downward.
    let past = json!({"name": "Eve of the past", "updatedAt": "2001-01-01T00:00:00.000Z"});
    let eve = real.db.one("SELECT id FROM \"user\" WHERE name = 'Eve-stays'").await;
    real.act("update-user", json!({"userId": eve, "data": past})).await;
    let patient = [real.by_table(), vec![("HEADCOUNT_CONFIRM_AFTER", "1h".to_owned())]].concat();
    let (code, run, error) = real.resync(&db, &patient, &[]);
    assert_eq!((code, &run["updated"]), (Some(0), &json!(1)), "{run} {error}");
    assert_eq!(people(&db).await, real.rows().await);
    // A change is found without a full run.
    real.db.execute("UPDATE \"user\" SET name = 'Ida once more' WHERE name = 'Ida by SQL'").await;
    let (code, run, error) = real.resync(&db, &real.by_table(), &["--incremental"]);
    assert_eq!((code, &run["updated"]), (Some(0), &json!(1)), "{run} {error}");
    // Somebody renames a column, and says so.
    real.db.execute("ALTER TABLE \"user\" RENAME COLUMN \"emailVerified\" TO email_verified").await;
    assert_eq!(real.resync(&db, &real.by_table(), &[]).0, Some(0), "snake case is found as well");
    real.db.execute("ALTER TABLE \"user\" RENAME COLUMN \"updatedAt\" TO changed").await;
    let (code, run, error) = real.resync(&db, &real.by_table(), &[]);
    assert_eq!((code, &run["deleted"]), (Some(1), &json!(0)), "{run}");
    assert!(error.contains("no column for updatedAt") && error.contains("database_columns"), "{error}");
}

/// Past every hook as well, with no read on schedule and no poll.
async fn the_real_outbox_alone_keeps_the_rows_equal(db: Db) {
    let Some(modules) = BETTER_AUTH.found() else { return };
    let real = RealBetterAuth::start(&modules, &db, NOWHERE).await;
    if db.backend == Backend::Sqlite {
        real.db.execute("PRAGMA journal_mode = WAL").await;
    }
    let mut install = headcount(&db.url);
    install.envs(real.by_table()).args(["source", "install", "better-auth", "--apply"]);
    assert_eq!(run(&mut install).status.code(), Some(0));
    assert_eq!(real.resync(&db, &real.by_table(), &[]).0, Some(0), "who was there before");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.toml");
    let text = "[sources.better-auth]\nkind = \"better-auth\"\ndatabase_url_env = \"APPLICATION_DATABASE\"\npoll = \"off\"\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let variables = [
        ("APPLICATION_DATABASE", &*real.db.url),
        ("HEADCOUNT_CONFIG", &*file),
        ("HEADCOUNT_RESYNC_SCHEDULE", "off"),
    ];
    let _server = Server::start_with(&db, &[], &variables).await;
    real.live_through().await;
    real.live_past_the_hooks().await;
    until("the rows are equal", || async { people(&db).await == real.rows().await }).await;
    assert_eq!(db.count("headcount.inbox WHERE status IN ('dead', 'held')").await, 0);
    assert_eq!(db.count("headcount.runs WHERE mode = 'full'").await, 1, "nothing else has found it");
}

/// Sign-ups and changes through the API, and then past every hook.
async fn keeps_equal(db: &Db, real: &RealBetterAuth, variables: &[(&str, String)]) {
    real.live_through().await;
    let (code, run, error) = real.resync(db, variables, &[]);
    assert_eq!((code, &run["status"]), (Some(0), &json!("succeeded")), "{error}");
    assert_eq!(people(db).await, real.rows().await);
    real.live_past_the_hooks().await;
    assert_eq!(real.resync(db, variables, &["--dry-run"]).0, Some(3));
    let (code, run, error) = real.resync(db, variables, &[]);
    assert_eq!((code, &run["created"], &run["deleted"]), (Some(0), &json!(2), &json!(1)), "{run} {error}");
    assert_eq!(people(db).await, real.rows().await);
    let (code, run, _) = real.resync(db, variables, &[]);
    assert_eq!((code, &run["unchanged"]), (Some(0), &run["seen"]));
}
