//! What the test binaries share: a database of each kind, Clerk's deliveries, and a model of what must come of them.

pub mod needs;
pub mod proxy;
pub mod sizes;
pub mod wait;

use headcount::clock::{Clock, SystemClock};
use headcount::core::timestamp::Timestamp;
use headcount::source::signature::SigningKey;
use headcount::store::{DatabaseUrl, Store};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Row};
use std::collections::BTreeMap;
use tempfile::TempDir;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Milliseconds: where the made-up histories begin.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
    /// PostgreSQL behind PgBouncer in transaction mode.
    Bouncer,
}

/// A migrated database of its own for one test.
pub struct Db {
    pub backend: Backend,
    /// What headcount is given.
    pub url: String,
    /// What the test itself uses, as the application would.
    pub direct: String,
    _folder: TempDir,
}

fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run the tests by ./tests/run"))
}

impl Db {
    /// Migrated.
    pub async fn new(backend: Backend) -> Self {
        Self::make(backend, "headcount_template").await
    }

    /// A database that is somewhere already.
    pub fn at(backend: Backend, url: String) -> Self {
        Self { backend, direct: url.clone(), url, _folder: tempfile::tempdir().unwrap() }
    }

    /// Without any table.
    pub async fn empty(backend: Backend) -> Self {
        Self::make(backend, "template0").await
    }

    async fn make(backend: Backend, template: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if backend == Backend::Sqlite {
            let url = format!("sqlite://{}", folder.path().join("test.db").display());
            let db = Self { backend, direct: format!("{url}?mode=rwc"), url, _folder: folder };
            if template == "headcount_template" {
                let store = db.store().await;
                store.migrate(None).await.unwrap();
                store.close().await;
            }
            return db;
        }
        let postgres = server("HEADCOUNT_TEST_POSTGRES");
        let name = format!("t{}", SystemClock.fresh_id().replace('-', ""));
        let mut admin = sqlx::PgConnection::connect(&format!("{postgres}/postgres")).await.unwrap();
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await.unwrap();
        let host = match backend {
            Backend::Bouncer => server("HEADCOUNT_TEST_BOUNCER"),
            _ => postgres.clone(),
        };
        Self { backend, url: format!("{host}/{name}"), direct: format!("{postgres}/{name}"), _folder: folder }
    }

    pub async fn store(&self) -> Store {
        Store::open(&DatabaseUrl::parse(&self.url).unwrap()).await.unwrap()
    }

    /// The name of one of headcount's tables here.
    pub fn own(&self, sql: &str) -> String {
        match self.backend {
            Backend::Sqlite => sql.replace("headcount.", "headcount_"),
            _ => sql.to_owned(),
        }
    }

    /// Runs statements as the application would, on a connection of its own.
    pub async fn try_execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(self.own(sql));
        match self.backend {
            Backend::Sqlite => {
                let mut conn = sqlx::SqliteConnection::connect(&self.direct).await?;
                sqlx::raw_sql(sql).execute(&mut conn).await?;
                conn.close().await
            }
            _ => {
                let mut conn = sqlx::PgConnection::connect(&self.direct).await?;
                sqlx::raw_sql(sql).execute(&mut conn).await?;
                conn.close().await
            }
        }
    }

    pub async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap();
    }

    /// Rows of texts; cast what is none.
    pub async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let sql = AssertSqlSafe(self.own(sql));
        match self.backend {
            Backend::Sqlite => {
                let mut conn = sqlx::SqliteConnection::connect(&self.direct).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut conn).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|n| row.get_unchecked(n)).collect()).collect()
            }
            _ => {
                let mut conn = sqlx::PgConnection::connect(&self.direct).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut conn).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|n| row.get(n)).collect()).collect()
            }
        }
    }

    pub async fn one(&self, sql: &str) -> String {
        self.query(sql).await[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
    }

    pub async fn count(&self, of: &str) -> u64 {
        self.one(&format!("SELECT CAST(count(*) AS text) FROM {of}")).await.parse().unwrap()
    }

    /// State, missing, e-mail, username, display name by provider id.
    pub async fn people(&self) -> BTreeMap<String, Person> {
        let missing = match self.backend {
            Backend::Sqlite => "u.missing",
            _ => "CAST(array_to_json(u.missing) AS text)",
        };
        let sql = format!(
            "SELECT i.provider_id, u.account_state, {missing}, u.email, u.username, u.display_name
             FROM headcount.identities i JOIN users u ON CAST(u.id AS text) = i.user_id"
        );
        let person = |mut row: Vec<Option<String>>| {
            let id = row.remove(0).unwrap();
            (id, row)
        };
        self.query(&sql).await.into_iter().map(person).collect()
    }
}

