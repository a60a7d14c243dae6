//! `headcount source`

use super::output::{agree, confirm, print, print_json, table};
use super::{Context, DONE};
use crate::resync::{InstallChange, NO_WAL, outbox_installation, outbox_state};
use crate::source::Source;
use crate::source::signature::{Scheme, SigningKey};
use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Sources: which there are, which instance each is pinned to, and which are retired
#[derive(Subcommand)]
pub enum SourceCommand {
    /// Lists the sources that are configured, and those that once were and have left accounts
    List,
    /// Pins a source to the instance that its API key belongs to now
    ///
    /// A source is pinned by its first read. After that, reads from another instance fail, and deliveries of another
    /// one are ignored, so that a development key cannot fill or empty a production table. Where a provider does not say
    /// which instance a key is of (WorkOS), one of the accounts that are known must be there; after this, those that
    /// come from now on.
    Repin {
        /// Its name in the list
        source: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Retires a source: it takes no deliveries, is not read, raises no alarm and deletes nobody
    ///
    /// Its accounts stay. Of a user that has accounts elsewhere they say what nobody else says. Every process that serves
    /// knows of it within a second.
    Retire {
        /// Its name in the list
        source: String,
        /// Takes the source up again
        #[arg(long)]
        undo: bool,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Prints the SQL that a provider's own database needs: Supabase's webhook, Better Auth's outbox
    ///
    /// Supabase: a trigger on auth.users that posts what changes to --url, without the hash of the password and without
    /// tokens: those never leave the database. Run it in the project's SQL editor.
    ///
    /// Better Auth: triggers on its users table, in the database of BETTER_AUTH_DATABASE_URL, that note whose row has
    /// changed. A worker that serves takes the notes and reads those rows.
    Install {
        /// Its name in the list
        source: String,
        /// Where this worker is reached from there, such as https://headcount.example.com (Supabase)
        #[arg(long, value_name = "URL")]
        url: Option<Url>,
        /// Prints the configured secret instead of a word in its place (Supabase)
        #[arg(long)]
        with_secret: bool,
        /// Carries it out instead of printing it (Better Auth)
        #[arg(long, conflicts_with = "uninstall")]
        apply: bool,
        /// Takes it away again, with the notes that wait (Better Auth)
        #[arg(long)]
        uninstall: bool,
    },
}

pub async fn run(command: SourceCommand, context: Context) -> anyhow::Result<u8> {
    match command {
        SourceCommand::List => list(&context).await,
        SourceCommand::Repin { source, yes } => repin(&context, &source, yes).await,
        SourceCommand::Retire { source, undo, yes } => retire(&context, &source, undo, yes).await,
        SourceCommand::Install { source, url, with_secret, apply, uninstall } => {
            let change = match (apply, uninstall) {
                (_, true) => InstallChange::Remove,
                (true, false) => InstallChange::Apply,
                (false, false) => InstallChange::Print,
            };
            install(&context, &source, url.as_ref(), with_secret, change).await
        }
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
            "configured": true,
            "takes_deliveries": source.takes_deliveries() && row.retired_at.is_none(),
            "has_api_key": source.is_readable(),
            "accounts": store.count_accounts(&source.name).await?,
            "instance": source.instance.clone().or(row.instance_id),
            "pinned_at": row.pinned_at,
            "retired_at": row.retired_at,
        }));
    }
    let names = context.config.source_names();
    for (name, kind) in store.sources_ever().await?.into_iter().filter(|(name, _)| !names.contains(name)) {
        let accounts = store.count_accounts(&name).await?;
        if accounts == 0 {
            continue;
        }
        let row = store.source(&name).await?;
        sources.push(json!({
            "name": name, "kind": kind, "configured": false, "takes_deliveries": false, "has_api_key": false,
            "accounts": accounts, "instance": row.instance_id, "pinned_at": row.pinned_at,
            "retired_at": row.retired_at,
        }));
    }
    store.close().await;
    if context.json {
        print_json(&json!({"sources": sources}));
        return Ok(DONE);
    }
    let text = |value: &Value| match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let columns = [
        "name",
        "kind",
        "configured",
        "takes_deliveries",
        "has_api_key",
        "accounts",
        "instance",
        "pinned_at",
        "retired_at",
    ];
    let rows = sources.iter().map(|source| columns.iter().map(|column| text(&source[*column])).collect());
    print(&table(
        &[
            "source",
            "kind",
            "configured",
            "takes deliveries",
            "has an API key",
            "accounts",
            "instance",
            "pinned",
            "retired",
        ],
        rows.collect(),
    ));
    Ok(DONE)
}

