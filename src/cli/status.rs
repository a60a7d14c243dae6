//! `headcount status`

use super::output::{print, print_json, table};
use super::resync::run_json;
use super::{Context, DONE, FOUND};
use crate::core::loss::Loss;
use crate::core::timestamp::Timestamp;
use crate::source::Source;
use crate::store::{HeldGroup, LimiterReport, Run, SourceReport, StatusReport, Store};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Users by state, the incomplete by missing field, the inbox, refused deliveries, each source, and what is held back
///
/// Exit code 3 where there are dead letters, held deliveries or held runs, or where a source has fallen silent although
/// its API shows changes.
#[derive(Args)]
pub struct Status {}

/// What there is to say about a configured source.
struct SourceStatus<'a> {
    source: &'a Source,
    report: SourceReport,
    loss: Loss,
    alarm: Option<String>,
    limiter: LimiterReport,
    instance: Option<String>,
    last_run: Option<Run>,
    lag_ms: i64,
}

pub async fn run(context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let report = store.status(&context.config.source_names()).await?;
    let mut sources = Vec::new();
    for (source, report) in context.config.sources.iter().zip(report.sources.clone()) {
        sources.push(source_status(&store, source, report, context.config.resync.silence_after_ms).await?);
    }
    let held = store.runs("", "held", 100).await?;
    let held_back = store.held_groups().await?;
    let unlinked = match store.users_table().is_adopted() {
        true => Some(store.count_unlinked().await?),
        false => None,
    };
    store.close().await;
    match context.json {
        true => {
            let mut object = to_json(&report, &sources, &held);
            object["held_back"] = held_back.iter().map(held_json).collect();
            object["rows_without_account"] = json!(unlinked.map(|(_, unlinked)| unlinked));
            print_json(&object);
        }
        false => {
            show(&report, &sources, &held);
            show_held_back(&held_back);
            if let Some((rows, unlinked)) = unlinked.filter(|(_, unlinked)| *unlinked > 0) {
                print(&format!(
                    "{unlinked} of {rows} rows belong to no account; `headcount adopt SOURCE` looks for theirs."
                ));
            }
        }
    }
    let waiting =
        ["dead", "held"].iter().any(|status| report.inbox.get(*status).is_some_and(|count| *count > 0));
    let alarm = sources.iter().any(|source| source.alarm.is_some());
    Ok(if waiting || alarm || !held.is_empty() { FOUND } else { DONE })
}

async fn source_status<'a>(
    store: &Store,
    source: &'a Source,
    report: SourceReport,
    silence_after_ms: i64,
) -> anyhow::Result<SourceStatus<'a>> {
    let loss = store.loss(&source.name).await?;
    let now = store.now().await?;
    let listens = !source.webhook_keys.is_empty();
    let waiting_since = report.oldest_pending.as_deref().and_then(Timestamp::parse);
    Ok(SourceStatus {
        source,
        alarm: listens.then(|| loss.silence(now, silence_after_ms)).flatten(),
        loss,
        limiter: store.limiter(&source.name).await?,
        instance: source.instance.clone().or(store.source(&source.name).await?.instance_id),
        last_run: store.last_full_run(&source.name).await?,
        lag_ms: waiting_since.map_or(0, |since| (now.ms() - since.ms()).max(0)),
        report,
    })
}

fn counted(counts: &BTreeMap<String, u64>) -> Vec<Vec<String>> {
    counts.iter().map(|(name, count)| vec![name.clone(), count.to_string()]).collect()
}

