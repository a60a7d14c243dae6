//! `headcount record`

use super::output::{print, print_json};
use super::{Context, DONE};
use crate::replay::{Recording, record};
use crate::source::providers;
use crate::store::DeliveryFilter;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Writes deliveries from the inbox as fixtures
///
/// headcount replaces every text, number and name of a field that may say something of a person: within one recording the
/// same address becomes the same made-up address. `--raw` leaves all of it as it is stored. Either way the body is signed
/// anew with a public key, so that anybody can replay it: what was signed once had more than headcount keeps. Ignored deliveries have no body and are left out.
#[derive(Args)]
pub struct Record {
    /// The folder to write to
    #[arg(long, value_name = "FOLDER", default_value = "recorded")]
    out: PathBuf,
    /// Only of this source
    #[arg(long)]
    source: Option<String>,
    /// Only with this status: pending, applied, stale, held, dead
    #[arg(long)]
    status: Option<String>,
    /// Only about this account
    #[arg(long, value_name = "PROVIDER_ID")]
    user: Option<String>,
    /// At most so many, the oldest first
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    /// Keeps personal data as it is stored
    #[arg(long)]
    raw: bool,
}

/// The fields that providers have, and those that the configuration names.
fn known_fields(context: &Context) -> Vec<String> {
    let of_providers = providers().flat_map(|provider| provider.keeps().names());
    let named = context.config.sources.iter().flat_map(|source| source.keep.names());
    of_providers.chain(named).collect()
}

pub async fn run(command: Record, context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    let recording = Recording {
        filter: DeliveryFilter {
            source: command.source,
            status: command.status,
            provider_id: command.user,
            limit: command.limit,
            ..DeliveryFilter::default()
        },
        folder: command.out.clone(),
        raw: command.raw,
        redaction_key: context.clock.random_bytes(),
        fields: known_fields(&context),
    };
    let (written, without_body) = record(&store, &recording).await?;
    store.close().await;
    if context.json {
        print_json(&json!({"written": written, "without_body": without_body, "raw": command.raw}));
    } else {
        let folder = command.out.display();
        print(&format!("{written} fixtures in {folder}; {without_body} deliveries had no readable body."));
        if command.raw && written > 0 {
            print("They hold personal data as it came: do not commit them.");
        }
    }
    Ok(DONE)
}
