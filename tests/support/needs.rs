//! What some tests need from outside of this repository, and what becomes of a test that does not find it.
//!
//! `tests/run` installs all of it where the registries can be reached. Where something is missing, the tests that need it
//! are skipped and counted by reason in the closing line of `tests/run`. With `HEADCOUNT_TEST_REQUIRE=all` they fail.

use std::io::Write;

/// Something that `tests/run` installs. Its variable says where it is, and is empty where it could not be installed.
pub struct Need {
    variable: &'static str,
    what: &'static str,
}

pub const CLERK_CLIENT: Need =
    Need { variable: "HEADCOUNT_TEST_CLERK", what: "Clerk's client (node 20, npm, @clerk/backend)" };
pub const OTHER_CLIENTS: Need = Need {
    variable: "HEADCOUNT_TEST_SDKS",
    what: "the clients of WorkOS and Supabase (node 20, npm, @workos-inc/node, @supabase/auth-js)",
};
pub const BETTER_AUTH: Need = Need {
    variable: "HEADCOUNT_TEST_BETTER_AUTH",
    what: "a real Better Auth (node 20, npm, better-auth, better-sqlite3, pg, typescript)",
};
pub const DRIZZLE: Need = Need { variable: "HEADCOUNT_TEST_DRIZZLE", what: "drizzle-kit (node 20, npm)" };
pub const FUZZER: Need =
    Need { variable: "HEADCOUNT_TEST_SCHEMATHESIS", what: "schemathesis (python3, venv, pip)" };

impl Need {
    /// Where it is; `None` where it is missing, which is counted as one skipped test. Panics where everything is required.
    pub fn found(&self) -> Option<String> {
        let place = std::env::var(self.variable)
            .unwrap_or_else(|_| panic!("{} is not set: run the tests by ./tests/run", self.variable));
        if !place.is_empty() {
            return Some(place);
        }
        without(self.what);
        None
    }
}

/// Counts a test as skipped for want of this. Panics where everything is required.
pub fn without(what: &str) {
    let required = std::env::var("HEADCOUNT_TEST_REQUIRE").unwrap_or_default();
    assert!(required != "all", "HEADCOUNT_TEST_REQUIRE=all, and there is no {what}");
    eprintln!("skipped: there is no {what}");
    if let Some(list) = std::env::var_os("HEADCOUNT_TEST_SKIPPED") {
        // One write: tests of several processes append to this file.
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        list.write_all(format!("{what}\n").as_bytes()).unwrap();
    }
}
