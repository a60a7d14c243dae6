//! A simulated provider beside a database, and the commands that read it.

use super::process::{Server, headcount, json, run, text};
use super::support::{Backend, Db};
use headcount::simulate::{Kind, Options, Simulator, Truth, WEBHOOK_SECRET};
use headcount::source::provider;
use headcount::source::setup::Setup;
use serde_json::Value;
use std::process::{Command, Output};

/// Has the limit of production: a hundred requests in a second.
pub const KEY: &str = "sk_live_simulated";

pub struct Provider {
    pub simulator: Simulator,
    pub url: String,
    pub kind: Kind,
}

impl Provider {
    pub async fn with_users(users: u64) -> Self {
        Self::start(Options { users, ..Options::default() }).await
    }

    pub async fn start(options: Options) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kind = options.kind;
        let options = Options { secret_key: KEY.into(), time_compression: 1_000.0, ..options };
        let simulator = Simulator::start(options, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = simulator.url();
        Self { simulator, url, kind }
    }

    /// The binary, connected.
    pub fn headcount(&self, db: &Db) -> Command {
        let mut command = headcount(&db.url);
        command.envs(self.variables());
        command
    }

    pub fn variables(&self) -> Vec<(&str, &str)> {
        let Setup::Variables(variables) = provider(self.name()).unwrap().setup() else {
            panic!("no variables")
        };
        vec![
            (variables.api_key.name, KEY),
            (variables.api_url.name, &self.url),
            (variables.webhook_secret.name, WEBHOOK_SECRET),
            ("HEADCOUNT_CONFIRM_AFTER", "300ms"),
            ("HEADCOUNT_RATE_SHARE", "100%"),
            ("HEADCOUNT_LOG", "warn"),
        ]
    }

    /// The name of its source.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// `headcount resync SOURCE --json` with these further arguments.
    pub fn resync(&self, db: &Db, args: &[&str]) -> (Option<i32>, Value, String) {
        told(&run(self.headcount(db).args(["resync", self.name(), "--json"]).args(args)))
    }

    pub fn command(&self, db: &Db, args: &[&str]) -> (Option<i32>, Value, String) {
        told(&run(self.headcount(db).args(args).arg("--json")))
    }

    /// A worker that takes this provider's deliveries, and reads it only when it is told to.
    pub async fn server(&self, db: &Db) -> Server {
        let mut variables = self.variables();
        variables.push(("HEADCOUNT_RESYNC_SCHEDULE", "off"));
        let server = Server::start_with(db, &[], &variables).await;
        let to = format!("http://{}/webhooks/{}", server.address, self.name());
        self.simulator.deliver_to(to.parse().unwrap());
        server
    }

    /// The tables hold who the provider has, as it has them.
    pub async fn equals(&self, db: &Db) {
        // What applications choose for themselves stays, and some tests of Clerk do so.
        let told = |truth: Truth| match self.kind {
            Kind::Clerk => Truth { display_name: None, ..truth },
            Kind::WorkOs | Kind::Supabase | Kind::BetterAuth => truth,
        };
        let tables: Vec<Truth> = people(db).await.into_iter().map(told).collect();
        let truth: Vec<Truth> = self.simulator.truth().into_iter().map(told).collect();
        let differs = tables.iter().zip(&truth).find(|(table, truth)| table != truth);
        assert_eq!((tables.len(), differs), (truth.len(), None));
    }

    /// A full run finds what is here as the provider has it, and writes nothing.
    pub async fn finds_nothing_new(&self, db: &Db) {
        let before = footprint(db).await;
        let (code, run, _) = self.resync(db, &[]);
        assert_eq!((code, &run["status"]), (Some(0), &serde_json::json!("succeeded")));
        assert_eq!(run["unchanged"], run["seen"]);
        assert_eq!(footprint(db).await, before, "{run}");
    }

    /// The ids in the order of creation.
    pub fn ids(&self) -> Vec<String> {
        self.simulator.truth().into_iter().map(|truth| truth.id).collect()
    }
}

pub fn told(output: &Output) -> (Option<i32>, Value, String) {
    let printed = text(&output.stdout);
    let value = if printed.trim().is_empty() { Value::Null } else { json(output) };
    (output.status.code(), value, text(&output.stderr))
}

/// Who is alive according to the tables, as the provider would tell it.
pub async fn people(db: &Db) -> Vec<Truth> {
    let rows = db
        .query(
            "SELECT i.provider_id, CAST(i.version AS text), u.email, u.phone, u.username, u.first_name, u.last_name,
                    u.display_name, CASE WHEN u.account_state = 'suspended' THEN '1' ELSE '0' END
             FROM headcount.identities i JOIN users u ON CAST(u.id AS text) = i.user_id
             WHERE i.state <> 'deleted' AND u.account_state <> 'deleted'",
        )
        .await;
    let mut people: Vec<Truth> = rows
        .into_iter()
        .map(|mut row| Truth {
            id: row[0].take().unwrap(),
            version: row[1].take().unwrap().parse().unwrap(),
            email: row[2].take(),
            phone: row[3].take(),
            username: row[4].take(),
            first_name: row[5].take(),
            last_name: row[6].take(),
            display_name: row[7].take(),
            banned: row[8].as_deref() == Some("1"),
        })
        .collect();
    people.sort();
    people
}

/// What must not move where nothing has changed: rows, feed, identities.
pub async fn footprint(db: &Db) -> Vec<Vec<Option<String>>> {
    let xmin = match db.backend {
        Backend::Sqlite => "''",
        _ => "CAST(sum(CAST(CAST(xmin AS text) AS bigint)) AS text)",
    };
    let users = format!("SELECT CAST(count(*) AS text), CAST(max(updated_at) AS text), {xmin} FROM users");
    let identities = format!(
        "SELECT CAST(count(*) AS text), CAST(max(synced_at) AS text), {xmin} FROM headcount.identities"
    );
    let mut all = db.query(&users).await;
    all.extend(db.query(&identities).await);
    all.extend(db.query("SELECT CAST(count(*) AS text) FROM headcount.changes").await);
    all
}
