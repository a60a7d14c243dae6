//! `headcount schema`

use super::output::{print, print_json};
use super::{Context, DONE};
use crate::store::DatabaseUrl;
use clap::{Args, ValueEnum};
use serde_json::json;

/// Prints the users table as an ORM's model, the settings that keep that ORM away from headcount's tables, or the view of people
///
/// headcount schema drizzle > headcount.ts; headcount schema drizzle --settings > drizzle.config.ts
///
/// For the database that is configured: PostgreSQL or SQLite. Where `[users]` names a table of yours, its model stays
/// what it is in your code, and the settings are all that you need.
#[derive(Args)]
pub struct Schema {
    #[arg(value_name = "WHAT")]
    orm: Orm,
    /// Prints the ORM's configuration instead of the model
    #[arg(long)]
    settings: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Orm {
    Drizzle,
    Prisma,
    /// The view of people as SQL: on SQLite, beside a table of yours, `migrate` does not make it
    View,
}

pub async fn run(command: Schema, context: Context) -> anyhow::Result<u8> {
    if matches!(command.orm, Orm::View) {
        let store = context.existing_store().await?;
        let view = format!("{};", store.users_table().people());
        store.close().await;
        match context.json {
            true => print_json(&json!({ "view": view })),
            false => print(&view),
        }
        return Ok(DONE);
    }
    let is_sqlite = matches!(context.config.database, DatabaseUrl::Sqlite(_));
    let (model, settings) = match (command.orm, is_sqlite) {
        (Orm::Drizzle, false) => (
            include_str!("schema/drizzle-postgres.ts"),
            include_str!("schema/drizzle-settings-postgres.ts").to_owned(),
        ),
        (Orm::Drizzle, true) => (
            include_str!("schema/drizzle-sqlite.ts"),
            include_str!("schema/drizzle-settings-sqlite.ts").to_owned(),
        ),
        (Orm::Prisma | Orm::View, false) => {
            (include_str!("schema/prisma-postgres.prisma"), prisma(&context, is_sqlite))
        }
        (Orm::Prisma | Orm::View, true) => {
            (include_str!("schema/prisma-sqlite.prisma"), prisma(&context, is_sqlite))
        }
    };
    let model = match &context.config.users.adopted {
        None => model.to_owned(),
        Some(table) => format!(
            "// The users are in {}, a table of yours: keep the model that you have of it. headcount adds a trigger at the\n\
             // most, which no ORM touches, and tables of its own: `--settings` prints what keeps your ORM from those.\n",
            table.display()
        ),
    };
    match (context.json, command.settings) {
        (true, _) => print_json(&json!({"model": model, "settings": settings})),
        (false, true) => print(settings.trim_end()),
        (false, false) => print(model.trim_end()),
    }
    Ok(DONE)
}

/// Tables that are not Prisma's to migrate: on PostgreSQL, headcount's own lie in a schema that Prisma never looks at.
fn prisma(context: &Context, is_sqlite: bool) -> String {
    let mut tables: Vec<String> = Vec::new();
    if context.config.users.adopted.is_none() {
        tables.push(if is_sqlite { "users" } else { "public.users" }.to_owned());
    }
    if is_sqlite {
        tables.extend(crate::store::own_table_names().into_iter().map(|name| format!("headcount_{name}")));
    }
    let quoted: Vec<String> = tables.iter().map(|table| format!("\"{table}\"")).collect();
    let settings = include_str!("schema/prisma-settings.ts");
    match is_sqlite {
        true => settings.replace("TABLES", &format!("\n      {},\n    ", quoted.join(",\n      "))),
        false => settings.replace("TABLES", &quoted.join(", ")),
    }
}