pub type Person = Vec<Option<String>>;

/// A test for each kind of database: `on_each_database!(name, …)` for `async fn name(db: Db)`; with `empty:` before
/// the names, the database has no tables yet.
#[macro_export]
macro_rules! on_each_database {
    ($($name:ident),* $(,)?) => { $crate::on_each_database!(@new: $($name),*); };
    (empty: $($name:ident),* $(,)?) => { $crate::on_each_database!(@empty: $($name),*); };
    (@$make:ident: $($name:ident),*) => {$(
        mod $name {
            use $crate::support::{Backend, Db};

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                super::$name(Db::$make(Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                super::$name(Db::$make(Backend::Postgres).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn bouncer() {
                super::$name(Db::$make(Backend::Bouncer).await).await;
            }
        }
    )*};
}

// ---- Clerk's deliveries ----

/// A user as Clerk sends it, with as little as the tests need.
pub fn user(id: &str, version: i64, email: Option<&str>, username: Option<&str>, name: &str) -> Value {
    json!({
        "object": "user", "id": id, "updated_at": EPOCH_MS + version, "created_at": EPOCH_MS,
        "primary_email_address_id": email.map(|_| "idn_1"),
        "email_addresses": email.map(|email| json!([{"id": "idn_1", "email_address": email, "verification": {"status": "verified"}}])),
        "phone_numbers": [], "username": username, "first_name": name, "last_name": null,
        "has_image": false, "banned": false, "private_metadata": {"secret": "private-marker"},
    })
}

pub fn event(event_type: &str, data: Value, at: i64) -> String {
    json!({"type": event_type, "object": "event", "data": data, "timestamp": EPOCH_MS + at, "instance_id": "ins_1"})
        .to_string()
}

pub fn key() -> SigningKey {
    SigningKey::parse(SECRET).unwrap()
}

/// The signature header of a delivery of Clerk's, sent at `seconds`.
pub fn signature(key: &SigningKey, id: &str, seconds: i64, body: &[u8]) -> String {
    key.sign(id, Timestamp::clamped(seconds * 1000), body).signature
}

/// A seeded generator: the same numbers in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }
}

/// `(message id, body)` of a history of about `deliveries` deliveries, in order, and the people that it ends with.
///
/// The model is told what happens as the provider would know it, and shares nothing with the code under test.
pub fn history(seed: u64, deliveries: usize) -> (Vec<(String, String)>, BTreeMap<String, Person>) {
    let mut dice = Dice(seed);
    let mut sent = Vec::new();
    let mut people = BTreeMap::new();
    let mut number = 0;
    while sent.len() < deliveries {
        number += 1;
        let id = format!("user_{number:06}");
        let updates = dice.roll(6);
        let mut last = (None, None, String::new());
        let mut banned = false;
        for update in 0..=updates {
            let email = (dice.roll(8) > 0).then(|| format!("p{number}-{update}@example.com"));
            let username = (dice.roll(2) > 0).then(|| format!("p{number}u{update}"));
            let name = format!("Name{number} v{update}");
            banned = dice.roll(10) == 0;
            let mut data = user(&id, update as i64, email.as_deref(), username.as_deref(), &name);
            data["banned"] = json!(banned);
            let event_type = if update == 0 { "user.created" } else { "user.updated" };
            sent.push((format!("msg_{number}_{update}"), event(event_type, data, update as i64)));
            last = (email, username, name);
        }
        let (email, username, name) = last;
        let text = |text: &str| Some(text.to_owned());
        let person = if dice.roll(12) == 0 {
            let data = json!({"object": "user", "id": id, "deleted": true});
            sent.push((format!("msg_{number}_deleted"), event("user.deleted", data, 99)));
            vec![text("deleted"), text("[]"), None, None, text(&name)]
        } else {
            let missing = if email.is_none() { "[\"email\"]" } else { "[]" };
            let state = match (banned, &email) {
                (true, _) => "suspended",
                (false, None) => "incomplete",
                (false, Some(_)) => "active",
            };
            vec![text(state), text(missing), email, username, text(&name)]
        };
        people.insert(id, person);
    }
    (sent, people)
}
