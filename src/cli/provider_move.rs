//! `headcount move`

use super::move_page::page;
use super::move_report::{report_json, show, switch_json};
use super::output::{agree, print, print_json, table, visible};
use super::{Context, DONE, FOUND};
use crate::core::words::{SwitchDirection, SwitchStatus};
use crate::provider_move::{Activity, ProviderMove, Rehearsal, SwitchProgress};
use crate::source::Source;
use crate::store::{RecordedSwitch, Store};
use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The move from one provider to another, with both live meanwhile
///
/// Without another option a report, which writes nothing: who is where, who would collide, what differs, and what is left to do.
///
/// Both are configured as sources. Until the switch the word of --from counts first, as [users.authority] has it; after it that of
/// --to does, in every column that has no order of its own there. docs/move.md tells of the weeks around it.
///
/// Exit code 3 where a switch has come to its end and the database has refused some rows.
#[derive(Args)]
pub struct MoveCommand {
    /// The source that the application leaves, such as `clerk`
    #[arg(long, value_name = "SOURCE")]
    from: String,
    /// The source that it moves to, such as `better-auth`
    #[arg(long, value_name = "SOURCE")]
    to: String,
    /// Tells what --switch would write, by column, and writes nothing; with --back what that would write
    #[arg(long, conflicts_with = "switch")]
    rehearse: bool,
    /// Lets the word of --to count first, and rewrites everybody who has an account at both
    ///
    /// It counts at once in every process; rows follow in slices. Where it is interrupted the same command goes on.
    #[arg(long, conflicts_with = "back")]
    switch: bool,
    /// Takes --switch back, in the same way
    #[arg(long)]
    back: bool,
    /// Writes the report as one page that a team reads together
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rehearse", "switch", "back"])]
    html: Option<PathBuf>,
    /// Does not ask
    #[arg(long)]
    yes: bool,
}

