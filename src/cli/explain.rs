//! `headcount explain`

use super::output::{json_of, print, print_json, visible};
use super::users::one_user;
use super::{Context, DONE};
use crate::view::{ChangeJson, ColumnWord, Explanation, SourceWord, explain};
use anstyle::{AnsiColor, Style};
use anyhow::bail;
use clap::Args;
use serde_json::Value;
use std::io::IsTerminal;

/// Entries of the history that are shown to a person.
const HISTORY_SHOWN_MAX: usize = 20;

/// Why a user is as it is: for each column whose word it is, and which delivery, read or call wrote it, and when
///
/// For the state, what is missing and since when; values that are held back, accounts and how they were linked, deliveries
/// that are still pending, and the history.
#[derive(Args)]
pub struct Explain {
    /// Its id, provider id, e-mail address, username or phone number
    user: String,
}

pub async fn run(command: Explain, context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let user = one_user(&store, &command.user).await?;
    let explanation = explain(&store, &context.config.sources, &user).await?;
    store.close().await;
    let Some(explanation) = explanation else { bail!("the user's row has just been removed") };
    match context.json {
        true => print_json(&json_of(&explanation)),
        false => Paint::new().show(&explanation),
    }
    Ok(DONE)
}

/// Colours, on a terminal that wants them.
struct Paint {
    on: bool,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

impl Paint {
    fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { on: wanted && std::io::stdout().is_terminal() }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        let text = visible(text);
        if self.on { format!("{style}{text}{style:#}") } else { text }
    }

    /// As wide as it looks: colours take no room.
    fn cell(&self, style: Style, text: &str, width: usize) -> String {
        let shown = visible(text);
        let gap = width.saturating_sub(shown.chars().count());
        format!("{}{}", self.paint(style, text), " ".repeat(gap))
    }

    fn title(&self, text: &str) {
        print(&format!("\n{}", self.paint(BOLD, text)));
    }

    fn show(&self, explanation: &Explanation) {
        let (user, state) = (&explanation.user, &explanation.state);
        let name = user.display_name.as_ref().or(user.username.as_ref()).or(user.email.as_ref());
        let style = match state.account_state.as_str() {
            "active" => GOOD,
            "suspended" | "deleted" => BAD,
            _ => ODD,
        };
        let name = name.map_or("(without a name)", String::as_str);
        print(&format!("{}  {}", self.paint(BOLD, name), self.paint(DIM, &user.id)));
        let since = state.since.as_deref().map_or(String::new(), |since| format!(" since {since}"));
        print(&format!("{}{since}: {}", self.paint(style, &state.account_state), visible(&state.because)));
        self.columns(&explanation.columns);
        self.accounts(explanation);
        if !explanation.held_values.is_empty() {
            self.title("Held back by the application's own constraints");
            for held in &explanation.held_values {
                let value = held.value.as_deref().unwrap_or("(nothing)");
                let since = held.since.as_deref().unwrap_or_default();
                print(&format!(
                    "  {} {}  since {since}: {}",
                    self.cell(ODD, &held.column, 16),
                    visible(value),
                    visible(&held.reason)
                ));
            }
        }
        if !explanation.pending.is_empty() {
            self.title("Deliveries that are not applied");
            for event in &explanation.pending {
                let reason = event.last_error.as_deref().unwrap_or("it waits for its turn");
                print(&format!(
                    "  {} {} {} received {}: {}",
                    self.cell(ODD, &event.status, 8),
                    event.seq,
                    visible(&event.event_type),
                    event.received_at,
                    visible(reason)
                ));
            }
        }
        self.history(&explanation.history);
    }

    fn columns(&self, columns: &[ColumnWord]) {
        self.title("Columns");
        let longest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let names = longest(&mut columns.iter().map(|column| column.column.chars().count()));
        let value = |column: &ColumnWord| column.value.clone().unwrap_or_else(|| "–".to_owned());
        let values =
            longest(&mut columns.iter().map(|column| visible(&value(column)).chars().count())).min(44);
        for column in columns {
            let style = match column.word {
                "drift" | "held-back" => ODD,
                "nobody" => DIM,
                _ => Style::new(),
            };
            print(&format!(
                "  {}  {}  {}",
                self.cell(BOLD, &column.column, names),
                self.cell(style, &value(column), values),
                self.paint(if style == Style::new() { DIM } else { style }, &origin(column))
            ));
        }
    }

