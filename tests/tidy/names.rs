//! A type's name stands once in `src/`: whoever reads it need not ask which one is meant.

use super::source::{files, modules, read};
use std::collections::BTreeMap;

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
        assert!(places.len() == 1, "{name} stands in {places:?}");
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
