//! Choice points are ordered, and every retention is told: what the compiler and clippy cannot see.

use headcount::config::SETTINGS;
use headcount::core::retention::{ALL, Period, in_days};
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn sources() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![Path::new(ROOT).join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Without `biased` tokio throws dice for the order of the branches, and no seed repeats them.
#[test]
fn every_select_is_biased_or_says_why_not() {
    let mut seen = 0;
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (n, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("select! {")) {
            seen += 1;
            let is_biased = lines.get(n + 1) == Some(&"biased;");
            let says_why = n > 0 && lines[n - 1].starts_with("// Not biased:");
            assert!(is_biased || says_why, "{}:{}: {line}", path.display(), n + 1);
        }
    }
    assert!(seen > 10, "the pattern finds {seen} of them");
}

#[test]
fn every_retention_is_in_the_settings_and_in_the_document() {
    let document = std::fs::read_to_string(Path::new(ROOT).join("docs/operating.md")).unwrap();
    for retention in ALL {
        let period = match retention.period {
            Period::Fixed(period_ms) => in_days(period_ms).replace('d', " days"),
            Period::Setting(key) => {
                let setting = SETTINGS.iter().find(|setting| setting.key == key);
                let setting = setting.unwrap_or_else(|| panic!("{key} is no setting"));
                format!("`{}` (`{}`)", setting.variable, setting.default)
            }
        };
        let row = format!("| {} | {period} |", retention.name);
        assert!(document.contains(&row), "docs/operating.md lacks the row {row}");
    }
}