pub async fn run(command: MoveCommand, context: Context) -> anyhow::Result<u8> {
    let (from, to) = (context.source(&command.from)?.clone(), context.source(&command.to)?.clone());
    let store = context.existing_store().await?;
    let sources = Arc::new(context.config.sources.clone());
    let provider_move = ProviderMove::new(&store, &sources, &context.clock, &from, &to)?;
    let direction = if command.back { SwitchDirection::Back } else { SwitchDirection::Switch };
    let code = if command.rehearse {
        let rehearsal = provider_move.rehearse(direction).await?;
        match context.json {
            true => print_json(&rehearsal_json(&rehearsal)),
            false => show_rehearsal(&rehearsal, &command, direction),
        }
        DONE
    } else if command.switch || command.back {
        agree_to_switch(&command, direction)?;
        switch(&provider_move, &context, direction).await?
    } else {
        let report = provider_move.report(activity(&context, &store, [&from, &to]).await?).await?;
        if let Some(file) = &command.html {
            let at = store.now().await?.to_string();
            std::fs::write(file, page(&report, &at))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        match (context.json, &command.html) {
            (true, _) => print_json(&report_json(&report)),
            (false, Some(file)) => print(&format!("The report is in {}.", file.display())),
            (false, None) => show(&report),
        }
        DONE
    };
    store.close().await;
    Ok(code)
}

/// What the sources say of their people's activity. The report does without what cannot be told.
async fn activity(context: &Context, store: &Store, sources: [&Source; 2]) -> anyhow::Result<Vec<Activity>> {
    let now = store.now().await?;
    let mut all = Vec::new();
    for source in sources {
        if !source.is_readable() {
            all.push(Activity::unknown(&source.name, "it is not read"));
            continue;
        }
        let resync = context.resync(store, source, Arc::new(|_| {}), CancellationToken::new())?;
        all.push(Activity::of(&source.name, &resync, now).await);
    }
    Ok(all)
}

fn agree_to_switch(command: &MoveCommand, direction: SwitchDirection) -> anyhow::Result<()> {
    let MoveCommand { from, to, yes, .. } = command;
    if *yes {
        return Ok(());
    }
    let statement = match direction {
        SwitchDirection::Switch => {
            format!("The word of {to} will count before that of {from}; --back takes that back.")
        }
        SwitchDirection::Back => format!("The word of {from} will count before that of {to} again."),
    };
    agree(&statement, "Do it?", "Say --yes to do it")
}

async fn switch(
    provider_move: &ProviderMove,
    context: &Context,
    direction: SwitchDirection,
) -> anyhow::Result<u8> {
    let stop = CancellationToken::new();
    super::serve::stop_on_signals(stop.clone())?;
    let bar = (!context.json && std::io::stderr().is_terminal()).then(|| {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    let watch = |progress: SwitchProgress| {
        if let Some(bar) = &bar {
            bar.set_message(format!("{} users rewritten", progress.counts.updated));
            bar.set_length(progress.of);
            bar.set_position(progress.counts.seen.min(progress.of));
        }
    };
    let switched = provider_move.switch(direction, &watch, &stop).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let recorded = switched?;
    match context.json {
        true => print_json(&switch_json(&recorded)),
        false => print(&sentence(&recorded)),
    }
    Ok(if recorded.status == SwitchStatus::Succeeded { DONE } else { FOUND })
}

fn sentence(recorded: &RecordedSwitch) -> String {
    let counts = recorded.counts;
    let (first, second) = match recorded.switch.direction {
        SwitchDirection::Switch => (&recorded.switch.to, &recorded.switch.from),
        SwitchDirection::Back => (&recorded.switch.from, &recorded.switch.to),
    };
    let mut text = format!(
        "The word of {first} counts before that of {second}. Of {} users with accounts at both, {} were rewritten.",
        counts.seen, counts.updated
    );
    if counts.partial > 0 {
        text.push_str(&format!(
            " Of {} of them the database does not take some value; `headcount explain USER` says which.",
            counts.partial
        ));
    }
    if recorded.status == SwitchStatus::Partial {
        text.push_str(&format!(
            "\n{} rows are refused by the database, or were held by another transaction throughout: run the same command again.",
            counts.refused
        ));
    }
    text
}

fn rehearsal_json(rehearsal: &Rehearsal) -> Value {
    let columns = rehearsal.columns.iter().map(|(column, rewrite)| {
        let examples = rewrite.examples.iter();
        let examples: Vec<Value> = examples
            .map(|example| json!({"user_id": example.user_id, "before": example.before, "after": example.after}))
            .collect();
        json!({
            "column": column,
            "users": rewrite.users,
            "emptied": rewrite.emptied,
            "only_case": rewrite.by_case,
            "held": rewrite.held,
            "examples": examples,
        })
    });
    let refused = rehearsal.refused.iter();
    json!({
        "seen": rehearsal.counts.seen,
        "updated": rehearsal.counts.updated,
        "partial": rehearsal.counts.partial,
        "refused": rehearsal.counts.refused,
        "busy": rehearsal.busy,
        "columns": columns.collect::<Vec<_>>(),
        "refusals": refused.map(|(id, reason)| json!({"provider_id": id, "reason": reason})).collect::<Vec<_>>(),
    })
}

fn show_rehearsal(rehearsal: &Rehearsal, command: &MoveCommand, direction: SwitchDirection) {
    let counts = rehearsal.counts;
    let option = match direction {
        SwitchDirection::Switch => "--switch",
        SwitchDirection::Back => "--back",
    };
    print(&format!(
        "`headcount move --from {} --to {} {option}` would rewrite {} of the {} users who have an account at both. Nothing was \
         written.",
        command.from, command.to, counts.updated, counts.seen
    ));
    let text = |cell: &Option<String>| cell.as_deref().map_or_else(|| "nothing".to_owned(), visible);
    let rows = rehearsal.columns.iter().map(|(column, rewrite)| {
        let example = rewrite.examples.first();
        let example = example.map(|example| format!("{} → {}", text(&example.before), text(&example.after)));
        vec![
            column.clone(),
            rewrite.users.to_string(),
            rewrite.by_case.to_string(),
            rewrite.emptied.to_string(),
            rewrite.held.to_string(),
            example.unwrap_or_default(),
        ]
    });
    if !rehearsal.columns.is_empty() {
        let head = ["column", "users", "only capitals", "emptied", "not taken", "for example"];
        print(&format!("\n{}", table(&head, rows.collect())));
    }
    for (id, reason) in &rehearsal.refused {
        print(&format!("{} stays as it is: {}", visible(id), visible(reason)));
    }
    if rehearsal.busy > 0 {
        print(&format!("{} users were held by another transaction and left out.", rehearsal.busy));
    }
}
