//! What is forged, stale, malformed or configured wrongly at one of several sources, and lists that lie.

use super::process::{Server, run, text};
use super::provider::{Provider, people};
use super::sources::of;
use super::support::{Backend, Db};
use headcount::simulate::{Kind, ListFault, LostCursor, Options};
use serde_json::Value;
use std::time::Duration;

/// A cursor's account is deleted while the list is walked, whatever the server makes of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lies_deletes_nobody() {
    for (kind, fault) in [
        (Kind::WorkOs, ListFault::Empty),
        (Kind::WorkOs, ListFault::Half),
        (Kind::WorkOs, ListFault::Repeat),
        (Kind::Supabase, ListFault::Empty),
        (Kind::Supabase, ListFault::Half),
        (Kind::BetterAuth, ListFault::Empty),
        (Kind::BetterAuth, ListFault::Half),
        (Kind::BetterAuth, ListFault::Repeat),
    ] {
        let db = Db::new(Backend::Sqlite).await;
        // More than a page.
        let provider = of(kind, if kind == Kind::BetterAuth { 1_100 } else { 450 }, false).await;
        assert_eq!(provider.resync(&db, &[]).0, Some(0));
        let before = people(&db).await.len();
        provider.simulator.set_faults(|faults| faults.list = fault);
        let (code, run, error) = provider.resync(&db, &[]);
        assert!(code != Some(0) && run["deleted"] == 0, "{kind:?} {fault:?}: {run} {error}");
        assert_eq!(people(&db).await.len(), before, "{kind:?} {fault:?}");
        // Nobody is there by their ids, and then the API answers nonsense.
        for (all_absent, html) in [(true, 0.0), (false, 1.0)] {
            provider.simulator.set_faults(|faults| {
                (faults.list, faults.all_absent, faults.html) = (ListFault::None, all_absent, html);
            });
            let id = provider.ids()[3].clone();
            provider.simulator.delete(&id);
            assert_ne!(provider.resync(&db, &[]).0, Some(0));
        }
    }
    for lost in [LostCursor::Empty, LostCursor::NotFound, LostCursor::Unprocessable, LostCursor::Restart] {
        let db = Db::new(Backend::Sqlite).await;
        let provider = of(Kind::WorkOs, 450, false).await;
        provider.simulator.set_faults(|faults| (faults.lost_cursor, faults.latency_ms) = (lost, 80));
        let walking = provider
            .headcount(&db)
            .args(["resync", "workos", "--json"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ids = provider.ids();
        for last in [99, 199, 198, 299] {
            tokio::time::sleep(Duration::from_millis(60)).await;
            provider.simulator.delete(&ids[last]);
        }
        let walked = tokio::task::spawn_blocking(|| walking.wait_with_output().unwrap()).await.unwrap();
        assert!(walked.status.success(), "{lost:?}: {}{}", text(&walked.stdout), text(&walked.stderr));
        provider.simulator.set_faults(|faults| faults.latency_ms = 0);
        assert_eq!(provider.resync(&db, &[]).0, Some(0));
        provider.equals(&db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_environment_changes_nothing() {
    let db = Db::new(Backend::Sqlite).await;
    let own = of(Kind::WorkOs, 40, false).await;
    assert_eq!(own.resync(&db, &[]).0, Some(0));
    let options = Options { kind: Kind::WorkOs, users: 40, seed: 99, ..Options::default() };
    let other = Provider::start(options).await;
    for args in [&[][..], &["--incremental"], &["--dry-run"]] {
        let (code, _, error) = other.resync(&db, args);
        assert!(code == Some(1) && error.contains("another environment"), "{error}");
    }
    assert_eq!(db.count("users").await, 40);
    assert_eq!(other.command(&db, &["source", "repin", "workos", "--yes"]).0, Some(0));
    // Meant so: whoever is of the old environment goes only with proof, and too many at once not without a person.
    let (code, run, _) = other.resync(&db, &[]);
    assert_ne!(code, Some(0), "{run}");
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 0);
    // Supabase: each project has an address of its own. Its people are nobody's who is here.
    let db = Db::new(Backend::Sqlite).await;
    let first = of(Kind::Supabase, 5, false).await;
    assert_eq!(first.resync(&db, &[]).0, Some(0));
    let (code, _, error) = of(Kind::Supabase, 5, false).await.resync(&db, &[]);
    assert!(code == Some(1) && error.contains("is pinned to 127.0.0.1"), "{error}");
}

/// Each provider's forged, stale and malformed deliveries, and those of one source at another's path.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_taken_in() {
    let db = Db::new(Backend::Sqlite).await;
    let variables = [
        ("WORKOS_WEBHOOK_SECRET", "workos secret"),
        ("SUPABASE_WEBHOOK_SECRET", "supabase secret,v1,whsec_c3VwYWJhc2UgaG9vayBzZWNyZXQ="),
    ];
    let server = Server::start_with(&db, &[], &variables).await;
    let at = |offset_ms: i64| {
        let now = headcount::clock::Clock::now(&headcount::clock::SystemClock);
        headcount::core::timestamp::Timestamp::clamped(now.ms() + offset_ms)
    };
    use headcount::source::signature::{Scheme, SigningKey};
    let workos = SigningKey::plain(Scheme::Timed, "workos secret").unwrap();
    let body = include_str!("../vectors/workos-user-created.json");
    let send = async |source: &str, headers: Vec<(&'static str, String)>, body: &str| {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.post(source, &headers, body.to_owned()).await.unwrap().0.as_u16()
    };
    let signed = |offset_ms: i64| workos.headers("", at(offset_ms), body.as_bytes());
    assert_eq!(send("workos", signed(0), body).await, 202);
    assert_eq!(send("workos", signed(0), body).await, 200, "the event's id tells");
    assert_eq!(send("workos", signed(-181_000), body).await, 401, "stale");
    assert_eq!(send("workos", signed(3_600_000), body).await, 401, "of the future");
    assert_eq!(send("workos", signed(0), &body.replace("test01", "forged")).await, 401);
    assert_eq!(send("workos", Vec::new(), body).await, 400);
    assert_eq!(send("clerk", signed(0), body).await, 400, "at another's path");
    assert_eq!(send("supabase", signed(0), body).await, 400);
    let not_json = workos.headers("", at(0), b"{");
    assert_eq!(send("workos", not_json, "{").await, 400);

    let bearer = |secret: &str| vec![("authorization", format!("Bearer {secret}"))];
    let vectors: Value = serde_json::from_str(include_str!("../vectors/supabase-user.json")).unwrap();
    let row = vectors["database_webhook_insert"].to_string();
    for _ in 0..2 {
        assert_eq!(send("supabase", bearer("supabase secret"), &row).await, 202, "each counts as new");
    }
    assert_eq!(send("supabase", bearer("supabase secreT"), &row).await, 401);
    assert_eq!(send("workos", bearer("supabase secret"), &row).await, 400);
    let hook_key = SigningKey::parse("whsec_c3VwYWJhc2UgaG9vayBzZWNyZXQ=").unwrap();
    let hook = vectors["auth_hook_before_user_created"].to_string();
    for attempt in ["attempt_1", "attempt_2"] {
        let status = send("supabase", hook_key.headers(attempt, at(0), hook.as_bytes()), &hook).await;
        assert_eq!(status, if attempt == "attempt_1" { 202 } else { 200 }, "its id is in the body");
    }
    server.drained(&db).await;
    assert_eq!(db.count("users").await, 2);
    assert_eq!(db.count("headcount.inbox WHERE status = 'ignored' AND body IS NULL").await, 1);
    let (_, status) = server.call("GET", "/v1/status", super::process::ADMIN_TOKEN, None).await;
    let sources: Vec<&str> =
        status["sources"].as_array().unwrap().iter().map(|source| source["name"].as_str().unwrap()).collect();
    assert_eq!(sources, ["clerk", "workos", "supabase"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_says_what_to_do() {
    let db = Db::new(Backend::Sqlite).await;
    let start = |content: &str, variables: &[(&str, &str)]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut command = super::process::headcount(&db.url);
        command.args(["config"]).env("HEADCOUNT_CONFIG", file.path()).env("SECRET", "whsec_c2VjcmV0c2VjcmV0");
        let output = run(command.envs(variables.iter().copied()));
        (output.status.code(), text(&output.stderr) + &text(&output.stdout))
    };
    let table = |name: &str, kind: &str, more: &str| {
        format!("[sources.{name}]\nkind = \"{kind}\"\nwebhook_secret_env = \"SECRET\"\n{more}\n")
    };
    let described = |more: &str| {
        table("shop", "standard-webhooks", &format!("upsert = [\"u\"]\nid = \"id\"\nversion = \"v\"\n{more}"))
    };
    for (content, why) in [
        (table("workos", "clerk", ""), "the name is reserved"),
        (table("headcount", "clerk", ""), "the name is reserved"),
        (table("Clerk", "clerk", ""), "must be named with a-z"),
        (table("clerk", "clerk", ""), "configured twice"),
        (table("staff", "workso", ""), "the nearest known kind is `workos`"),
        (table("staff", "clerk", "upsert = [\"u\"]"), "`sources.staff.upsert`"),
        (table("staff", "clerk", "rate_share = \"0%\""), "`sources.staff.rate_share`"),
        (table("staff", "clerk", "resync_schedule = \"often\""), "an interval such as 6h"),
        (table("staff", "supabase", "api_key_env = \"SECRET\""), "has an address of its own"),
        (
            table("staff", "clerk", "link_verified_emails = true\ntrust_verified_emails = false"),
            "not trusted links nobody",
        ),
        (described("api_key_env = \"SECRET\""), "no API to be read"),
        (described("columns = { emial = \"x\" }"), "the nearest known key is `email`"),
        (described("delete = [\"u\"]"), "which is in `upsert` as well"),
        (described("sample = '{\"type\":\"x\"}'"), "which is neither in `upsert` nor in `delete`"),
        (described("sample = '{\"type\":\"u\",\"id\":\"1\"}'"), "the version is missing"),
        (described("sample = \"nowhere.json\""), "cannot be read"),
        (table("shop", "standard-webhooks", "upsert = [\"u\"]\nversion = \"v\""), "`sources.shop.id`"),
        (table("shop", "standard-webhooks", "id = \"i\"\nversion = \"v\""), "the types of deliveries"),
        ("[users.authority]\nemail = [\"clrek\"]".to_owned(), "the nearest source is `clerk`"),
        ("[users.authority]\nemial = [\"clerk\"]".to_owned(), "the nearest known key is `email`"),
        ("[users.authority]\nemail_verified = [\"clerk\"]".to_owned(), "follows email"),
    ] {
        let (code, told) = start(&content, &[("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_b3RoZXJvdGhlcg==")]);
        assert!(code == Some(2) && told.contains(why), "{content}: {told}");
        assert!(!told.contains("c2VjcmV0"), "{told}");
    }
    let (code, told) = start(&described(""), &[("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_c2VjcmV0c2VjcmV0")]);
    assert!(code == Some(0) && told.contains("have the same webhook secret"), "{told}");
    let (code, told) = start(
        "[users.authority]\nemail = [\"workos\"]",
        &[("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_b3RoZXJvdGhlcg=="), ("WORKOS_WEBHOOK_SECRET", "s")],
    );
    assert!(
        code == Some(0) && told.contains("users.authority.default") && told.contains("clerk, workos"),
        "{told}"
    );
}
