//! `headcount status`

use super::output::{json_of, print, print_json, table};
use super::{Context, DONE, FOUND};
use crate::view::{HeldBack, SourceStatusJson, StatusJson, UnfinishedSwitch, status};
use clap::Args;
use std::collections::BTreeMap;

/// Users by state, the incomplete by missing field, the inbox, refused deliveries, each source, and what is held back
///
/// Exit code 3 where there are dead letters, held deliveries or held runs, where a source has fallen silent although
/// its API shows changes, where users collide over an address, where an outbox is not drained or its trigger has failed,
/// where a switch of authority was given up, and where something is wrong with the database or the users table itself.
#[derive(Args)]
pub struct StatusCommand {}

pub async fn run(context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let config = &context.config;
    let report = status(&store, &config.sources, &super::assembly::silence_after_ms(config)).await?;
    store.close().await;
    match context.json {
        true => print_json(&json_of(&report)),
        false => show(&report, &context),
    }
    let waiting =
        ["dead", "held"].iter().any(|status| report.inbox.get(*status).is_some_and(|count| *count > 0));
    let waits_in_vain =
        |source: &SourceStatusJson| source.waits_for.as_ref().is_some_and(|waits| waits.error.is_some());
    let outbox_fails =
        |source: &SourceStatusJson| source.outbox.as_ref().is_some_and(|outbox| outbox.problem.is_some());
    let is_alarming = |source: &SourceStatusJson| {
        source.silence.is_some() || source.colliding > 0 || waits_in_vain(source) || outbox_fails(source)
    };
    let alarm = report.sources.iter().any(is_alarming);
    let table = !report.users_table_problems.is_empty()
        || report.database_takes_no_writes.is_some()
        || report.unfinished_switch.is_some();
    Ok(if waiting || alarm || table || !report.held_runs.is_empty() { FOUND } else { DONE })
}

fn counted(counts: &BTreeMap<String, u64>) -> Vec<Vec<String>> {
    counts.iter().map(|(name, count)| vec![name.clone(), count.to_string()]).collect()
}

fn show(report: &StatusJson, context: &Context) {
    if let Some(why) = &report.database_takes_no_writes {
        print(&format!("ALARM: nothing can be written: {why}."));
    }
    if let Some(UnfinishedSwitch { from, to, direction, started_at }) = &report.unfinished_switch {
        print(&format!(
            "ALARM: the switch of authority that began {started_at} has not rewritten everybody: `headcount move --from {from} \
             --to {to} --{direction}` goes on with it."
        ));
    }
    report.users_table_problems.iter().for_each(|problem| print(&format!("ALARM: {problem}.")));
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
    if !report.refused.is_empty() {
        let rows = report.refused.iter().map(|refusal| {
            let source = if refusal.source.is_empty() { "(none)" } else { &refusal.source };
            vec![
                source.to_owned(),
                refusal.reason.clone(),
                refusal.count.to_string(),
                refusal.last_at.clone().unwrap_or_default(),
                refusal.hint.clone(),
            ]
        });
        print(&table(&["refused at", "reason", "", "last", ""], rows.collect()));
    }
    if !report.sources.is_empty() {
        let rows = report.sources.iter().map(source_row);
        let head = ["source", "accounts", "last delivery", "last full run", "lost by webhooks", "instance"];
        print(&table(&head, rows.collect()));
    }
    super::serve::source_notes(&context.config.sources).iter().for_each(|note| print(note));
    for source in &report.sources {
        notes(source).iter().for_each(|note| print(note));
    }
    for run in &report.held_runs {
        print(&format!("Run {} is held: {}", run.run, run.error.clone().unwrap_or_default()));
    }
    show_held_back(&report.held_back);
    if let Some((rows, unlinked)) = report.rows.zip(report.rows_without_account).filter(|(_, rows)| *rows > 0)
    {
        print(&format!(
            "{unlinked} of {rows} rows belong to no account; `headcount adopt SOURCE` looks for theirs."
        ));
    }
}

fn show_held_back(groups: &[HeldBack]) {
    if groups.is_empty() {
        return;
    }
    let row = |group: &HeldBack| {
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
    let rowless: u64 = groups.iter().filter(|group| group.column.is_none()).map(|group| group.count).sum();
    if rowless > 0 {
        print(&format!(
            "{rowless} accounts wait without a row. Where your table needs what the provider does not have, the application \
             supplies it: POST /v1/users/ensure with `set`. `headcount explain PROVIDER_ID` shows one account."
        ));
    }
}

fn source_row(source: &SourceStatusJson) -> Vec<String> {
    let run = match &source.last_resync {
        Some(run) => format!("{} {}", run.status, run.started_at.clone().unwrap_or_default()),
        None => "never".to_owned(),
    };
    let lost = match source.loss.rate {
        Some(rate) => format!("{:.1} % ({})", rate * 100.0, source.loss.lost),
        None => "–".to_owned(),
    };
    vec![
        source.name.clone(),
        source.accounts.to_string(),
        source.last_delivery.clone().unwrap_or("never".into()),
        run,
        lost,
        source.instance.clone().unwrap_or_else(|| "not pinned".to_owned()),
    ]
}

fn notes(source: &SourceStatusJson) -> Vec<String> {
    let (name, mut notes) = (&source.name, Vec::new());
    if let Some(superseded) = &source.supersedes {
        print(&format!(
            "The word of {name} counts before that of {superseded}, by `headcount move --switch`."
        ));
    }
    if let Some(at) = &source.retired_at {
        notes.push(format!(
            "Source {name} is retired since {at}: it takes no deliveries and is not read; its accounts stay."
        ));
    }
    if let Some(waits_for) = &source.waits_for {
        let failure = waits_for.error.as_ref().map(|error| format!(", and that fails: {error}"));
        notes.push(format!(
            "Deliveries of {name} wait for {}{}.",
            waits_for.what,
            failure.unwrap_or_default()
        ));
    }
    if let Some(alarm) = &source.silence {
        notes.push(format!("ALARM: source {name} is silent: {alarm}."));
    }
    if let Some(problem) = source.outbox.as_ref().and_then(|outbox| outbox.problem.as_ref()) {
        notes.push(format!("ALARM: the outbox of {name}: {problem}."));
    }
    if let Some(until) = &source.blocked_until {
        let reason = source.blocked_reason.clone().unwrap_or_default();
        notes.push(format!("Source {name} is not asked until {until}: {reason}."));
    }
    if let Some(run) = source.last_resync.as_ref().filter(|run| run.status == "failed") {
        notes.push(format!("The last full run of {name} failed: {}.", run.error.clone().unwrap_or_default()));
    }
    if source.to_be_read_again > 0 {
        notes.push(format!("{} accounts of {name} are to be read again.", source.to_be_read_again));
    }
    if source.awaiting_address > 0 {
        notes.push(format!(
            "{} accounts of {name} wait without a user, because their address is another user's and not verified for them \
             (`headcount users waiting`).",
            source.awaiting_address
        ));
    }
    if source.colliding > 0 {
        notes.push(format!(
            "{} users of {name} have the address of another user: `headcount users waiting` lists them; `users link` makes two \
             users one, `users separate` leaves them two.",
            source.colliding
        ));
    }
    notes
}
