//! An application with a users table of its own, adopted by each of the three matches: nothing that is its own changes.

use super::application::Application;
use super::support::{Backend, Db};
use crate::on_each_database;
use serde_json::json;
use std::time::Duration;

on_each_database!(
    empty:
    by_a_column_that_holds_the_providers_id,
    by_the_id_that_the_provider_was_told,
    by_an_address_that_is_verified_there,
    what_is_ambiguous_is_named_and_left_alone,
    an_interrupted_adoption_goes_on,
    a_held_run_creates_exactly_those_that_were_approved,
    accounts_that_wait_for_a_row_hold_no_run,
    wrong_use_is_told,
);

const USERS: usize = 600;

/// `HEADCOUNT_TEST_USERS=80000 ./tests/run adopt` adopts a large table.
fn size() -> usize {
    usize::try_from(super::support::sizes::size("HEADCOUNT_TEST_USERS", USERS as u64)).unwrap()
}

impl Application {
    /// Report, hold, apply, undo, apply again, resync: `linked` rows of the application's have an account.
    async fn is_adopted_by(&self, args: &[&str], linked: usize) {
        let adopt = |more: &[&str]| self.headcount(&[&["adopt", "clerk"], args, more].concat());
        let (dump, whole) = (self.dump().await, self.whole().await);
        let (code, report, error) = adopt(&[]);
        assert_eq!((code, &report["applied"]), (Some(0), &json!(false)), "{error}");
        assert_eq!((&report["rows"], &report["accounts"]), (&json!(self.rows()), &json!(self.users)));
        assert_eq!((&report["linked"], &report["ambiguous"]), (&json!(linked), &json!(0)), "{report}");
        assert_eq!(report["unmatched_here"], json!(self.rows() - linked));
        assert_eq!(report["unmatched_there"], json!(self.users - linked));
        assert!(report["columns"]["avatar_url"]["filled"].as_u64() > Some(0), "{report}");
        assert!(report["columns"]["display_name"]["kept"].as_u64() > Some(0), "{report}");
        assert!(report["apply_requests"].as_u64() > Some(0));
        assert_eq!((self.whole().await, self.db.count("headcount.identities").await), (whole.clone(), 0));

        // What the provider was told links by itself.
        if !args.contains(&"external-id") {
            // A dry run says so beforehand.
            let (code, run, error) = self.headcount(&["resync", "clerk", "--dry-run"]);
            let foreseen = (Some(3), &json!("succeeded"), &json!(self.users));
            assert_eq!((code, &run["status"], &run["held_creates"]), foreseen, "{run}");
            assert!(error.contains("a full run would be held"), "{error}");
            assert_eq!(self.whole().await, whole);
            let (code, run, _) = self.headcount(&["resync", "clerk"]);
            let held = (Some(3), &json!("held"), &json!(self.users));
            assert_eq!((code, &run["status"], &run["held_creates"]), held, "{run}");
            assert_eq!(self.whole().await, whole, "the first resync never doubles a table");
        }

        let (code, applied, error) = adopt(&["--apply"]);
        assert_eq!((code, &applied["linked"]), (Some(0), &json!(linked)), "{error}");
        assert_eq!(self.db.count("headcount.accounts").await, linked as u64);
        assert_ne!(self.whole().await, whole);
        let (_, again, _) = adopt(&["--apply"]);
        assert_eq!((&again["linked"], &again["linked_before"]), (&json!(0), &json!(linked)), "{again}");
        let (code, undone, error) = self.headcount(&["adopt", "clerk", "--undo", "--yes"]);
        assert_eq!((code, &undone["untied"]), (Some(0), &json!(linked)), "{error}");
        assert_eq!((self.whole().await, self.db.count("headcount.identities").await), (whole, 0));
        adopt(&["--apply"]);

        let chosen = "people WHERE name = 'Chosen Name'";
        assert!(self.db.count(chosen).await > 0);
        let before = self.db.count(chosen).await;
        let (code, run, error) = self.headcount(&["resync", "clerk"]);
        assert_eq!(
            (self.db.count(chosen).await, self.dump().await),
            (before, dump),
            "what was theirs is theirs"
        );
        let unlinked = self.users - linked;
        let few = unlinked * 100 <= self.rows();
        assert_eq!(code, Some(if few { 0 } else { 3 }), "{run} {error}");
        let expected = if few { "created" } else { "held_creates" };
        assert_eq!(run[expected], json!(unlinked), "{run}");
        if few {
            self.holds_what_the_provider_has().await;
        }
    }

