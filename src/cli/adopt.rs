//! `headcount adopt`

use super::output::{confirm, print, print_json, table, visible};
use super::resync::{Bar, check_readable};
use super::{Context, DONE, FAILED};
use crate::config::ConfigError;
use crate::core::link::LinkRule;
use crate::reconcile::undo_adoption;
use crate::resync::Adoption;
use crate::source::Source;
use crate::store::Store;
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Ambiguous accounts that are named.
const AMBIGUOUS_SHOWN_MAX: usize = 20;
const AMBIGUOUS_NAMED_MAX: usize = 1_000;

/// Links the rows of a table that was there before headcount to a source's accounts
///
/// `[users]` in headcount.toml names the table. Without --apply this is a report: it reads the whole source, and changes
/// no row. With it the rows are linked, and columns of theirs that are empty are filled; what they hold stays until
/// `[users.owners]` declares whose a column is. It may be interrupted and called again. --undo takes it back, until
/// something else has changed one of the linked users.
#[derive(Args)]
pub struct Adopt {
    /// Which source, such as `clerk`
    source: String,
    /// A row is its account's whose id this column holds
    #[arg(long, value_name = "COLUMN", conflicts_with = "match_by")]
    provider_id_column: Option<String>,
    /// A row is its account's by the id that the provider was told, or by an address that is verified at the source,
    /// and unique here
    #[arg(long = "match", value_enum, value_name = "RULE")]
    match_by: Option<MatchBy>,
    /// Links them
    #[arg(long)]
    apply: bool,
    /// Unties what was linked, and puts back what was filled
    #[arg(long, conflicts_with_all = ["apply", "provider_id_column", "match_by"])]
    undo: bool,
    /// Does not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum MatchBy {
    ExternalId,
    VerifiedEmail,
}

pub async fn run(command: Adopt, context: Context) -> anyhow::Result<u8> {
    let source = context.source(&command.source)?.clone();
    if context.config.users.adopted.is_none() {
        return Err(ConfigError(
            "adopt links the rows of a table of yours, and headcount.toml names none; write `[users]` with table = \"users\", and \
             under `[users.columns]` what lies where, such as email = \"email\""
                .into(),
        )
        .into());
    }
    let store = context.migrated_store().await?;
    let code = match command.undo {
        true => undo(&store, &source, &command, &context).await?,
        false => adopt(&store, &source, &command, &context).await?,
    };
    store.close().await;
    Ok(code)
}

fn rule(store: &Store, command: &Adopt) -> Result<LinkRule, ConfigError> {
    match (&command.provider_id_column, command.match_by) {
        (Some(column), _) if !store.users_table().has_column(column) => Err(ConfigError(format!(
            "--provider-id-column is `{column}`, which is no column of {}; the nearest is `{}`",
            store.users_table().display(),
            store.users_table().nearest_column(column)
        ))),
        (Some(column), _) => Ok(LinkRule::Column(column.clone())),
        (None, Some(MatchBy::ExternalId)) => Ok(LinkRule::ExternalId),
        (None, Some(MatchBy::VerifiedEmail)) if store.users_table().ids_by_email().is_none() => Err(ConfigError(
            "--match verified-email needs to know where addresses are: email = \"…\" under [users.columns]".into(),
        )),
        (None, Some(MatchBy::VerifiedEmail)) => Ok(LinkRule::VerifiedEmail),
        (None, None) => Err(ConfigError(
            "say how a row is known to be an account's: --provider-id-column COLUMN where your table has the provider's id, \
             --match external-id where the provider has yours, else --match verified-email"
                .into(),
        )),
    }
}

async fn adopt(store: &Store, source: &Source, command: &Adopt, context: &Context) -> anyhow::Result<u8> {
    let rule = rule(store, command)?;
    check_readable(source)?;
    let stop = CancellationToken::new();
    super::serve::stop_on_signals(stop.clone())?;
    let bar = Bar::new(context);
    let resync = context.resync(store, source, bar.watch(), stop)?;
    let adoption = resync.adopt(&rule, command.apply).await;
    bar.finish();
    let adoption = adoption?;
    match context.json {
        true => print_json(&to_json(source, &rule, &adoption, command.apply)),
        false => show(store, source, &adoption, command),
    }
    Ok(if adoption.refused.is_empty() { DONE } else { FAILED })
}

fn to_json(source: &Source, rule: &LinkRule, adoption: &Adoption, applied: bool) -> serde_json::Value {
    let matching = &adoption.matching;
    let columns: serde_json::Map<String, serde_json::Value> = matching
        .columns
        .iter()
        .map(|(name, effect)| {
            let effect = json!({"filled": effect.filled, "kept": effect.kept, "replaced": effect.replaced});
            (name.clone(), effect)
        })
        .collect();
    let ambiguous: Vec<_> = matching
        .ambiguous
        .iter()
        .take(AMBIGUOUS_NAMED_MAX)
        .map(|(id, why)| json!({"provider_id": id, "reason": why}))
        .collect();
    json!({
        "source": source.name,
        "match": rule.name(),
        "applied": applied,
        "rows": adoption.rows,
        "accounts": matching.accounts,
        "linked_before": matching.linked_before,
        "linked": if applied { adoption.linked } else { matching.plan.len() as u64 },
        "unmatched_here": unmatched_here(adoption, applied),
        "unmatched_there": matching.unmatched.len(),
        "rowless": matching.rowless,
        "waiting": matching.waiting,
        "ambiguous": matching.ambiguous.len(),
        "ambiguous_accounts": ambiguous,
        "columns": columns,
        "held_back": adoption.partial,
        "refused": adoption.refused.len(),
        "requests": adoption.requests,
        "apply_requests": adoption.apply_requests,
        "apply_seconds": adoption.apply_seconds,
    })
}

