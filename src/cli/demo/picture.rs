//! A picture of all accounts, a character each: who is as the source has them, and who is not.

use crate::reconcile::Drift;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const WIDTH: usize = 64;
/// More accounts than this are not painted one by one.
const ACCOUNTS_MAX: usize = 1_600;

/// How an account differs, and its mark.
const KINDS: [(&str, char, &str, &str); 4] = [
    ("missing", '+', "33", "missing here"),
    ("outdated", '~', "36", "outdated here"),
    ("gone", '-', "31", "gone there"),
    ("edited", '!', "35", "edited here"),
];

/// The accounts in the order of their sign-up; empty where there are too many.
pub fn picture(accounts: &BTreeSet<String>, drift: &[Drift], colors: bool) -> String {
    if accounts.len() > ACCOUNTS_MAX {
        return String::new();
    }
    let marks: BTreeMap<&str, (char, &str)> = drift
        .iter()
        .filter_map(|drift| {
            let (_, mark, color, _) = KINDS.iter().find(|(kind, ..)| *kind == drift.kind)?;
            Some((drift.provider_id.as_str(), (*mark, *color)))
        })
        .collect();
    let mut out = String::from("   ");
    for (n, account) in accounts.iter().enumerate() {
        if n > 0 && n % WIDTH == 0 {
            out.push_str("\n   ");
        }
        // Writing to a string cannot fail.
        let _ = match marks.get(account.as_str()) {
            None if colors => write!(out, "\u{1b}[2m·\u{1b}[0m"),
            None => write!(out, "·"),
            Some((mark, color)) if colors => write!(out, "\u{1b}[1;{color}m{mark}\u{1b}[0m"),
            Some((mark, _)) => write!(out, "{mark}"),
        };
    }
    let legend = KINDS.iter().filter(|(kind, ..)| drift.iter().any(|drift| drift.kind == *kind));
    let legend: Vec<String> = legend.map(|(_, mark, _, meaning)| format!("{mark} {meaning}")).collect();
    let _ = write!(out, "\n   · as the source has them   {}", legend.join("   "));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_is_a_character() {
        let accounts: BTreeSet<String> = (0..100).map(|n| format!("user_{n:03}")).collect();
        let gone = Drift { provider_id: "user_001".into(), kind: "gone", columns: Vec::new() };
        let painted = picture(&accounts, &[gone], false);
        let lines: Vec<&str> = painted.lines().map(str::trim_start).collect();
        assert_eq!(lines[0].chars().take(3).collect::<String>(), "·-·");
        assert_eq!(lines[0].chars().count() + lines[1].chars().count(), 100);
        assert!(lines[2].ends_with("- gone there"), "{painted}");
    }
}