    /// After a full resync: nothing left to do, edits are drift, and undoing is too late.
    async fn holds_what_the_provider_has(&self) {
        let (code, run, _) = self.headcount(&["resync", "clerk", "--dry-run"]);
        assert_eq!((code, &run["unchanged"]), (Some(0), &json!(self.users)), "{run}");
        let somebody = self.provider.ids()[2].clone();
        assert!(self.provider.simulator.edit(&somebody, &json!({"last_name": "Changed"})));
        let (_, run, _) = self.headcount(&["resync", "clerk"]);
        assert_eq!(run["updated"], json!(1), "{run}");
        let (code, _, error) = self.headcount(&["adopt", "clerk", "--undo", "--yes"]);
        assert!(code == Some(1) && error.contains("1 of the") && error.contains("changed since"), "{error}");
    }
}

async fn by_a_column_that_holds_the_providers_id(db: Db) {
    let application = Application::new(db, size()).await;
    let linked = application.rows() - 5;
    application.is_adopted_by(&["--provider-id-column", "clerk_id"], linked).await;
    // Local edits of what the provider owns are drift; a chosen name is not.
    let somebody = application.provider.ids()[4].clone();
    let row = format!("WHERE clerk_id = '{somebody}'");
    application.db.execute(&format!("UPDATE people SET name = 'My Own', mail_ok = NOT mail_ok {row}")).await;
    let (code, run, _) = application.headcount(&["resync", "clerk", "--dry-run"]);
    assert_eq!((code, &run["local_edits"]), (Some(3), &json!(1)), "{run}");
    assert_eq!(run["drift"][0]["columns"], json!(["email_verified"]), "{run}");
    let (code, run, _) = application.headcount(&["resync", "clerk"]);
    assert_eq!((code, &run["updated"]), (Some(0), &json!(1)), "{run}");
    assert_eq!(application.db.one(&format!("SELECT name FROM people {row}")).await, "My Own");
    // In bulk: the owner of a column is declared, and what was kept is the provider's.
    let configuration = application.folder.path().join("headcount.toml");
    let declared =
        std::fs::read_to_string(&configuration).unwrap() + "[users.owners]\nemail = \"provider\"\n";
    std::fs::write(&configuration, declared).unwrap();
    let older = "people WHERE mail LIKE 'older%'";
    assert!(application.db.count(older).await > 0);
    let (code, run, error) = application.headcount(&["resync", "clerk"]);
    assert_eq!(code, Some(0), "{run} {error}");
    assert_eq!(application.db.count(older).await, 0);
    assert_eq!(application.headcount(&["resync", "clerk", "--dry-run"]).0, Some(0));
}

async fn by_the_id_that_the_provider_was_told(db: Db) {
    let application = Application::new(db, size()).await;
    let rows =
        application.db.query("SELECT clerk_id, CAST(person_id AS text) FROM people WHERE bio IS NOT NULL");
    let rows = rows.await;
    for row in &rows {
        let (id, external_id) = (row[0].as_ref().unwrap(), row[1].as_ref().unwrap());
        assert!(application.provider.simulator.edit(id, &json!({"external_id": external_id})));
    }
    application.db.execute("UPDATE people SET clerk_id = NULL").await;
    application.is_adopted_by(&["--match", "external-id"], rows.len()).await;
    assert_eq!(application.db.count("people WHERE clerk_id IS NULL").await, 5, "the column is filled");
}

async fn by_an_address_that_is_verified_there(db: Db) {
    let application = Application::new(db, size()).await;
    // Unverified here proves nothing.
    let yes = if application.db.backend == Backend::Sqlite { "1" } else { "true" };
    application.db.execute(&format!("UPDATE people SET mail_ok = {yes}")).await;
    application.db.execute("UPDATE people SET clerk_id = NULL").await;
    let known = "people WHERE mail LIKE 'person%' OR mail LIKE 'PERSON%'";
    let linked = usize::try_from(application.db.count(known).await).unwrap();
    application.is_adopted_by(&["--match", "verified-email"], linked).await;
}