    fn accounts(&self, explanation: &Explanation) {
        self.title("Accounts");
        for account in &explanation.accounts {
            let style = if account.state == "present" { GOOD } else { BAD };
            let mut said =
                vec![format!("first seen {}", account.first_seen_at.as_deref().unwrap_or("never"))];
            match &account.synced_at {
                Some(at) => said.push(format!("last applied {at}")),
                None => said.push("nothing applied yet".to_owned()),
            }
            if let (Some(by), at) = (&account.linked_by, &account.linked_at) {
                said.push(format!("linked by {by} {}", at.as_deref().unwrap_or_default()));
            }
            if let Some(other) = &account.collides_with {
                said.push(format!("collides over its address with user {other}, who had it first (`users link`, `users separate`)"));
            }
            if let (Some(by), Some(at)) = (&account.deleted_by, &account.deleted_at) {
                said.push(format!("deleted {at} ({by})"));
            }
            print(&format!(
                "  {} {}  {}  {}",
                self.paint(BOLD, &account.source),
                visible(&account.provider_id),
                self.paint(style, &account.state),
                self.paint(DIM, &said.join(", "))
            ));
        }
        if explanation.accounts.is_empty() {
            print("  none: the row is the application's own");
        }
    }

    fn history(&self, history: &[ChangeJson]) {
        self.title("History, the newest first");
        for change in history.iter().take(HISTORY_SHOWN_MAX) {
            let style = match change.kind.as_str() {
                "created" | "revived" => GOOD,
                "deleted" | "erased" => BAD,
                _ => Style::new(),
            };
            print(&format!(
                "  {} {} {}  {}",
                self.paint(DIM, &change.changed_at),
                self.cell(style, &change.kind, 8),
                visible(&change.changed.join(", ")),
                self.paint(DIM, &cause(&change.cause))
            ));
        }
        if history.len() > HISTORY_SHOWN_MAX {
            print(&format!("  … and {} more; --json has them all", history.len() - HISTORY_SHOWN_MAX));
        }
        if history.is_empty() {
            print("  nothing has been told of it");
        }
    }
}

/// Where a value comes from, in words, and what the database has made of it.
fn origin(column: &ColumnWord) -> String {
    match &column.sent {
        Some(sent) => {
            let sent = sent.as_deref().unwrap_or("nothing");
            format!("{}; headcount sent {sent}, and the database stored this instead", origin_as_sent(column))
        }
        None => origin_as_sent(column),
    }
}

fn origin_as_sent(column: &ColumnWord) -> String {
    let wrote = column.written.as_ref();
    let by = wrote.map(|change| format!("{}, {}", cause(&change.cause), change.changed_at));
    let by = by.unwrap_or_else(|| "no entry in the history".to_owned());
    let says = match &column.provider_says {
        Some(Some(value)) => format!("; the provider says {value}"),
        Some(None) => "; the provider says nothing".to_owned(),
        None => String::new(),
    };
    let whose = column.source.as_deref().filter(|_| !column.sources_say.is_empty());
    match column.word {
        "provider" => format!(
            "{}: {by}{}",
            whose.map_or("the provider's".to_owned(), |source| format!("{source}'s")),
            others(column)
        ),
        "call" => format!("set by a call and kept: {by}{says}"),
        "application" => format!("the application's own ({}){says}", column.owner),
        "supplied" => {
            "supplied by the application, for the provider has nothing; its first word replaces it".to_owned()
        }
        "hint" => format!("hinted by the application, until the provider speaks: {by}"),
        "kept" => format!("held when the row was linked, and nobody has declared its owner{says}"),
        "drift" => {
            format!("written here although it is the provider's; the next full resync repairs it{says}")
        }
        "held-back" => format!("the provider's value does not fit{says}"),
        _ => "nobody has said anything".to_owned(),
    }
}

/// What the other sources say, where that is something else.
fn others(column: &ColumnWord) -> String {
    let other = |word: &&SourceWord| word.value != column.value;
    let said = column.sources_say.iter().filter(other).map(|word| match &word.value {
        Some(value) => format!("; {} says {value}", word.source),
        None => format!("; {} says nothing", word.source),
    });
    said.collect()
}

/// The delivery, read or call behind a change, in words.
fn cause(cause: &Value) -> String {
    let text = |at: &str| cause.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = cause.as_object().and_then(|object| object.keys().next().cloned()).unwrap_or_default();
    match kind.as_str() {
        "delivery" => format!(
            "delivery {} of {} ({})",
            text("/delivery/message_id"),
            text("/delivery/source"),
            text("/delivery/event_type")
        ),
        "read" => match text("/read/run") {
            run if run.is_empty() => format!("read of {} ({})", text("/read/source"), text("/read/by")),
            run => format!("read of {} ({}, run {run})", text("/read/source"), text("/read/by")),
        },
        "call" => match text("/call/reason") {
            reason if reason.is_empty() => format!("{} by the {}", text("/call/what"), text("/call/by")),
            reason => format!("{} by the {}: {reason}", text("/call/what"), text("/call/by")),
        },
        "retry" => "a value that was held back, and fits now".to_owned(),
        "expiry" => "a ban that ended when its source had said".to_owned(),
        "undo" => "an adoption that was undone".to_owned(),
        _ => "unknown".to_owned(),
    }
}
