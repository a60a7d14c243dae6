//! `headcount status`

use super::output::{print, print_json, table};
use super::{Context, DONE, FOUND};
use crate::source::Source;
use crate::store::StatusReport;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Users by state, the incomplete by missing field, the inbox, refused deliveries, and each source
///
/// Exit code 3 where there are dead letters or held deliveries.
#[derive(Args)]
pub struct Status {}

pub async fn run(context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let report = store.status(&context.config.source_names()).await?;
    store.close().await;
    match context.json {
        true => print_json(&to_json(&report, &context.config.sources)),
        false => show(&report, &context.config.sources),
    }
    let waiting =
        ["dead", "held"].iter().any(|status| report.inbox.get(*status).is_some_and(|count| *count > 0));
    Ok(if waiting { FOUND } else { DONE })
}

fn counted(counts: &BTreeMap<String, u64>) -> Vec<Vec<String>> {
    counts.iter().map(|(name, count)| vec![name.clone(), count.to_string()]).collect()
}

fn show(report: &StatusReport, sources: &[Source]) {
    print(&table(&["users", ""], counted(&report.users)));
    if !report.missing.is_empty() {
        let rows = report.missing.iter().map(|field| {
            vec![field.field.clone(), field.users.to_string(), field.oldest_since.clone().unwrap_or_default()]
        });
        print(&table(&["incomplete without", "", "the oldest since"], rows.collect()));
    }
    print(&table(&["inbox", ""], counted(&report.inbox)));
    if let Some(since) = &report.oldest_pending {
        print(&format!("The oldest delivery that is due was received {since}."));
    }
    if !report.refusals.is_empty() {
        let rows = report.refusals.iter().map(|refusal| {
            let source = if refusal.source.is_empty() { "(none)" } else { &refusal.source };
            vec![
                source.to_owned(),
                refusal.reason.clone(),
                refusal.count.to_string(),
                refusal.last_at.clone().unwrap_or_default(),
            ]
        });
        print(&table(&["refused at", "reason", "", "last"], rows.collect()));
    }
    if !report.sources.is_empty() {
        let rows = report.sources.iter().map(|source| {
            vec![
                source.name.clone(),
                source.accounts.to_string(),
                source.last_delivery.clone().unwrap_or("never".into()),
            ]
        });
        print(&table(&["source", "accounts", "last delivery"], rows.collect()));
    }
    for note in super::serve::source_notes(sources) {
        print(&note);
    }
}

fn to_json(report: &StatusReport, sources: &[Source]) -> Value {
    let missing: Vec<Value> = report
        .missing
        .iter()
        .map(|field| json!({"field": field.field, "users": field.users, "oldest_since": field.oldest_since}))
        .collect();
    let refusals: Vec<Value> = report
        .refusals
        .iter()
        .map(|refusal| {
            json!({"source": refusal.source, "reason": refusal.reason, "count": refusal.count, "last_at": refusal.last_at})
        })
        .collect();
    let described: Vec<Value> = report
        .sources
        .iter()
        .map(|report| {
            let source = sources.iter().find(|source| source.name == report.name);
            json!({
                "name": report.name,
                "kind": source.map(|source| source.provider.kind()),
                "accounts": report.accounts,
                "last_delivery": report.last_delivery,
                "takes_deliveries": source.is_some_and(|source| !source.webhook_keys.is_empty()),
                "has_api_key": source.is_some_and(|source| source.api.is_some()),
            })
        })
        .collect();
    json!({
        "users": report.users,
        "missing": missing,
        "inbox": report.inbox,
        "oldest_pending": report.oldest_pending,
        "refused": refusals,
        "sources": described,
    })
}
