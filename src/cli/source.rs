//! `headcount source`

use super::output::{confirm, print, print_json, table};
use super::{Context, DONE};
use clap::Subcommand;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Sources: which instance of a provider each is pinned to
#[derive(Subcommand)]
pub enum SourceCommand {
    /// Lists the sources that are configured
    List,
    /// Pins a source to the instance that its API key belongs to now
    ///
    /// A source is pinned by its first read. After that, reads from another instance fail, and deliveries of another
    /// one are ignored, so that a development key cannot fill or empty a production table.
    Repin {
        /// Its name in the list
        source: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(command: SourceCommand, context: Context) -> anyhow::Result<u8> {
    match command {
        SourceCommand::List => list(&context).await,
        SourceCommand::Repin { source, yes } => repin(&context, &source, yes).await,
    }
}

async fn list(context: &Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let mut sources: Vec<Value> = Vec::new();
    for source in &context.config.sources {
        let row = store.source(&source.name).await?;
        sources.push(json!({
            "name": source.name,
            "kind": source.provider.kind(),
            "takes_deliveries": !source.webhook_keys.is_empty(),
            "has_api_key": source.api.is_some(),
            "instance": source.instance.clone().or(row.instance_id),
            "pinned_at": row.pinned_at,
        }));
    }
    store.close().await;
    if context.json {
        print_json(&json!({"sources": sources}));
        return Ok(DONE);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let columns = ["name", "kind", "takes_deliveries", "has_api_key", "instance", "pinned_at"];
    let rows = sources.iter().map(|source| columns.iter().map(|column| text(&source[*column])).collect());
    print(&table(
        &["source", "kind", "takes deliveries", "has an API key", "instance", "pinned"],
        rows.collect(),
    ));
    Ok(DONE)
}

async fn repin(context: &Context, name: &str, yes: bool) -> anyhow::Result<u8> {
    let source = context.source(name)?.clone();
    let store = context.existing_store().await?;
    let before = store.source(name).await?.instance_id;
    let now = match source.api.is_some() {
        true => {
            let watch = Arc::new(|_| {});
            context.resync(&store, &source, watch, CancellationToken::new())?.instance().await?
        }
        // Without a key: to whichever instance the first read belongs to.
        false => None,
    };
    let said = |instance: &Option<String>| instance.clone().unwrap_or_else(|| "none".to_owned());
    if before != now {
        let question = format!("Pin {name} to instance {} instead of {}?", said(&now), said(&before));
        confirm(&question, yes)?;
        store.repin(name, now.as_deref()).await?;
    }
    store.close().await;
    match context.json {
        true => print_json(&json!({"source": name, "before": before, "instance": now})),
        false => print(&format!("{name} is pinned to {}.", said(&now))),
    }
    Ok(DONE)
}
