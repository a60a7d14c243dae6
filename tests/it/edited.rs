//! Whatever the application writes into columns that are not its own is drift: a dry run names it, a full run puts the
//! row back, and `explain` says why the user is in its state.

use super::process::run;
use super::provider::{Provider, told};
use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::simulate::Options;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

on_each_database!(what_is_written_into_headcounts_own_table_is_put_back);
on_each_database!(empty: what_is_written_into_an_adopted_table_is_put_back);

/// Times, as SQLite and the usual ORMs write them, and what no one should.
const SQLITE_TIMES: &[&str] = &[
    "CURRENT_TIMESTAMP",
    "datetime('now')",
    "date('now')",
    "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
    "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "'2026-11-26T08:47:14.000+01:00'",
    "'2026-11-26 07:47:14+00'",
    "unixepoch('now')",
    "unixepoch('now') * 1000",
    "unixepoch('now') + 0.5",
    "julianday('now')",
    "0",
    "''",
    "'null'",
    "'garbage'",
    "x'00ff'",
    "CAST('2026-01-02T03:04:05.006Z' AS blob)",
    "'2026-01-02T03:04:05.006Z'",
];
const POSTGRES_TIMES: &[&str] = &[
    "now()",
    "'infinity'",
    "'-infinity'",
    "'0044-03-15 BC'",
    "'12026-01-01'",
    "'1969-12-31'",
    "'2026-01-02T03:04:05.006Z'",
];
const SQLITE_TRUTHS: &[&str] =
    &["2", "-1", "0.5", "'true'", "'false'", "'yes'", "'no'", "''", "x'01'", "'garbage'"];
const SQLITE_TEXTS: &[&str] = &["NULL", "''", "'garbage'", "7", "x'ff00'", "CAST({} AS blob)"];
const POSTGRES_TEXTS: &[&str] = &["NULL", "''", "'garbage'"];
const KEPT: &[&str] = &["'garbage'", "'\"'", "'{}'", "'username'", "'\"username\",'"];

/// A table with the columns that are put to the test.
struct Table {
    name: &'static str,
    id: &'static str,
    times: &'static [&'static str],
    truths: &'static [&'static str],
    /// Truths in which every value but one is drift.
    sources_truths: &'static [&'static str],
    texts: &'static [&'static str],
    /// Columns that repeat the state: a trigger puts them right at once.
    mirrors: &'static [&'static str],
    /// What else there is to a row.
    others: &'static [&'static str],
    /// Only of the table that headcount makes.
    kept: Option<&'static str>,
    deleted_at: &'static str,
}

const OWN: Table = Table {
    name: "users",
    id: "id",
    times: &["deleted_at", "created_at"],
    truths: &["suspended_by_source", "suspended_by_app", "provisional", "email_verified"],
    sources_truths: &["suspended_by_source", "provisional", "email_verified"],
    texts: &["email", "phone", "first_name", "last_name"],
    mirrors: &["account_state"],
    others: &["kept", "username", "display_name", "avatar_url", "missing"],
    kept: Some("kept"),
    deleted_at: "deleted_at",
};

const ADOPTED: Table = Table {
    name: "people",
    id: "id",
    times: &["gone", "made"],
    truths: &["mail_ok"],
    sources_truths: &["mail_ok"],
    texts: &["mail", "given", "family", "provider_id"],
    mirrors: &["state"],
    others: &["note"],
    kept: None,
    deleted_at: "gone",
};

impl Table {
    /// What an application sets, each in a row of its own: column and value.
    fn edits(&self, backend: Backend) -> Vec<(&'static str, String)> {
        let sqlite = backend == Backend::Sqlite;
        let each = |columns: &[&'static str], values: &[&str]| {
            let of = |column: &'static str| {
                values.iter().map(move |value| (column, value.replace("{}", column))).collect::<Vec<_>>()
            };
            columns.iter().copied().flat_map(of).collect::<Vec<_>>()
        };
        let mut edits = each(self.times, if sqlite { SQLITE_TIMES } else { POSTGRES_TIMES });
        edits.extend(each(self.times, &["NULL"]));
        edits.extend(each(self.sources_truths, &["NOT {}"]));
        edits.extend(each(self.texts, if sqlite { SQLITE_TEXTS } else { POSTGRES_TEXTS }));
        edits.extend(each(self.mirrors, POSTGRES_TEXTS));
        if sqlite {
            edits.extend(each(self.truths, SQLITE_TRUTHS));
            edits.extend(each(&self.times[1..], &["CAST({} AS blob)"]));
        }
        if let Some(kept) = self.kept {
            edits.extend(each(&[kept], KEPT));
        }
        edits
    }

    /// Each row, by its user's id: all of it but when it was written, with types where there are any.
    async fn rows(&self, db: &Db) -> BTreeMap<String, Vec<Option<String>>> {
        let columns = [self.times, self.truths, self.texts, self.mirrors, self.others].concat();
        let cell = |column: &&str| match db.backend {
            Backend::Sqlite => format!("quote({column})"),
            _ => format!("CAST({column} AS text)"),
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let sql = format!("SELECT CAST({} AS text), {} FROM {}", self.id, cells.join(", "), self.name);
        db.query(&sql).await.into_iter().map(|mut row| (row.remove(0).unwrap(), row)).collect()
    }
}

