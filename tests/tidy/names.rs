//! A type's name stands once in `src/`: whoever reads it need not ask which one is meant.

use super::source::{files, modules, read};
use std::collections::BTreeMap;

/// Names that stand more than once still. A name that stands once is struck from here.
const STAND_MORE_THAN_ONCE: &[&str] = &[
    "Account",
    "Answer",
    "App",
    "Applied",
    "Before",
    "Calls",
    "Change",
    "Choice",
    "Counts",
    "Delivery",
    "Ensure",
    "Entry",
    "Envelope",
    "Event",
    "Events",
    "Found",
    "Held",
    "HeldValue",
    "Identity",
    "Ingest",
    "List",
    "Logged",
    "Place",
    "Poll",
    "Refusal",
    "Refusals",
    "Refused",
    "Report",
    "Resync",
    "ResyncCommand",
    "Retry",
    "Row",
    "Run",
    "Runs",
    "Sent",
    "Setting",
    "State",
    "Status",
    "Told",
    "User",
    "Waiting",
    "Wanted",
];

const KEYWORDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

/// The name of the type that a line declares, outside of any block.
fn declared(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.strip_prefix(' ')?,
        None => line,
    };
    let (keyword, rest) = line.split_once(' ')?;
    let name = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
    KEYWORDS.contains(&keyword).then_some(name)
}

#[test]
fn a_type_name_stands_once() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files("src", "rs") {
        for name in read(&path).lines().filter_map(declared) {
            places.entry(name.to_owned()).or_default().push(modules(&path).join("/"));
        }
    }
    assert!(places.len() > 200, "they are found");
    for (name, places) in &places {
        let listed = STAND_MORE_THAN_ONCE.contains(&name.as_str());
        assert!(places.len() == 1 || listed, "{name} stands in {places:?}");
    }
    for name in STAND_MORE_THAN_ONCE {
        let times = places.get(*name).map_or(0, Vec::len);
        assert!(times > 1, "{name} does not stand twice any more: strike it from the list");
    }
}

#[test]
fn declarations_are_recognized() {
    assert_eq!(declared("pub(in crate::store) struct Migration {"), Some("Migration"));
    assert_eq!(declared("pub type App = State<Shared>;"), Some("App"));
    assert_eq!(declared("enum Kind<T> {"), Some("Kind"));
    assert_eq!(declared("    type Item = u8;"), None);
    assert_eq!(declared("pub fn struct_of() {"), None);
}
