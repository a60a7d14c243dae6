//! `headcount events`

use super::output::{confirm, json_of, print, print_json, table, visible};
use super::{Context, DONE, FOUND};
use crate::config::ConfigError;
use crate::store::{DeliveryFilter, Selection, Store, StoredDelivery};
use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// Deliveries in the inbox: look at them, retry or discard what is stuck
#[derive(Subcommand)]
pub enum Events {
    /// Lists deliveries, the newest first; exit code 3 where it finds dead or held ones
    List(EventsList),
    /// Shows one delivery with its body
    Show {
        /// Its number in the list
        seq: i64,
    },
    /// Tries dead letters again, and lets held deletions through
    Retry(Choice),
    /// Gives dead letters and held deliveries up, bodies and all
    Discard {
        #[command(flatten)]
        choice: Choice,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct EventsList {
    #[arg(long)]
    status: Option<EventStatusArg>,
    #[arg(long)]
    source: Option<String>,
    /// Only about this account
    #[arg(long, value_name = "PROVIDER_ID")]
    user: Option<String>,
    /// Only those before this number: the next page
    #[arg(long, value_name = "SEQ")]
    before: Option<i64>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Clone, Copy, ValueEnum)]
enum EventStatusArg {
    Pending,
    Applied,
    Stale,
    Ignored,
    Held,
    Dead,
}

#[derive(Args)]
pub struct Choice {
    /// Numbers from the list
    seqs: Vec<i64>,
    /// All that are dead, or all that are held
    #[arg(long, conflicts_with = "seqs")]
    status: Option<WaitingStatusArg>,
}

#[derive(Clone, Copy, ValueEnum)]
enum WaitingStatusArg {
    Dead,
    Held,
}

pub async fn run(command: Events, context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let code = match command {
        Events::List(command) => list(&store, command, context.json).await?,
        Events::Show { seq } => show(&store, seq, context.json).await?,
        Events::Retry(choice) => {
            let count = store.retry(&choice.selection()?).await?;
            acted(context.json, "retried", count, "`serve` applies them now.")
        }
        Events::Discard { choice, yes } => {
            let selection = choice.selection()?;
            confirm("Discard these deliveries with their bodies?", yes)?;
            let count = store.discard(&selection).await?;
            acted(context.json, "discarded", count, "")
        }
    };
    store.close().await;
    Ok(code)
}

impl Choice {
    fn selection(&self) -> Result<Selection, ConfigError> {
        match self.status {
            Some(status) => Ok(Selection::Status(name(status))),
            None if self.seqs.is_empty() => Err(ConfigError(
                "say which: numbers from `headcount events list`, or --status dead or held".into(),
            )),
            None => Ok(Selection::Seqs(self.seqs.clone())),
        }
    }
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn acted(json: bool, word: &str, count: u64, then: &str) -> u8 {
    match json {
        true => print_json(&json!({ word: count })),
        false => print(&format!("{count} {word}. {then}")),
    }
    DONE
}

async fn list(store: &Store, command: EventsList, json: bool) -> anyhow::Result<u8> {
    let filter = DeliveryFilter {
        status: command.status.map(name),
        source: command.source,
        provider_id: command.user,
        beyond: command.before,
        limit: command.limit,
        ..DeliveryFilter::default()
    };
    let deliveries = store.deliveries(&filter, false).await?;
    let found = deliveries.iter().any(|delivery| matches!(delivery.status.as_str(), "dead" | "held"));
    let next =
        (deliveries.len() as i64 == command.limit).then(|| deliveries.last().map(|last| last.seq)).flatten();
    if json {
        let events: Vec<Value> = deliveries.iter().map(event_json).collect();
        print_json(&json!({"events": events, "next_before": next}));
    } else {
        print(&table(
            &["seq", "received", "source", "type", "account", "status", "reason"],
            deliveries.into_iter().map(row).collect(),
        ));
        if let Some(next) = next {
            print(&format!("There are more: --before {next}"));
        }
    }
    Ok(if found { FOUND } else { DONE })
}

fn row(delivery: StoredDelivery) -> Vec<String> {
    let reason = delivery.last_error.unwrap_or_default();
    vec![
        delivery.seq.to_string(),
        delivery.received_at,
        delivery.source,
        delivery.event_type,
        delivery.provider_id.unwrap_or_default(),
        match delivery.next_attempt_at {
            Some(at) if delivery.attempts > 0 => format!("{}, again at {at}", delivery.status),
            _ => delivery.status,
        },
        reason,
    ]
}

fn event_json(delivery: &StoredDelivery) -> Value {
    json_of(&crate::view::EventJson::from(delivery))
}

async fn show(store: &Store, seq: i64, json: bool) -> anyhow::Result<u8> {
    let Some(delivery) = store.delivery(seq).await? else {
        bail!("there is no delivery {seq}; `headcount events list` shows those that there are");
    };
    let mut event = event_json(&delivery);
    if json {
        event["body"] = json!(delivery.body);
        print_json(&event);
        return Ok(DONE);
    }
    for (name, value) in event.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), visible);
        print(&format!("{name:16} {text}"));
    }
    match delivery.body {
        Some(body) => {
            let pretty = serde_json::from_str::<Value>(&body).map_or(body, |value| format!("{value:#}"));
            print(&pretty.lines().map(visible).collect::<Vec<_>>().join("\n"));
        }
        None => print("The body is not stored: the type is not used, or its time of keeping is over."),
    }
    Ok(DONE)
}