/// The provider, the binary's folder and the database.
struct Scene {
    db: Db,
    provider: Provider,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new(db: Db, table: &Table, configuration: &str) -> Self {
        let users = table.edits(db.backend).len() as u64 + 2;
        let options = Options { users, limit: Some(0), ..Options::default() };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("headcount.toml"), configuration).unwrap();
        Self { db, provider: Provider::start(options).await, folder }
    }

    fn headcount(&self, args: &[&str]) -> (Option<i32>, Value, String) {
        let mut command = self.provider.headcount(&self.db);
        command.current_dir(self.folder.path()).args(args).arg("--json");
        told(&run(&mut command))
    }

    fn explained(&self, id: &str) -> Value {
        let (code, explained, error) = self.headcount(&["explain", id]);
        assert_eq!(code, Some(0), "{id}: {error}");
        explained
    }

    /// Edits a row each, and looks at what becomes of them.
    async fn edited(self, table: &Table) {
        let db = &self.db;
        let (code, run, error) = self.headcount(&["resync", "clerk"]);
        assert_eq!(code, Some(0), "{run} {error}");
        let before = table.rows(db).await;
        let provider_ids: BTreeMap<String, String> = db
            .query("SELECT user_id, provider_id FROM headcount.identities")
            .await
            .into_iter()
            .map(|mut row| (row[0].take().unwrap(), row[1].take().unwrap()))
            .collect();
        let mut edited = Vec::new();
        for (id, (column, value)) in before.keys().zip(table.edits(db.backend)) {
            let set = format!(
                "UPDATE {} SET {column} = {value} WHERE CAST({} AS text) = '{id}'",
                table.name, table.id
            );
            // Some columns take no null.
            if let Err(error) = db.try_execute(&set).await {
                assert!(error.to_string().to_lowercase().contains("null"), "{set}: {error}");
                continue;
            }
            edited.push((id.clone(), column, value));
        }
        let written = table.rows(db).await;
        // A null for a null is no edit, and what repeats the state a trigger puts back at once.
        edited.retain(|(id, ..)| written[id] != before[id]);
        assert!(edited.len() * 10 > before.len() * 7, "{} of {}", edited.len(), before.len());

        let (code, dry, error) = self.headcount(&["resync", "clerk", "--dry-run"]);
        assert_eq!(code, Some(3), "{dry} {error}");
        let drift: HashSet<&str> = dry["drift"]
            .as_array()
            .unwrap()
            .iter()
            .map(|drift| drift["provider_id"].as_str().unwrap())
            .collect();
        for drift in dry["drift"].as_array().unwrap() {
            assert!(["edited", "revived"].contains(&drift["kind"].as_str().unwrap()), "{drift}");
            assert!(!drift["columns"].as_array().unwrap().is_empty(), "{drift}");
        }
        let unseen: Vec<_> = edited.iter().filter(|(id, ..)| !drift.contains(&*provider_ids[id])).collect();
        assert!(unseen.is_empty(), "no drift: {unseen:?}");
        assert_eq!(drift.len(), edited.len(), "and nobody else is");
        for (id, column, value) in &edited {
            self.explains(table, id, column, value);
        }

        let (code, run, error) = self.headcount(&["resync", "clerk"]);
        assert_eq!(code, Some(0), "{run} {error}");
        let after = table.rows(db).await;
        for (id, column, value) in &edited {
            assert_eq!(after[id], before[id], "{column} = {value}");
        }
        assert_eq!(after, before);
        let repaired = run["updated"].as_u64().unwrap() + run["revived"].as_u64().unwrap();
        assert_eq!(repaired, edited.len() as u64, "{run}");
        let deleted = edited.iter().filter(|(_, column, _)| *column == table.deleted_at).count() as u64;
        assert_eq!(run["revived"], deleted, "{run}");
        let (code, dry, _) = self.headcount(&["resync", "clerk", "--dry-run"]);
        assert_eq!((code, dry["drift"].as_array().unwrap().len()), (Some(0), 0), "{dry}");
    }

    /// The account is there and nobody has banned it: where the state says otherwise, the row is to blame.
    fn explains(&self, table: &Table, id: &str, column: &str, value: &str) {
        let explained = self.explained(id);
        let state = explained["state"]["account_state"].as_str().unwrap();
        let because = explained["state"]["because"].as_str().unwrap();
        let what = format!("{column} = {value}: {state}, {because}");
        let blamed = match state {
            "deleted" => {
                assert_eq!(column, table.deleted_at, "{what}");
                "deleted_at of its row"
            }
            "suspended" => {
                assert!(column.starts_with("suspended_by"), "{what}");
                column
            }
            "provisional" => "provisional of its row",
            "incomplete" => "it has no email",
            _ => "it has every required field",
        };
        assert!(because.contains(blamed), "{what}");
        if column == table.deleted_at {
            assert_eq!(state, "deleted", "{what}");
        }
        assert_eq!(explained["accounts"][0]["state"], "present", "{what}");
    }
}

async fn what_is_written_into_headcounts_own_table_is_put_back(db: Db) {
    Scene::new(db, &OWN, "").await.edited(&OWN).await;
}

async fn what_is_written_into_an_adopted_table_is_put_back(db: Db) {
    let (time, naive) = match db.backend {
        Backend::Sqlite => ("text", "datetime"),
        _ => ("timestamptz", "timestamp"),
    };
    db.execute(&format!(
        "CREATE TABLE people (id text PRIMARY KEY NOT NULL, provider_id text, mail text, mail_ok boolean, given text,
             family varchar(200), made {time}, gone {naive}, state text, note text)"
    ))
    .await;
    let configuration = "[users]\ntable = \"people\"\nid = \"id\"\n[users.columns]\nid = \"provider_id\"\nemail = \"mail\"\n\
         email_verified = \"mail_ok\"\nfirst_name = \"given\"\nlast_name = \"family\"\ncreated_at = \"made\"\n\
         deleted_at = \"gone\"\naccount_state = \"state\"\n";
    let scene = Scene::new(db, &ADOPTED, configuration).await;
    let (code, migrated, error) = scene.headcount(&["migrate"]);
    assert_eq!(code, Some(0), "{migrated} {error}");
    scene.edited(&ADOPTED).await;
}
