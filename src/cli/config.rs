//! `headcount config`

use super::output::{print, print_json, table};
use super::{Context, DONE};
use clap::Args;
use serde_json::json;

/// Prints the effective configuration: every value with its origin, secrets redacted, and how long everything is kept
#[derive(Args)]
pub struct ShowConfig {}

pub fn run(context: Context) -> anyhow::Result<u8> {
    let config = &context.config;
    if context.json {
        let settings: Vec<_> = config
            .entries
            .iter()
            .map(|entry| json!({"name": entry.name, "value": entry.value, "origin": entry.origin}))
            .collect();
        let retention: Vec<_> = config
            .retentions()
            .map(|(kept, period)| json!({"name": kept.name, "period": period, "goes": kept.goes}))
            .collect();
        print_json(&json!({
            "settings": settings, "sources": config.source_names(), "warnings": config.warnings, "retention": retention,
        }));
        return Ok(DONE);
    }
    let rows = config
        .entries
        .iter()
        .map(|entry| vec![entry.name.clone(), entry.value.clone(), entry.origin.clone()])
        .collect();
    print(&table(&["setting", "value", "origin"], rows));
    let kept = config
        .retentions()
        .map(|(kept, period)| vec![kept.name.to_owned(), period, kept.goes.to_owned()])
        .collect();
    print(&format!("\n{}\n", table(&["kept", "for", "what goes then"], kept)));
    for note in super::serve::source_notes(&config.sources) {
        print(&note);
    }
    Ok(DONE)
}
