//! `headcount migrate`

use super::output::{print, print_json};
use super::{Context, DONE};
use crate::store::Store;
use clap::Args;
use serde_json::json;

/// Creates or upgrades the tables
///
/// `serve` does this by itself unless HEADCOUNT_MIGRATE=off. Where the application's connection goes through a pooler
/// or lacks the rights, HEADCOUNT_MIGRATE_DATABASE_URL names a direct one that has them. A `users` table that headcount
/// did not make is refused.
#[derive(Args)]
pub struct Migrate {
    /// Shows the SQL that would run, and runs nothing
    #[arg(long)]
    plan: bool,
}

pub async fn run(command: Migrate, context: Context) -> anyhow::Result<u8> {
    let config = &context.config;
    let store = Store::open(config.migrate_database.as_ref().unwrap_or(&config.database)).await?;
    let required = config.required_fields.as_deref();
    let steps = match command.plan {
        true => store.migration_plan(required).await?,
        false => store.migrate(required).await?.steps,
    };
    store.close().await;
    if context.json {
        let steps: Vec<_> = steps.iter().map(|step| json!({"title": step.title, "sql": step.sql})).collect();
        print_json(&json!({"planned": command.plan, "steps": steps}));
        return Ok(DONE);
    }
    if steps.is_empty() {
        print("The tables are current: nothing to do.");
    }
    for step in steps {
        match command.plan {
            true => print(&format!("-- {}\n{};\n", step.title, step.sql)),
            false => print(&format!("done: {}", step.title)),
        }
    }
    Ok(DONE)
}
