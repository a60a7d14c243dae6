//! Reading the repository's files, and the paths that Rust source names.

use std::path::{Path, PathBuf};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All files of a folder and its folders whose name ends so, sorted.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
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

pub fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// A file's source without its comments. The `//` of an address stands behind a colon and begins none.
pub fn code(path: &Path) -> String {
    let begins = |line: &str, at: usize| line[..at].is_empty() || line[..at].ends_with(char::is_whitespace);
    let mut code = String::new();
    for line in read(path).lines() {
        let end = line.match_indices("//").find(|(at, _)| begins(line, *at)).map_or(line.len(), |(at, _)| at);
        code.push_str(&line[..end]);
        code.push('\n');
    }
    code
}

/// The room of a file below `src/`: its folder there, or the file itself.
pub fn room(path: &Path) -> String {
    modules(path).first().cloned().unwrap_or_default()
}

/// The modules that a file below `src/` lies in, itself included: `web`, `admin`, `users`.
pub fn modules(path: &Path) -> Vec<String> {
    let relative = path.strip_prefix(Path::new(ROOT).join("src")).unwrap().with_extension("");
    let mut modules: Vec<String> =
        relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    modules.retain(|module| module != "mod");
    modules
}

/// Every path in the code that begins with `root::`, without the root and with its braces taken apart:
/// `use crate::{a, b::{c, d}}` names `a`, `b::c` and `b::d`.
pub fn paths(code: &str, root: &str) -> Vec<String> {
    let root = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&root) {
        let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if is_whole {
            take_apart(&code[at + root.len()..], "", &mut found);
        }
    }
    found
}

/// Adds the paths at the head of `text`; what comes behind them.
fn take_apart<'a>(text: &'a str, before: &str, found: &mut Vec<String>) -> &'a str {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
    let text = text.trim_start();
    if let Some(mut inner) = text.strip_prefix('{') {
        loop {
            inner = inner.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if inner.is_empty() {
                return inner;
            }
            if let Some(behind) = inner.strip_prefix('}') {
                return behind;
            }
            // Behind a path there may be `as name`.
            inner = take_apart(inner, before, found).trim_start_matches(|c| c != ',' && c != '}');
        }
    }
    let (name, behind) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
    let path = if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") };
    match behind.strip_prefix("::") {
        Some(rest) if rest.trim_start().starts_with(|c| is_name(c) || c == '{') => {
            take_apart(rest, &path, found)
        }
        _ => {
            found.push(path);
            behind
        }
    }
}

#[test]
fn braces_are_taken_apart_wherever_they_stand() {
    let code = "use crate::{web, store::{self, Store as S, a::{B, c}}, core::*};\nlet x = crate::digest::hex(1); xcrate::no";
    let expected =
        ["web", "store::self", "store::Store", "store::a::B", "store::a::c", "core::*", "digest::hex"];
    assert_eq!(paths(code, "crate"), expected);
}