/// Rows that no account fits.
fn unmatched_here(adoption: &Adoption, applied: bool) -> u64 {
    let planned = if applied { 0 } else { adoption.matching.plan.len() as u64 };
    adoption.unlinked.saturating_sub(planned)
}

fn show(store: &Store, source: &Source, adoption: &Adoption, command: &Adopt) {
    let matching = &adoption.matching;
    let (linked, word) = match command.apply {
        true => (adoption.linked, "linked now"),
        false => (matching.plan.len() as u64, "would be linked"),
    };
    let unmatched_here = unmatched_here(adoption, command.apply);
    print(&format!(
        "{} has {} rows, {} has {} accounts.",
        store.users_table().display(),
        adoption.rows,
        source.name,
        matching.accounts
    ));
    let lines = [
        (linked, format!("rows {word}")),
        (matching.linked_before, "accounts were linked before".to_owned()),
        (unmatched_here, "rows fit no account: they stay yours, and headcount never touches them".to_owned()),
        (
            matching.unmatched.len() as u64 - matching.rowless,
            "accounts fit no row: a resync makes users for them".to_owned(),
        ),
        (
            matching.rowless,
            "accounts fit no row and lack what your table needs: they wait until the application supplies it"
                .to_owned(),
        ),
        (matching.waiting, "accounts are known and have no row (`headcount status`)".to_owned()),
        (matching.ambiguous.len() as u64, "accounts are ambiguous: nobody is linked by guess".to_owned()),
        (
            adoption.partial,
            "rows had values held back by a constraint of yours (`headcount status`)".to_owned(),
        ),
        (adoption.refused.len() as u64, "accounts were refused by the database".to_owned()),
    ];
    for (n, (count, what)) in lines.iter().enumerate() {
        // Who is linked is told in any case.
        if n == 0 || *count > 0 {
            print(&format!("{count:>8} {what}"));
        }
    }
    if !matching.ambiguous.is_empty() {
        let shown = matching.ambiguous.iter().take(AMBIGUOUS_SHOWN_MAX);
        print(&table(
            &["ambiguous", "because"],
            shown.map(|(id, why)| vec![visible(id), (*why).to_owned()]).collect(),
        ));
    }
    if !matching.columns.is_empty() {
        let row = |(name, effect): (&String, &crate::resync::ColumnEffect)| {
            let place = store.users_table().place_of(name);
            vec![place, effect.filled.to_string(), effect.kept.to_string(), effect.replaced.to_string()]
        };
        let head = ["column", "empty, to be filled", "differs, stays", "differs, to be replaced"];
        print(&table(&head, matching.columns.iter().map(row).collect()));
    }
    for note in store.users_table().notes() {
        print(&format!("Note: {note}."));
    }
    match command.apply {
        true => print(&format!(
            "Done with {} requests. `headcount resync {} --dry-run` shows what is left; `headcount adopt {} --undo` takes it back.",
            adoption.requests, source.name, source.name
        )),
        false => print(&format!(
            "Nothing was changed ({} requests). The same with --apply links them: {} requests, at least {:.0} s.",
            adoption.requests, adoption.apply_requests, adoption.apply_seconds
        )),
    }
}

async fn undo(store: &Store, source: &Source, command: &Adopt, context: &Context) -> anyhow::Result<u8> {
    let (adopted, changed) = store.count_adopted(&source.name).await?;
    anyhow::ensure!(
        changed == 0,
        "{changed} of the {adopted} users that were linked have changed since, by deliveries or a resync: undoing would lose \
         that. `headcount migrate --uninstall` is the way out now"
    );
    confirm(&format!("Untie {adopted} rows from accounts of {}?", source.name), command.yes)?;
    let undone = undo_adoption(store, source, &context.config.sources).await?;
    if context.json {
        print_json(&json!({
            "source": source.name, "untied": undone.untied, "restored": undone.restored, "left": undone.left,
            "busy": undone.busy,
        }));
    } else {
        print(&format!(
            "{} rows are nobody's again; {} columns hold what they held before{}.",
            undone.untied,
            undone.restored,
            match undone.left {
                0 => String::new(),
                left => format!(", and {left} were changed since and stay"),
            }
        ));
    }
    anyhow::ensure!(undone.busy == 0, "{} accounts were busy; call it again", undone.busy);
    Ok(DONE)
}
