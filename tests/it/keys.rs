//! What a command says of a source that has no API key, or one that is of no use: what to set, under the name that it has there.

use super::process::{headcount, run, text};
use std::process::Command;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Of each provider: its kind, the variable of its webhook secret, and what has to be set for reading it.
const WITHOUT_A_KEY: [(&str, &str, &[&str]); 3] = [
    ("clerk", "CLERK_WEBHOOK_SIGNING_SECRET", &["set CLERK_SECRET_KEY to the secret key"]),
    ("workos", "WORKOS_WEBHOOK_SECRET", &["set WORKOS_API_KEY to the API key"]),
    (
        "supabase",
        "SUPABASE_WEBHOOK_SECRET",
        &["set SUPABASE_SERVICE_ROLE_KEY to the service_role key", "SUPABASE_URL"],
    ),
];
/// Two sources under names of their own, one of them of a kind that has no API.
const FILE: &str = r#"
[sources.staff]
kind = "workos"
webhook_secret_env = "STAFF_SECRET"

[sources.accounts]
kind = "standard-webhooks"
webhook_secret_env = "ACCOUNTS_SECRET"
upsert = ["user.updated"]
id = "data.id"
version = "data.updatedAt"
sample = '''{"type":"user.updated","data":{"id":"u","updatedAt":"2026-01-01T00:00:00Z"}}'''
"#;
const ADOPTED: &str = r#"
[users]
table = "people"
id = "id"
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The binary with a database of this folder, and a file of configuration where one is given.
    fn headcount(&self, file: Option<&str>) -> Command {
        let mut command = headcount(&format!("sqlite://{}", self.path("users.db")));
        if let Some(file) = file {
            std::fs::write(self.path("headcount.toml"), file).unwrap();
            command.env("HEADCOUNT_CONFIG", self.path("headcount.toml"));
        }
        command
    }
}

/// Exit code and the error of a command.
fn fails(command: &mut Command, code: i32, expected: &[&str]) -> String {
    let output = run(command);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for expected in expected {
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    assert!(!error.contains("panicked") && !error.contains(SECRET), "{error}");
    error
}

#[test]
fn a_source_without_a_key_names_its_own_variable() {
    let folder = Folder::new();
    for (kind, secret, expected) in WITHOUT_A_KEY {
        let error = fails(folder.headcount(None).args(["resync", kind]).env(secret, SECRET), 2, expected);
        assert!(error.contains(&format!("source {kind} has no API key")), "{error}");
        assert!(kind == "clerk" || !error.contains("CLERK"), "{error}");
    }
}

#[test]
fn a_source_of_the_file_names_its_table_and_a_kind_without_an_api_says_so() {
    let folder = Folder::new();
    let staff = ["source staff has no API key", "set api_key_env", "[sources.staff]", "the API key"];
    let resync = |source: &str| {
        let mut command = folder.headcount(Some(FILE));
        command.args(["resync", source]).env("STAFF_SECRET", SECRET).env("ACCOUNTS_SECRET", SECRET);
        command
    };
    let error = fails(&mut resync("staff"), 2, &staff);
    assert!(!error.contains("WORKOS_API_KEY") && !error.contains("CLERK"), "{error}");
    let error = fails(&mut resync("accounts"), 2, &["source accounts", "kind standard-webhooks has no API"]);
    assert!(!error.contains("set "), "there is no key that would help: {error}");
}

#[test]
fn adopt_names_the_variable_as_well() {
    let folder = Folder::new();
    let adopt = |source: &str, file: &str| {
        // The table has to be there before a worker looks at it.
        let mut command = folder.headcount(Some(file));
        command.args(["adopt", source, "--match", "external-id"]).env("STAFF_SECRET", SECRET);
        command
    };
    std::fs::remove_file(folder.path("users.db")).ok();
    let database = folder.path("users.db");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db =
            super::support::Db::at(super::support::Backend::Sqlite, format!("sqlite://{database}?mode=rwc"));
        db.execute("CREATE TABLE people (id text PRIMARY KEY, email text)").await;
    });
    for (kind, secret, expected) in WITHOUT_A_KEY {
        let error = fails(adopt(kind, ADOPTED).env(secret, SECRET), 2, expected);
        assert!(kind == "clerk" || !error.contains("CLERK"), "{error}");
    }
    let own =
        format!("{ADOPTED}\n[sources.staff]\nkind = \"workos\"\nwebhook_secret_env = \"STAFF_SECRET\"\n");
    let error = fails(&mut adopt("staff", &own), 2, &["set api_key_env", "[sources.staff]"]);
    assert!(!error.contains("CLERK"), "{error}");
}

#[test]
fn a_source_that_is_not_configured_is_asked_for_by_its_variables() {
    let folder = Folder::new();
    let error = fails(
        folder.headcount(None).args(["resync", "workos"]),
        2,
        &["source `workos` is not configured", "set WORKOS_API_KEY to the API key"],
    );
    assert!(!error.contains("CLERK"), "{error}");
    fails(
        folder.headcount(None).args(["resync", "workos"]).env("CLERK_SECRET_KEY", "sk_test_x"),
        2,
        &["source `workos` is not configured", "clerk", "set WORKOS_API_KEY"],
    );
    fails(
        folder.headcount(None).args(["resync", "staff"]),
        2,
        &[
            "source `staff` is not configured",
            "CLERK_SECRET_KEY",
            "WORKOS_API_KEY",
            "SUPABASE_SERVICE_ROLE_KEY",
        ],
    );
    fails(
        folder.headcount(None).arg("serve"),
        2,
        &[
            "no source is configured",
            "CLERK_WEBHOOK_SIGNING_SECRET",
            "WORKOS_WEBHOOK_SECRET",
            "SUPABASE_WEBHOOK_SECRET",
            "SUPABASE_URL",
            "headcount.toml",
        ],
    );
}

/// A key that no header can hold, and a machine without any certificate to trust: neither is "no API key".
#[test]
fn a_client_that_cannot_be_built_says_what_failed() {
    let folder = Folder::new();
    let resync = |key: &str| {
        let mut command = folder.headcount(None);
        command.args(["resync", "workos"]).env("WORKOS_API_KEY", key);
        command
    };
    let error = fails(&mut resync("sk_test\u{7f}x"), 2, &["WORKOS_API_KEY", "control character"]);
    assert!(!error.contains("has no API key") && !error.contains("sk_test"), "{error}");
    let nothing = folder.path("nothing.pem");
    std::fs::write(&nothing, "").unwrap();
    let error = fails(
        resync("sk_test_x").env("SSL_CERT_FILE", &nothing).env("SSL_CERT_DIR", folder.path("none")),
        1,
        &["source workos cannot be read", "HTTP client"],
    );
    assert!(!error.contains("has no API key"), "{error}");
}
