//! Who may use whom. Data flows one way, and each arrow between rooms is written down here.

use super::source::{code, files, modules, paths, room};
use std::collections::{BTreeMap, BTreeSet};

/// Each room of `src/` with the rooms that it uses. A row may name only rooms of the rows above it, so no arrow leads upwards
/// and there is no circle. It names exactly those that are used: a new arrow is a line here that somebody has to read.
const FLOORS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("digest", &[]),
    ("live", &[]),
    ("nearest", &[]),
    ("private_host", &[]),
    ("clock", &["core"]),
    ("retry", &["clock", "core"]),
    ("source", &["core", "digest", "live"]),
    ("store", &["core", "digest", "nearest"]),
    ("config", &["core", "live", "nearest", "private_host", "source", "store"]),
    ("telemetry", &["config"]),
    ("intake", &["clock", "core", "digest", "source", "store"]),
    ("simulate", &["clock", "core", "source"]),
    ("reconcile", &["clock", "core", "digest", "intake", "live", "nearest", "source", "store"]),
    ("replay", &["clock", "core", "digest", "intake", "live", "reconcile", "source", "store"]),
    ("resync", &["clock", "core", "digest", "intake", "live", "reconcile", "retry", "source", "store"]),
    ("provider_move", &["clock", "core", "reconcile", "resync", "retry", "source", "store"]),
    ("view", &["core", "reconcile", "resync", "source", "store"]),
    ("worker", &["clock", "core", "intake", "live", "reconcile", "resync", "retry", "source", "store"]),
    (
        "web",
        &[
            "clock",
            "core",
            "digest",
            "intake",
            "live",
            "nearest",
            "private_host",
            "reconcile",
            "resync",
            "source",
            "store",
            "view",
            "worker",
        ],
    ),
    ("bench", &["clock", "core", "simulate", "source", "store"]),
    (
        "cli",
        &[
            "bench",
            "clock",
            "config",
            "core",
            "digest",
            "intake",
            "live",
            "provider_move",
            "reconcile",
            "replay",
            "resync",
            "simulate",
            "source",
            "store",
            "telemetry",
            "view",
            "web",
            "worker",
        ],
    ),
    ("main", &["cli"]),
];

/// What the simulator shares with the code that it tests: a stand-in that shares more proves nothing.
const SIMULATOR_SHARES: &[&str] = &["source::signature::"];

/// What is not pure, or knows how values are written down.
const NOT_IN_CORE: &[&str] = &[
    "serde",
    "serde_json",
    "tokio",
    "sqlx",
    "tracing",
    "rand",
    "uuid",
    "std::fs",
    "std::time",
    "std::env",
    "std::net",
    "std::thread",
    "std::process",
    "std::io",
];

/// The rooms that each room uses, with a file that does.
fn used() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut used: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for path in files("src", "rs") {
        let room = room(&path);
        if room == "lib" {
            continue;
        }
        let root = if room == "main" { "headcount" } else { "crate" };
        let of_room = used.entry(room.clone()).or_default();
        for named in paths(&code(&path), root) {
            let other = named.split("::").next().unwrap_or_default().to_owned();
            assert!(other != "*" && other != "self", "{} names the crate as a whole", path.display());
            if other != room {
                of_room.entry(other).or_insert_with(|| path.display().to_string());
            }
        }
    }
    used
}

#[test]
fn rooms_use_only_what_their_row_says() {
    let mut used = used();
    let mut above = BTreeSet::new();
    for (room, allowed) in FLOORS {
        let uses = used.remove(*room).unwrap_or_else(|| panic!("there is no room {room}"));
        for (other, path) in &uses {
            assert!(allowed.contains(&other.as_str()), "{path} uses {other}, and the row of {room} does not");
        }
        for other in *allowed {
            assert!(above.contains(other), "{room} uses {other}, which does not lie below it");
            assert!(
                uses.contains_key(*other),
                "{room} does not use {other} any more: strike it from its row"
            );
        }
        above.insert(*room);
    }
    let without: Vec<&String> = used.keys().collect();
    assert!(without.is_empty(), "without a row: {without:?}");
}

/// `super::super::…` could leave a room past its row.
#[test]
fn nobody_leaves_a_room_by_its_parents() {
    for path in files("src", "rs") {
        let code = code(&path);
        let (own, of_tests) = code.split_at(code.find("#[cfg(test)]").unwrap_or(code.len()));
        for (text, deeper) in [(own, 0), (of_tests, 1)] {
            let chain = "super::".repeat(modules(&path).len() + deeper);
            assert!(!text.contains(&chain), "{} goes up to the crate", path.display());
        }
    }
}

#[test]
fn the_simulator_shares_only_the_signing() {
    for path in files("src/simulate", "rs") {
        for named in paths(&code(&path), "crate") {
            let shared =
                !named.starts_with("source") || SIMULATOR_SHARES.iter().any(|of| named.starts_with(of));
            assert!(shared, "{} shares {named}", path.display());
        }
    }
}

#[test]
fn the_core_is_pure() {
    for path in files("src/core", "rs") {
        let code = code(&path);
        for named in paths(&code, "std") {
            let named = format!("std::{named}::");
            let impure = NOT_IN_CORE.iter().find(|name| named.starts_with(&format!("{name}::")));
            assert_eq!(impure, None, "{}", path.display());
        }
        for library in NOT_IN_CORE.iter().filter(|name| !name.contains("::")) {
            let named = !paths(&code, library).is_empty() || code.contains(&format!("use {library}"));
            assert!(!named, "{} names {library}", path.display());
        }
        for clock in ["now_utc", "now_local", "Utc::now", "SystemTime", "Instant"] {
            assert!(!code.contains(clock), "{} asks for the time: {clock}", path.display());
        }
    }
}
