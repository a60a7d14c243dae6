//! The move from one provider to another, as an operator goes through it: report, rehearsal, switch, and the way back.

use super::process::{Server, headcount, run};
use super::provider::{KEY, Provider, told};
use super::support::Db;
use super::support::wait::until;
use crate::on_each_database;
use headcount::simulate::{Kind, Options};
use serde_json::{Value, json};
use std::path::Path;

on_each_database!(
    an_operator_goes_from_the_report_to_the_switch_and_back,
    a_worker_that_serves_follows_a_switch_without_a_restart,
);

/// Clerk and WorkOS, and a folder with the configuration that has both.
struct Move {
    clerk: Provider,
    workos: Provider,
    folder: tempfile::TempDir,
}

impl Move {
    /// Three people at both, one of them banned at Clerk; two at Clerk alone, whose names differ by capitals; one who left WorkOS
    /// again.
    async fn start(db: &Db) -> Self {
        let empty = |kind, seed| Provider::start(Options { kind, seed, users: 0, ..Options::default() });
        let (clerk, workos) = (empty(Kind::Clerk, 1).await, empty(Kind::WorkOs, 99).await);
        let folder = tempfile::tempdir().unwrap();
        let table = format!(
            "[sources.workos]\nkind = \"workos\"\napi_key_env = \"WK\"\napi_url = \"{}\"\nlink_verified_emails = true\n",
            workos.url
        );
        std::fs::write(folder.path().join("headcount.toml"), table).unwrap();
        let this = Self { clerk, workos, folder };
        for name in ["ann", "bob", "cid", "DORA", "dora", "left"] {
            let email =
                if name == "DORA" { "dora2@example.com".to_owned() } else { format!("{name}@example.com") };
            let person = json!({"email_address": [email], "username": name, "first_name": "Old"});
            let made = this.make(format!("{}/v1/users", this.clerk.url), person).await;
            let id = made["id"].as_str().unwrap();
            if name == "bob" {
                this.make(format!("{}/v1/users/{id}/ban", this.clerk.url), json!({})).await;
            }
            if !name.eq_ignore_ascii_case("dora") {
                let person = json!({"email": format!("{name}@example.com"), "email_verified": true, "first_name": "New"});
                let made = this.make(format!("{}/user_management/users", this.workos.url), person).await;
                this.keep(name, made["id"].as_str().unwrap());
            }
        }
        for source in ["clerk", "workos"] {
            let (code, run, error) = this.command(db, &["resync", source, "--json"]);
            assert_eq!(code, Some(0), "{run} {error}");
        }
        let left = std::fs::read_to_string(this.folder.path().join("left")).unwrap();
        let client = reqwest::Client::new();
        let url = format!("{}/user_management/users/{left}", this.workos.url);
        client.delete(url).bearer_auth(KEY).send().await.unwrap();
        let (code, run, error) = this.command(db, &["resync", "workos", "--json"]);
        assert_eq!(code, Some(0), "{run} {error}");
        this
    }

    fn keep(&self, name: &str, id: &str) {
        std::fs::write(self.folder.path().join(name), id).unwrap();
    }

