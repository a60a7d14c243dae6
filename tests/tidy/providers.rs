//! A provider that is configured is whole: whatever a user of it needs is there.

use super::source::{ROOT, files, read};
use headcount::config::{Config, Environment};
use headcount::simulate::{Kind, StandIn, WEBHOOK_SECRET};
use headcount::source::setup::Setup;
use headcount::source::{KINDS, provider};
use std::collections::BTreeSet;
use std::path::Path;

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
        let shown = Config::resolve(&[], &Environment::of(set.collect()), None).unwrap();
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
