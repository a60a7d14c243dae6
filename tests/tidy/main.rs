//! The rules of the house that a compiler does not know. A rule that only a reviewer knows is no rule.

mod circles;
mod names;
mod providers;
mod recipes;
mod rooms;
mod source;

use source::{files, read, room};

const SOURCE_LINES_MAX: usize = 400;

#[test]
fn each_library_has_its_room() {
    let homes: &[(&str, &[&str])] = &[
        ("sqlx::", &["store"]),
        ("axum::", &["bench", "web", "source", "simulate"]),
        ("reqwest::", &["bench", "replay", "source", "simulate"]),
        ("backoff::", &["retry"]),
        ("SystemTime::now", &["clock"]),
        ("anyhow::", &["bench", "cli", "replay", "simulate"]),
        ("clap::", &["cli"]),
        ("anstyle::", &["cli"]),
        ("utoipa::", &["view", "web"]),
        ("indicatif::", &["cli"]),
        ("croner::", &["core"]),
        ("chrono::", &["core"]),
    ];
    for path in files("src", "rs") {
        let text = read(&path);
        for (library, rooms) in homes {
            let named =
                text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(library));
            assert!(!named || rooms.contains(&&*room(&path)), "{} names {library}", path.display());
        }
    }
}

#[test]
fn files_have_one_purpose_and_a_word_about_it() {
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        let text = read(&path);
        let lines = text.lines().count();
        assert!(lines <= SOURCE_LINES_MAX, "{} has {lines} lines", path.display());
        let test_module = path.ends_with("clerk/tests.rs");
        assert!(text.starts_with("//!") || test_module, "{} does not say what it is for", path.display());
        assert!(!text.contains(concat!("#[", "allow")), "{}: use #[expect(…, reason = …)]", path.display());
    }
}

#[test]
fn migrations_come_in_pairs_and_are_known() {
    let names = |engine: &str| -> Vec<String> {
        files(&format!("migrations/{engine}"), "sql")
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(names("postgres"), names("sqlite"));
    let known = read("src/store/schema/migrations.rs");
    for (number, name) in names("postgres").iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}_", number + 1)), "{name} is out of order");
        assert!(
            known.contains(&format!("postgres/{name}")) && known.contains(&format!("sqlite/{name}")),
            "{name}"
        );
    }
}

/// Commands and variables that the documents name exist.
#[test]
fn documents_name_what_there_is() {
    let settings: Vec<&str> = headcount::config::SETTINGS.iter().map(|setting| setting.variable).collect();
    let commands = headcount::cli::command_names();
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/design.md",
        "docs/guarantees.md",
        "docs/operating.md",
        "docs/simulate.md",
        "docs/adopt.md",
        "docs/accounts.md",
        "docs/sources.md",
    ] {
        let text = read(document);
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')) {
            let is_setting = word.starts_with("HEADCOUNT_")
                && !word.starts_with("HEADCOUNT_TEST")
                && word != "HEADCOUNT_CONFIG";
            let word = word.trim_end_matches("_FILE");
            let is_setting = is_setting && word != "HEADCOUNT_";
            assert!(!is_setting || settings.contains(&word), "{document} names {word}");
        }
        for (_, after) in text.match_indices("headcount ").map(|(at, found)| (at, &text[at + found.len()..]))
        {
            let at_line_start = text[..text.len() - after.len() - "headcount ".len()].ends_with(['`', '\n']);
            let word = after.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
            if at_line_start
                && after.starts_with(|c: char| c.is_ascii_lowercase())
                && text[..text.len() - after.len()].ends_with("`headcount ")
            {
                assert!(
                    commands.iter().any(|command| command == word),
                    "{document} names `headcount {word}`"
                );
            }
        }
    }
}

#[test]
fn the_readme_has_its_two_commands_at_the_top() {
    let readme = read("README.md");
    let top: Vec<&str> =
        readme.lines().take(30).filter(|line| line.starts_with("cargo ") || line.starts_with("./")).collect();
    assert_eq!(top, ["cargo run -- demo", "./tests/run"]);
}

/// Where all of a user is shown, every column is: what the core knows of, the compiler does not ask for there.
#[test]
fn a_users_column_is_shown_where_users_are() {
    let shown = [
        "src/view/user.rs",
        "src/cli/schema/drizzle-postgres.ts",
        "src/cli/schema/drizzle-sqlite.ts",
        "src/cli/schema/prisma-postgres.prisma",
        "src/cli/schema/prisma-sqlite.prisma",
        "README.md",
        "docs/adopt.md",
    ];
    for place in shown {
        let text = read(place);
        let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        for column in headcount::core::columns::Column::ALL {
            assert!(words.contains(&column.name()), "{place} does not show the column {}", column.name());
        }
    }
}