async fn repin(context: &Context, name: &str, yes: bool) -> anyhow::Result<u8> {
    let source = context.source(name)?.clone();
    let store = context.existing_store().await?;
    let before = store.source(name).await?.instance_id;
    let now = match source.is_readable() {
        true => {
            let watch = Arc::new(|_| {});
            context.resync(&store, &source, watch, CancellationToken::new())?.instance().await?
        }
        // Without a key: to whichever instance the first read belongs to.
        false => None,
    };
    let said = |instance: &Option<String>| instance.clone().unwrap_or_else(|| "none".to_owned());
    // Where nothing tells the instance, what counts is which accounts come from now on.
    let is_moved = before != now || (source.is_readable() && now.is_none());
    if is_moved {
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

async fn retire(context: &Context, name: &str, undo: bool, yes: bool) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let known = store.sources_ever().await?.into_iter().any(|(known, _)| known == name);
    if !known {
        // Configured, or an error with the nearest name.
        context.source(name)?;
    }
    let was_retired = store.source(name).await?.retired_at.is_some();
    if was_retired == undo {
        let accounts = store.count_accounts(name).await?;
        let statement = match undo {
            true => format!("{name} will take deliveries and be read again."),
            false => format!(
                "The deliveries of {name} will be refused and it will not be read; its {accounts} accounts stay. --undo takes it \
                 up again."
            ),
        };
        if !yes {
            agree(&statement, "Do it?", "Say --yes to do it")?;
        }
        store.retire(name, !undo).await?;
    }
    let retired_at = store.source(name).await?.retired_at;
    store.close().await;
    match (context.json, &retired_at) {
        (true, _) => print_json(&json!({"source": name, "retired_at": retired_at})),
        (false, Some(at)) => print(&format!("{name} is retired since {at}. Its configuration may go.")),
        (false, None) => print(&format!("{name} is not retired.")),
    }
    Ok(DONE)
}

async fn install(
    context: &Context,
    name: &str,
    url: Option<&Url>,
    with_secret: bool,
    change: InstallChange,
) -> anyhow::Result<u8> {
    let source = context.source(name)?;
    if source.provider.table().is_some() {
        return install_outbox(context, source, change).await;
    }
    let of_kind = |what: &str| anyhow::anyhow!("{name} is of kind {}, {what}", source.provider.kind());
    let Some(url) = url else {
        return Err(of_kind("whose deliveries need an address: --url says where this worker is reached"));
    };
    let to = url.join(&format!("/webhooks/{name}"))?;
    let keys = source.webhook_keys.get();
    let key = keys.iter().find(|key| key.scheme == Scheme::Bearer).filter(|_| with_secret);
    let secret = key.map_or_else(|| "REPLACE_WITH_THE_WEBHOOK_SECRET".to_owned(), SigningKey::reveal);
    let sql = source.provider.installation(&to, &secret).ok_or_else(|| {
        of_kind(&format!("whose webhooks are set up in the provider's dashboard: the endpoint is {to}"))
    })?;
    if change != InstallChange::Print {
        return Err(of_kind(
            "and headcount does not reach its database: run what is printed without --apply in the project's SQL editor",
        ));
    }
    match context.json {
        true => print_json(&json!({"source": name, "endpoint": to.as_str(), "sql": sql})),
        false => print(&sql),
    }
    Ok(DONE)
}

async fn install_outbox(context: &Context, source: &Source, change: InstallChange) -> anyhow::Result<u8> {
    let name = &source.name;
    let Some(sql) = outbox_installation(source, change).await? else {
        let kind = source.provider.kind();
        bail!(
            "{name} is of kind {kind}, and its database is not known: BETTER_AUTH_DATABASE_URL says where it is"
        );
    };
    let state = outbox_state(source, None).await?;
    let needs_wal = state.is_some_and(|state| !state.is_concurrent);
    if context.json {
        print_json(&json!({
            "source": name, "sql": sql, "carried_out": change != InstallChange::Print, "needs_wal": needs_wal,
        }));
        return Ok(DONE);
    }
    match change {
        InstallChange::Print => print(sql.trim_end()),
        InstallChange::Apply => print(&format!(
            "The outbox of {name} is installed. A worker that serves takes its notes from now on; what was there before is \
             found by `headcount resync {name}`."
        )),
        InstallChange::Remove => print(&format!("The outbox of {name} is gone.")),
    }
    if needs_wal {
        print(&format!("ALARM: {NO_WAL}."));
    }
    Ok(DONE)
}