async fn what_is_ambiguous_is_named_and_left_alone(db: Db) {
    let application = Application::new(db, USERS).await;
    let ids = application.provider.ids();
    let rows = application.db.query("SELECT CAST(person_id AS text) FROM people ORDER BY person_id").await;
    let row = |n: usize| rows[n][0].clone().unwrap();
    // Two accounts for one row; one that names no row; one that names nothing that could be an id.
    for (id, external_id) in
        [(0, row(3)), (1, format!("0{}", row(3))), (2, row(4)), (5, "999999999".into()), (6, "x'y".into())]
    {
        assert!(application.provider.simulator.edit(&ids[id], &json!({"external_id": external_id})));
    }
    let (_, report, _) = application.headcount(&["adopt", "clerk", "--match", "external-id"]);
    assert_eq!((&report["linked"], &report["ambiguous"]), (&json!(1), &json!(2)), "{report}");
    assert_eq!(report["ambiguous_accounts"][0]["reason"], "another account fits the same row");
    // Two rows for one account.
    application.db.execute("ALTER TABLE people ADD COLUMN other_id text").await;
    application.db.execute("UPDATE people SET other_id = clerk_id").await;
    let twice = format!("UPDATE people SET other_id = '{}' WHERE clerk_id = '{}'", ids[7], ids[8]);
    application.db.execute(&twice).await;
    let (code, applied, _) =
        application.headcount(&["adopt", "clerk", "--provider-id-column", "other_id", "--apply"]);
    assert_eq!((code, &applied["ambiguous"]), (Some(0), &json!(1)), "{applied}");
    assert_eq!(
        applied["ambiguous_accounts"][0],
        json!({"provider_id": ids[7], "reason": "several rows fit it"})
    );
    assert_eq!(applied["linked"], json!(application.rows() - 5 - 2), "neither of the two rows");
}

async fn an_interrupted_adoption_goes_on(db: Db) {
    let application = Application::new(db, USERS).await;
    let args = ["adopt", "clerk", "--provider-id-column", "clerk_id", "--apply"];
    // A trigger of the application's that takes its time: there is a middle to be killed in.
    if application.db.backend != Backend::Sqlite {
        let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN IF NEW.person_id % 2 = 0 THEN PERFORM pg_sleep(0.01); END IF; RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION slow()";
        application.db.execute(slow).await;
        let mut child = application.command(&args).stdout(std::process::Stdio::null()).spawn().unwrap();
        // The first page's rows are linked, the second's are on their way.
        let there = "SELECT 'yes' WHERE to_regclass('headcount.accounts') IS NOT NULL";
        while application.db.query(there).await.is_empty()
            || application.db.count("headcount.accounts").await == 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let killed = application.db.count("headcount.accounts").await;
        assert!(killed > 0 && killed < (application.rows() - 5) as u64, "{killed}");
        application.db.execute("DROP TRIGGER slow ON people").await;
    }
    let (code, applied, error) = application.headcount(&args);
    assert_eq!(code, Some(0), "{error}");
    let linked = application.rows() - 5;
    let both = applied["linked"].as_u64().unwrap() + applied["linked_before"].as_u64().unwrap();
    assert_eq!((both, application.db.count("headcount.accounts").await), (linked as u64, linked as u64));
}

