//! `headcount migrate`

use super::output::{confirm, print, print_json};
use super::{Context, DONE};
use crate::config::Config;
use crate::core::known::SuspensionRule;
use crate::store::{Step, Store};
use clap::Args;
use serde_json::json;

/// Creates or upgrades the tables
///
/// `serve` does this by itself unless HEADCOUNT_MIGRATE=off. Where the application's connection goes through a pooler
/// or lacks the rights, HEADCOUNT_MIGRATE_DATABASE_URL names a direct one that has them. A `users` table that headcount
/// did not make is refused, unless `[users]` in headcount.toml names it.
#[derive(Args)]
pub struct Migrate {
    /// Shows the SQL that would run, and runs nothing
    #[arg(long)]
    plan: bool,
    /// Gives a role of PostgreSQL the least rights that `serve` needs with HEADCOUNT_MIGRATE=off, and prints the statements
    #[arg(long, value_name = "ROLE", conflicts_with = "uninstall")]
    grants: Option<String>,
    /// Gives the application's own role the view headcount.people and the function headcount.ensure, and prints the statements
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["uninstall", "grants"])]
    app_grants: Option<String>,
    /// Takes headcount's triggers off the users table, for a migration of the application's; `headcount migrate` puts them back
    #[arg(long, conflicts_with_all = ["uninstall", "grants", "app_grants"])]
    release: bool,
    /// Removes everything of headcount's but the users table
    #[arg(long)]
    uninstall: bool,
    /// Does not ask
    #[arg(long)]
    yes: bool,
}

/// The migration since which a ban counts at every source.
const BANS_COUNT_SINCE: &str = "migration 0012";
/// Users that a note names.
const NAMED_MAX: i64 = 20;

/// Whom an upgrade is about to suspend: until then a ban counted at the source with authority alone.
pub async fn ban_note(store: &Store, config: &Config, steps: &[Step]) -> anyhow::Result<Option<String>> {
    let is_upgraded = steps.iter().any(|step| step.title.starts_with(BANS_COUNT_SINCE));
    if !is_upgraded || config.users.authority.suspension != SuspensionRule::Any {
        return Ok(None);
    }
    let banned = store.banned_beside_others(&config.source_names(), NAMED_MAX).await?;
    let living = banned.iter().filter(|user| !matches!(user.account_state.as_str(), "suspended" | "deleted"));
    let ids: Vec<&str> = living.map(|user| user.id.as_str()).collect();
    Ok((!ids.is_empty()).then(|| {
        format!(
            "a ban counts from now on at every source that is configured and not retired: users {} are suspended by the next \
             full resync, if not before. `suspension = \"authority\"` under [users] keeps the former rule",
            ids.join(", ")
        )
    }))
}

pub async fn run(command: Migrate, context: Context) -> anyhow::Result<u8> {
    let config = &context.config;
    let url = config.migrate_database.as_ref().unwrap_or(&config.database);
    let store = Store::open_on(url, &config.users).await?;
    let required = config.required_fields.as_deref();
    let steps = if command.uninstall {
        let steps = store.uninstall_plan().await?;
        if !command.plan && !steps.is_empty() {
            confirm("Remove headcount's tables, with the inbox, the history and all links?", command.yes)?;
            store.run_steps(&steps).await?;
        }
        steps
    } else if command.release {
        let steps = store.release_plan();
        if !command.plan {
            store.run_steps(&steps).await?;
        }
        steps
    } else if let Some(role) = command.grants.as_ref().or(command.app_grants.as_ref()) {
        store.check_schema().await?;
        let steps = match command.app_grants {
            Some(_) => store.app_grants(role).await?,
            None => store.grants(role).await?,
        };
        if !command.plan {
            store.run_steps(&steps).await?;
        }
        steps
    } else {
        match command.plan {
            true => store.migration_plan(required).await?,
            false => store.migrate(required).await?.steps,
        }
    };
    let mut notes = store.users_table().notes().to_vec();
    if !command.plan {
        notes.extend(ban_note(&store, config, &steps).await?);
    }
    store.close().await;
    if context.json {
        let steps: Vec<_> = steps.iter().map(|step| json!({"title": step.title, "sql": step.sql})).collect();
        print_json(&json!({"planned": command.plan, "steps": steps, "notes": notes}));
        return Ok(DONE);
    }
    if command.grants.or(command.app_grants).is_some() {
        // As a script, so that somebody else can run it.
        steps.iter().for_each(|step| print(&format!("{};", step.sql)));
        return Ok(DONE);
    }
    if steps.is_empty() {
        print("The tables are current: nothing to do.");
    }
    for step in steps {
        match command.plan {
            true => print(&format!("-- {}\n{};\n", step.title, step.sql)),
            false if command.uninstall => print(&format!("removed: {}", step.title)),
            false => print(&format!("done: {}", step.title)),
        }
    }
    for note in notes.iter().filter(|_| !command.uninstall) {
        print(&format!("-- note: {note}"));
    }
    Ok(DONE)
}