    async fn make(&self, url: String, body: Value) -> Value {
        let client = reqwest::Client::new();
        let request = client.post(url).bearer_auth(KEY).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    fn config(&self) -> String {
        self.folder.path().join("headcount.toml").display().to_string()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let clerks =
            self.clerk.variables().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let ours = [("WK", KEY), ("HEADCOUNT_CONFIG", &self.config())];
        clerks.chain(ours.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
    }

    fn command(&self, db: &Db, args: &[&str]) -> (Option<i32>, Value, String) {
        let mut command = headcount(&db.url);
        command.args(args).envs(self.variables());
        told(&run(&mut command))
    }

    fn moves(&self, db: &Db, args: &[&str]) -> (Option<i32>, Value, String) {
        self.command(db, &[&["move", "--from", "clerk", "--to", "workos"], args, &["--json"]].concat())
    }
}

async fn first_names(db: &Db) -> Vec<Option<String>> {
    let rows = db.query("SELECT username, first_name FROM users ORDER BY username").await;
    rows.into_iter().map(|mut row| row.remove(1)).collect()
}

fn codes(report: &Value) -> Vec<&str> {
    report["steps"].as_array().unwrap().iter().map(|step| step["code"].as_str().unwrap()).collect()
}

async fn an_operator_goes_from_the_report_to_the_switch_and_back(db: Db) {
    let this = Move::start(&db).await;
    let before = first_names(&db).await;
    let (code, report, error) = this.moves(&db, &[]);
    assert_eq!(code, Some(0), "{error}");
    let people = &report["people"];
    assert_eq!(
        (&people["only_from"], &people["both"], &people["left_to"], &people["only_to"]),
        (&json!(2), &json!(3), &json!(1), &json!(0)),
        "{report}"
    );
    assert_eq!(report["linked_by"], json!({"verified-email": 4}), "{report}");
    assert_eq!(report["banned_only_at_from"]["count"], json!(1));
    assert_eq!(report["deleted_only_at_to"]["count"], json!(1));
    assert_eq!(report["active"][0]["last_7_days"], json!(6), "{}", report["active"]);
    assert_eq!(report["active"][1]["unknown_because"], json!("its interface does not say"));
    assert_eq!(
        codes(&report),
        [
            "webhooks",
            "collisions",
            "only_from",
            "banned_only_at_from",
            "rehearse",
            "switch",
            "left",
            "retire"
        ],
        "{report}"
    );
    let collision = &report["collisions"][0];
    assert_eq!(
        (&collision["alike"], &collision["users"][0]["value"]),
        (&json!("case"), &json!("DORA")),
        "{report}"
    );
    let (_, rehearsal, error) = this.moves(&db, &["--rehearse"]);
    assert_eq!(rehearsal["updated"], json!(3), "{rehearsal} {error}");
    let named = rehearsal["columns"].as_array().unwrap().iter();
    let first_name = named.clone().find(|column| column["column"] == "first_name").unwrap();
    assert_eq!(
        (&first_name["users"], &first_name["examples"][0]["before"], &first_name["examples"][0]["after"]),
        (&json!(3), &json!("Old"), &json!("New"))
    );
    assert_eq!(first_names(&db).await, before, "a rehearsal writes nothing");
    let (code, _, error) = this.moves(&db, &["--switch"]);
    assert!(code == Some(2) && error.contains("--yes"), "nobody has said yes: {error}");
    let (code, switched, error) = this.moves(&db, &["--switch", "--yes"]);
    assert_eq!((code, &switched["updated"]), (Some(0), &json!(3)), "{switched} {error}");
    assert_eq!(first_names(&db).await.iter().filter(|name| name.as_deref() == Some("New")).count(), 3);
    let (_, report, _) = this.moves(&db, &[]);
    assert_eq!((&report["switched"], &report["switches"][0]["status"]), (&json!(true), &json!("succeeded")));
    let (_, status, _) = this.command(&db, &["status", "--json"]);
    let workos = status["sources"].as_array().unwrap().iter().find(|source| source["name"] == "workos");
    assert_eq!(workos.unwrap()["supersedes"], json!("clerk"));
    assert_eq!(workos.unwrap()["waits_for"], Value::Null, "a full run by command has read it");
    // The old account is emptied once its source is retired, and nobody is deleted by it.
    let (code, back, error) = this.moves(&db, &["--back", "--yes"]);
    assert_eq!((code, &back["updated"]), (Some(0), &json!(3)), "{back} {error}");
    assert_eq!(first_names(&db).await, before);
    let (code, _, error) = this.moves(&db, &["--back", "--yes"]);
    assert!(code == Some(2) && error.contains("nothing to take back"), "{error}");
    let page = this.folder.path().join("report.html");
    let (code, _, error) = this.moves(&db, &["--html", page.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{error}");
    let page = std::fs::read_to_string(Path::new(&page)).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("headcount source retire clerk"), "{page}");
}

/// Both providers live, and a replica that was started before the switch.
async fn a_worker_that_serves_follows_a_switch_without_a_restart(db: Db) {
    let this = Move::start(&db).await;
    let variables = this.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let _server =
        Server::start_with(&db, &[], &[variables, vec![("HEADCOUNT_POLL", "200ms")]].concat()).await;
    let (code, _, error) = this.moves(&db, &["--switch", "--yes"]);
    assert_eq!(code, Some(0), "{error}");
    let client = reqwest::Client::new();
    let change = async |url: String, body: Value, patches: bool| {
        let request = if patches { client.patch(url) } else { client.put(url) };
        let request = request.bearer_auth(KEY).header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    };
    let id = std::fs::read_to_string(this.folder.path().join("ann")).unwrap();
    let clerks = db.one("SELECT provider_id FROM headcount.identities WHERE source = 'clerk' AND user_id = (SELECT CAST(id AS text) FROM users WHERE username = 'ann')");
    let clerks = clerks.await;
    change(format!("{}/v1/users/{clerks}", this.clerk.url), json!({"first_name": "Older"}), true).await;
    change(format!("{}/user_management/users/{id}", this.workos.url), json!({"first_name": "Newer"}), false)
        .await;
    until("the new provider's word is there", || async {
        db.count("users WHERE first_name = 'Newer' AND username = 'ann'").await == 1
    })
    .await;
    assert_eq!(this.command(&db, &["resync", "clerk", "--json"]).0, Some(0));
    assert_eq!(db.count("users WHERE first_name = 'Older'").await, 0);
    assert_eq!(db.count("headcount.identities WHERE profile LIKE '%Older%'").await, 1, "heard, and second");
}