async fn a_held_run_creates_exactly_those_that_were_approved(db: Db) {
    let application = Application::new(db, USERS).await;
    let dump = application.dump().await;
    application.db.execute("UPDATE people SET clerk_id = 'gone_' || CAST(person_id AS text)").await;
    let (code, run, error) = application.headcount(&["resync", "clerk"]);
    assert_eq!(code, Some(3));
    assert!(error.contains("headcount adopt clerk") && error.contains("runs approve"), "{error}");
    let id = run["run"].as_str().unwrap().to_owned();
    let (code, shown, _) = application.headcount(&["runs", "show", &id]);
    assert_eq!((code, shown["would_create"].as_array().unwrap().len()), (Some(3), USERS));
    // Who signs up meanwhile is not in the set.
    let (code, run, error) = application.headcount(&["runs", "approve", &id, "--yes"]);
    assert_eq!(
        (code, &run["status"], &run["created"]),
        (Some(0), &json!("succeeded"), &json!(USERS)),
        "{error}"
    );
    assert_eq!(application.db.count("people").await, (application.rows() + USERS) as u64);
    let (code, run, _) = application.headcount(&["resync", "clerk"]);
    assert_eq!((code, &run["created"]), (Some(0), &json!(0)), "{run}");
    assert_eq!(application.dump().await.len(), dump.len());
}

/// An account for which there can be no row is no new user, however many there are.
async fn accounts_that_wait_for_a_row_hold_no_run(db: Db) {
    let application = Application::new(db, USERS).await;
    application.headcount(&["adopt", "clerk", "--provider-id-column", "clerk_id", "--apply"]);
    let rule = match application.db.backend {
        Backend::Sqlite => {
            "CREATE TRIGGER no_more BEFORE INSERT ON people BEGIN SELECT RAISE(ABORT, 'no more'); END".to_owned()
        }
        _ => "CREATE FUNCTION no_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no more'; END $$;
              CREATE TRIGGER no_more BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION no_more()"
            .to_owned(),
    };
    application.db.execute(&rule).await;
    application.provider.simulator.change(200);
    let first = application.headcount(&["resync", "clerk"]);
    let id = first.1["run"].as_str().unwrap().to_owned();
    assert_eq!(first.0, Some(3), "{}", first.1);
    let (code, approved, error) = application.headcount(&["runs", "approve", &id, "--yes"]);
    assert_eq!((code, &approved["created"]), (Some(0), &json!(0)), "{error}");
    let waiting = application.db.count("headcount.identities WHERE waiting_reason IS NOT NULL").await;
    assert!(waiting > 6, "{waiting}");
    let (code, run, error) = application.headcount(&["resync", "clerk"]);
    assert_eq!((code, &run["created"], &run["refused"]), (Some(0), &json!(0), &json!(0)), "{error}");
    let (_, status, _) = application.headcount(&["status"]);
    assert_eq!(
        (&status["held_back"][0]["column"], &status["held_back"][0]["count"]),
        (&json!(null), &json!(waiting))
    );
}

async fn wrong_use_is_told(db: Db) {
    let application = Application::new(db, USERS).await;
    for (args, expected) in [
        (&["adopt", "clerk"][..], "--match external-id"),
        (&["adopt", "clerk", "--provider-id-column", "clrk_id"], "the nearest is `clerk_id`"),
        (&["adopt", "clark", "--match", "external-id"], "clark"),
    ] {
        let (code, _, error) = application.headcount(args);
        assert_eq!(code, Some(2), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    let configuration = application.folder.path().join("headcount.toml");
    for (content, expected) in [
        ("[users]\ntable = \"people\"\nidd = \"x\"\n", "the nearest known key is `id`"),
        ("[users.columns]\nemail = \"mail\"\n", "users.table"),
        ("[users]\ntable = \"people\"\nid = \"person_id\"\n[users.columns]\nemial = \"mail\"\n", "`email`"),
        (
            "[users]\ntable = \"people\"\nid = \"person_id\"\n[users.columns]\n\"private_metadata.x\" = \"mail\"\n",
            "no part",
        ),
        ("[users.owners]\nemail = \"me\"\n", "provider, app or app-once-set"),
        ("[users.owners]\nemial = \"app\"\n", "`email`"),
        ("[users]\ntable = \"peple\"\n", "people"),
        (
            "[users]\ntable = \"people\"\nid = \"person_id\"\n[users.columns]\nemail = \"karma\"\n",
            "it must be text",
        ),
    ] {
        std::fs::write(&configuration, content).unwrap();
        let (code, _, error) = application.headcount(&["migrate"]);
        assert_eq!(code, Some(2), "{content}: {error}");
        assert!(error.contains(expected), "{content}: {error}");
    }
    assert_eq!(application.db.count("people").await, application.rows() as u64);
}