fn show(report: &StatusReport, sources: &[SourceStatus<'_>], held: &[Run]) {
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
    if !sources.is_empty() {
        let rows = sources.iter().map(source_row);
        let head = ["source", "accounts", "last delivery", "last full run", "lost by webhooks", "instance"];
        print(&table(&head, rows.collect()));
    }
    for status in sources {
        notes(status).iter().for_each(|note| print(note));
    }
    for run in held {
        print(&format!("Run {} is held: {}", run.id, run.error.clone().unwrap_or_default()));
    }
}

fn show_held_back(groups: &[HeldGroup]) {
    if groups.is_empty() {
        return;
    }
    let row = |group: &HeldGroup| {
        vec![
            group.source.clone(),
            group.column.clone().unwrap_or_else(|| "(the whole row)".to_owned()),
            group.count.to_string(),
            group.oldest_since.clone().unwrap_or_default(),
            group.reason.clone(),
        ]
    };
    let head = ["held back of", "column", "", "the oldest since", "because"];
    print(&table(&head, groups.iter().map(row).collect()));
}

fn held_json(group: &HeldGroup) -> Value {
    json!({
        "source": group.source, "column": group.column, "reason": group.reason, "count": group.count,
        "oldest_since": group.oldest_since,
    })
}

fn source_row(status: &SourceStatus<'_>) -> Vec<String> {
    let run = match &status.last_run {
        Some(run) => {
            format!("{} {}", run.status, run.started_at.map(|at| at.to_string()).unwrap_or_default())
        }
        None => "never".to_owned(),
    };
    let lost = match status.loss.rate() {
        Some(rate) => format!("{:.1} % ({})", rate * 100.0, status.loss.lost()),
        None => "–".to_owned(),
    };
    vec![
        status.source.name.clone(),
        status.report.accounts.to_string(),
        status.report.last_delivery.clone().unwrap_or("never".into()),
        run,
        lost,
        status.instance.clone().unwrap_or_else(|| "not pinned".to_owned()),
    ]
}

fn notes(status: &SourceStatus<'_>) -> Vec<String> {
    let name = &status.source.name;
    let mut notes = super::serve::source_notes(std::slice::from_ref(status.source));
    if let Some(alarm) = &status.alarm {
        notes.push(format!("ALARM: source {name} is silent: {alarm}."));
    }
    if let Some(until) = &status.limiter.blocked_until {
        let reason = status.limiter.blocked_reason.clone().unwrap_or_default();
        notes.push(format!("Source {name} is not asked until {until}: {reason}."));
    }
    if let Some(run) = status.last_run.as_ref().filter(|run| run.status == "failed") {
        notes.push(format!("The last full run of {name} failed: {}.", run.error.clone().unwrap_or_default()));
    }
    if status.report.doubted > 0 {
        notes.push(format!("{} accounts of {name} are to be read again.", status.report.doubted));
    }
    notes
}

fn to_json(report: &StatusReport, sources: &[SourceStatus<'_>], held: &[Run]) -> Value {
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
    json!({
        "users": report.users,
        "missing": missing,
        "inbox": report.inbox,
        "oldest_pending": report.oldest_pending,
        "refused": refusals,
        "sources": sources.iter().map(source_json).collect::<Vec<_>>(),
        "held_runs": held.iter().map(run_json).collect::<Vec<_>>(),
    })
}

fn source_json(status: &SourceStatus<'_>) -> Value {
    let loss = &status.loss;
    json!({
        "name": status.source.name,
        "kind": status.source.provider.kind(),
        "accounts": status.report.accounts,
        "last_delivery": status.report.last_delivery,
        "takes_deliveries": !status.source.webhook_keys.is_empty(),
        "has_api_key": status.source.api.is_some(),
        "instance": status.instance,
        "last_resync": status.last_run.as_ref().map(run_json),
        "lag_ms": status.lag_ms,
        "to_be_read_again": status.report.doubted,
        "loss": {
            "rate": loss.rate(),
            "delivered": loss.delivered,
            "created": loss.created,
            "updated": loss.updated,
            "deleted": loss.deleted,
        },
        "silence": status.alarm,
        "blocked_until": status.limiter.blocked_until,
        "blocked_reason": status.limiter.blocked_reason,
        "failures_in_a_row": status.limiter.failures,
    })
}
