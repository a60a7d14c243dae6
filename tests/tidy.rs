//! The rules of the house that a compiler does not know. A rule that only a reviewer knows is no rule.

use headcount::config::{Config, Environment};
use headcount::simulate::{Kind, StandIn, WEBHOOK_SECRET};
use headcount::source::setup::Setup;
use headcount::source::{KINDS, provider};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SOURCE_LINES_MAX: usize = 400;

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no *.{ending} in {folder}");
    found
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

fn room(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(ROOT).join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Who may not name whom. Data flows one way.
#[test]
fn rooms_import_only_what_lies_below_them() {
    let forbidden: &[(&str, &[&str])] = &[
        (
            "core",
            &[
                "crate::source",
                "crate::store",
                "crate::reconcile",
                "crate::resync",
                "crate::worker",
                "crate::web",
                "crate::replay",
                "crate::cli",
                "crate::config",
                "crate::clock",
                "use serde",
                "serde::",
                "use tokio",
                "std::fs",
                "std::time::SystemTime",
            ],
        ),
        (
            "source",
            &[
                "crate::store",
                "crate::reconcile",
                "crate::resync",
                "crate::worker",
                "crate::web",
                "crate::replay",
                "crate::cli",
                "crate::config",
                "crate::clock",
            ],
        ),
        (
            "store",
            &[
                "crate::source",
                "crate::reconcile",
                "crate::resync",
                "crate::worker",
                "crate::web",
                "crate::replay",
                "crate::cli",
                "crate::config",
            ],
        ),
        (
            "reconcile",
            &[
                "crate::resync",
                "crate::worker",
                "crate::web",
                "crate::view",
                "crate::replay",
                "crate::cli",
                "crate::config",
            ],
        ),
        ("resync", &["crate::worker", "crate::web", "crate::replay", "crate::cli", "crate::config"]),
        (
            "view",
            &["crate::resync", "crate::worker", "crate::web", "crate::replay", "crate::cli", "crate::config"],
        ),
        ("worker", &["crate::web", "crate::replay", "crate::cli", "crate::config"]),
        ("web", &["crate::replay", "crate::cli", "crate::config"]),
        ("replay", &["crate::worker", "crate::web", "crate::cli", "crate::config"]),
    ];
    for path in files("src", "rs") {
        let text = read(&path);
        for (of, names) in forbidden {
            if room(&path) == *of {
                for name in *names {
                    assert!(!text.contains(name), "{} names {name}", path.display());
                }
            }
        }
    }
}

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
    let commands = [
        "adopt",
        "bench",
        "demo",
        "schema",
        "serve",
        "simulate",
        "resync",
        "runs",
        "source",
        "replay",
        "record",
        "migrate",
        "status",
        "events",
        "explain",
        "users",
        "config",
        "completions",
    ];
    for document in [
        "README.md",
        "ARCHITECTURE.md",
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
                assert!(commands.contains(&word), "{document} names `headcount {word}`");
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

/// What a kind of provider must have besides its code. Each thing that it lacks has a reason, which stands in the code.
#[test]
fn a_provider_is_whole() {
    let fixtures =
        std::fs::read_dir(Path::new(ROOT).join("fixtures")).unwrap().map(|entry| entry.unwrap().path());
    let of_fixtures: BTreeSet<String> = fixtures
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(of_fixtures, KINDS.iter().map(|kind| (*kind).to_owned()).collect(), "a folder for each kind");
    let (sources, operating, readme) =
        (read("docs/sources.md"), read("docs/operating.md"), read("README.md"));
    for kind in KINDS {
        let provider = provider(kind).unwrap();
        assert_eq!(provider.kind(), kind);
        assert!(!files(&format!("fixtures/{kind}"), "http").is_empty());
        assert_stand_in(kind);
        let variables = match provider.setup() {
            Setup::Variables(variables) => variables,
            Setup::FileAlone { why } => {
                assert!(!why.is_empty(), "{kind} says why no variable switches it on");
                continue;
            }
        };
        let title = variables.title;
        assert!(sources.contains(&format!("\n## {title}\n")), "docs/sources.md has no section on {title}");
        assert!(readme.contains(title), "README.md does not name {title}");
        let names = [&variables.webhook_secret, &variables.api_key, &variables.api_url];
        let values = [WEBHOOK_SECRET, "sk_test_x", "http://127.0.0.1:1"];
        let set = names.iter().map(|variable| variable.name.to_owned()).zip(values.map(str::to_owned));
        let shown = Config::resolve(&[], &Environment(set.collect()), None).unwrap();
        assert_eq!(shown.source_names(), [kind], "its variables switch it on");
        for variable in names {
            let name = variable.name;
            assert!(shown.entries.iter().any(|entry| entry.name == name), "`config` does not show {name}");
            for (document, text) in [("sources", &sources), ("operating", &operating)] {
                assert!(text.contains(&format!("`{name}`")), "docs/{document}.md does not name {name}");
            }
            assert!(!variable.holds.is_empty(), "nobody knows what {name} holds");
        }
    }
    assert_stand_in(headcount::source::standard::KIND);
    for kind in Kind::ALL {
        assert!(KINDS.contains(&kind.name()), "{} stands in for no kind", kind.name());
    }
}

fn assert_stand_in(kind: &str) {
    match Kind::of(kind)
        .unwrap_or_else(|| panic!("simulate/kind.rs has no stand-in for {kind}, nor a reason"))
    {
        StandIn::Is(stand_in) => assert_eq!(stand_in.name(), kind),
        StandIn::None { why } => assert!(!why.is_empty(), "{kind}"),
    }
}

/// Every path that the recipe for a provider names is there, and it names all that `a_provider_is_whole` looks at.
#[test]
fn the_recipe_for_a_provider_leads_to_files_that_there_are() {
    let architecture = read("ARCHITECTURE.md");
    let (_, recipe) = architecture.split_once("- **A provider").unwrap();
    let recipe = recipe.split("\n- **").next().unwrap();
    let paths: Vec<&str> = recipe
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.ends_with('/') || word.ends_with(".rs") || word.ends_with(".md"))
        .collect();
    for path in &paths {
        let is_there = ["", "src/"].iter().any(|room| Path::new(ROOT).join(room).join(path).exists());
        assert!(is_there, "the recipe names {path}, which is not there");
    }
    for needed in [
        "source/mod.rs",
        "simulate/kind.rs",
        "fixtures/",
        "tests/it/sources.rs",
        "docs/sources.md",
        "docs/operating.md",
        "README.md",
    ] {
        assert!(paths.contains(&needed), "the recipe does not name {needed}");
    }
}

/// Two sides that misread a specification in the same way would prove nothing.
#[test]
fn the_simulator_shares_the_signing_alone() {
    for path in files("src/simulate", "rs") {
        for line in read(&path).lines().filter(|line| line.contains("crate::source")) {
            assert!(line.contains("crate::source::signature"), "{}: {line}", path.display());
        }
    }
}
