//! No two files need each other: types lie apart from the rules that act on them.

use super::source::{code, files, modules, paths};
use std::collections::{BTreeMap, BTreeSet};

type Uses = BTreeMap<String, BTreeSet<String>>;

/// Each file of `src/`, as a module, with those that it names. A module and what lies in it are told as one family: a
/// folder's `mod.rs` gathers what the folder offers.
fn uses() -> Uses {
    let sources: BTreeMap<String, String> = files("src", "rs")
        .iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| {
            let code = code(path);
            let own = code.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (modules(path).join("::"), own)
        })
        .collect();
    let file_of = |named: &str| {
        let mut named = named;
        while !sources.contains_key(named) {
            named = named.rsplit_once("::")?.0;
        }
        Some(named.to_owned())
    };
    let mut uses = Uses::new();
    for (module, code) in &sources {
        let mut named = paths(code, "crate");
        for levels in 1..=module.split("::").count() {
            let parts: Vec<&str> = module.split("::").collect();
            let parent = parts[..parts.len() - levels].join("::");
            let below = paths(code, &vec!["super"; levels].join("::"));
            named.extend(below.into_iter().map(|path| format!("{parent}::{path}")));
        }
        let others = named.iter().filter_map(|path| file_of(path.trim_start_matches("::")));
        let is_family = |other: &str| {
            other == module
                || module.starts_with(&format!("{other}::"))
                || other.starts_with(&format!("{module}::"))
        };
        uses.insert(module.clone(), others.filter(|other| !is_family(other)).collect());
    }
    uses
}

/// Whoever can be reached from a file.
fn reached<'a>(uses: &'a Uses, from: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for other in uses.get(module).into_iter().flatten() {
            if reached.insert(other.as_str()) {
                open.push(other);
            }
        }
    }
    reached
}

#[test]
fn no_files_need_each_other() {
    let uses = uses();
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 500, "the files name each other: {uses:?}");
    let circle: Vec<&String> =
        uses.keys().filter(|module| reached(&uses, module).contains(module.as_str())).collect();
    assert!(
        circle.is_empty(),
        "these files lie in a circle; put what both need into a file of its own: {circle:?}"
    );
}
