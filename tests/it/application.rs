//! An application of our own: its schema, with foreign keys, triggers, unique and deferred constraints, and its rows.

use super::process::run;
use super::provider::{Provider, told};
use super::support::{Backend, Db};
use serde_json::Value;
use std::process::Command;

/// The application: a folder with headcount.toml, and a database with foreign keys, triggers, unique and deferred
/// constraints.
pub struct Application {
    pub db: Db,
    pub provider: Provider,
    pub folder: tempfile::TempDir,
    /// People at the provider.
    pub users: usize,
}

const POSTGRES: &str = "
    CREATE TYPE plan AS ENUM ('free', 'paid');
    CREATE TABLE teams (id integer PRIMARY KEY, name text UNIQUE);
    INSERT INTO teams VALUES (1, 'one'), (2, 'two');
    CREATE TABLE people (
        person_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        clerk_id text,
        mail varchar(255), mail_ok boolean NOT NULL DEFAULT false,
        name text, image text, plan plan NOT NULL DEFAULT 'free',
        team_id integer NOT NULL DEFAULT 1 REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED,
        status text DEFAULT 'legacy', bio text, karma integer NOT NULL DEFAULT 0, settings jsonb NOT NULL DEFAULT '{}', edits integer NOT NULL DEFAULT 0,
        UNIQUE (clerk_id), UNIQUE (mail) DEFERRABLE INITIALLY DEFERRED, CHECK (karma >= 0));
    CREATE TABLE posts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        author_id bigint NOT NULL REFERENCES people (person_id) ON DELETE CASCADE, title text);
    CREATE TABLE audit (what text);
    CREATE FUNCTION edited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.edits = OLD.edits + 1; RETURN NEW; END $$;
    CREATE TRIGGER edited BEFORE UPDATE OF bio, karma, settings ON people FOR EACH ROW EXECUTE FUNCTION edited();
    CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit VALUES (OLD.mail); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER audited AFTER UPDATE OF mail ON people DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION audited();";

const SQLITE: &str = "
    CREATE TABLE teams (id integer PRIMARY KEY, name text UNIQUE);
    INSERT INTO teams VALUES (1, 'one'), (2, 'two');
    CREATE TABLE people (
        person_id integer PRIMARY KEY AUTOINCREMENT,
        clerk_id text UNIQUE,
        mail varchar(255) UNIQUE, mail_ok boolean NOT NULL DEFAULT 0,
        name text, image text, plan text NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'paid')),
        team_id integer NOT NULL DEFAULT 1 REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED,
        status text DEFAULT 'legacy', bio text, karma integer NOT NULL DEFAULT 0 CHECK (karma >= 0), settings text NOT NULL DEFAULT '{}',
        edits integer NOT NULL DEFAULT 0);
    CREATE TABLE posts (id integer PRIMARY KEY, author_id integer NOT NULL REFERENCES people (person_id) ON DELETE CASCADE,
        title text);
    CREATE TABLE audit (what text);
    CREATE TRIGGER edited AFTER UPDATE OF bio, karma, settings ON people BEGIN
        UPDATE people SET edits = OLD.edits + 1 WHERE person_id = NEW.person_id; END;
    CREATE TRIGGER audited AFTER UPDATE OF mail ON people BEGIN INSERT INTO audit VALUES (OLD.mail); END;";

impl Application {
    /// With a row for all but the last few of the provider's people, and some rows that are nobody's.
    pub async fn new(db: Db, users: usize) -> Self {
        let provider = Provider::with_users(users as u64).await;
        let folder = tempfile::tempdir().unwrap();
        let configuration = "[users]\ntable = \"people\"\nid = \"person_id\"\n[users.columns]\nid = \"clerk_id\"\n\
             email = \"mail\"\nemail_verified = \"mail_ok\"\ndisplay_name = \"name\"\navatar_url = \"image\"\n\
             account_state = \"status\"\n\"public_metadata.plan\" = \"plan\"\n";
        std::fs::write(folder.path().join("headcount.toml"), configuration).unwrap();
        db.execute(if db.backend == Backend::Sqlite { SQLITE } else { POSTGRES }).await;
        let application = Self { db, provider, folder, users };
        application.fill().await;
        application
    }

    /// Every third person was renamed in the application, every fifth has an older address there.
    async fn fill(&self) {
        let people = self.provider.simulator.truth();
        let known = people.len() - people.len() / 200;
        let rows: Vec<String> = people[..known]
            .iter()
            .enumerate()
            .map(|(n, truth)| {
                let mail = match (&truth.email, n % 5) {
                    (Some(_), 0) => format!("'older{n}@example.com'"),
                    (Some(email), 1) => format!("'{}'", email.to_uppercase()),
                    (Some(email), _) => format!("'{email}'"),
                    (None, _) => "NULL".to_owned(),
                };
                let name = if n % 3 == 0 { "'Chosen Name'" } else { "NULL" };
                format!(
                    "('{}', {mail}, {name}, {}, 'bio {n}', {n}, '{{\"theme\":{n}}}')",
                    truth.id,
                    1 + n % 2
                )
            })
            .chain((0..5).map(|n| format!("('bot_{n}', 'bot{n}@example.com', 'Bot', 1, NULL, 0, '{{}}')")))
            .collect();
        for rows in rows.chunks(2_000) {
            let columns = "clerk_id, mail, name, team_id, bio, karma, settings";
            self.db.execute(&format!("INSERT INTO people ({columns}) VALUES {}", rows.join(", "))).await;
        }
        self.db.execute("INSERT INTO posts (author_id, title) SELECT person_id, 'post' FROM people").await;
    }

    pub fn rows(&self) -> usize {
        self.users - self.users / 200 + 5
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.provider.headcount(&self.db);
        command.current_dir(self.folder.path()).args(args).arg("--json");
        command
    }

    pub fn headcount(&self, args: &[&str]) -> (Option<i32>, Value, String) {
        told(&run(&mut self.command(args)))
    }

    /// All columns that headcount does not own, of the rows that were there.
    pub async fn dump(&self) -> Vec<Vec<Option<String>>> {
        let mut dump = self
            .db
            .query(
                "SELECT CAST(person_id AS text), CAST(team_id AS text), bio, CAST(karma AS text),
                        CAST(settings AS text), CAST(edits AS text) FROM people WHERE bio IS NOT NULL OR name = 'Bot' ORDER BY person_id",
            )
            .await;
        dump.extend(
            self.db
                .query("SELECT CAST(id AS text), CAST(author_id AS text), title FROM posts ORDER BY id")
                .await,
        );
        dump
    }

    /// Every column.
    pub async fn whole(&self) -> Vec<Vec<Option<String>>> {
        self.db
            .query(
                "SELECT CAST(person_id AS text), clerk_id, mail, CASE WHEN mail_ok THEN 'yes' ELSE 'no' END, name, image,
                        CAST(plan AS text), CAST(team_id AS text), bio, CAST(edits AS text), status FROM people ORDER BY person_id",
            )
            .await
    }
}
