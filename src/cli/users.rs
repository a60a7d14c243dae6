//! `headcount users`

use super::output::{json_of, print, print_fields, print_json, users_table};
use super::{Context, DONE};
use crate::config::ConfigError;
use crate::store::{Store, UserFilter};
use crate::view::User;
use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// Users as the application sees them
#[derive(Subcommand)]
pub enum Users {
    /// Lists users in the order in which headcount first saw them
    List(List),
    /// Shows one user with its identities
    Show {
        /// Its id, provider id, e-mail address, username or phone number
        user: String,
    },
}

#[derive(Args)]
pub struct List {
    #[arg(long)]
    state: Option<State>,
    /// Only with an account at this source
    #[arg(long)]
    source: Option<String>,
    /// Only those after this id: the next page
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Active,
    Incomplete,
    Provisional,
    Suspended,
    Deleted,
}

pub async fn run(command: Users, context: Context) -> anyhow::Result<u8> {
    let store = context.existing_store().await?;
    match command {
        Users::List(command) => list(&store, command, context.json).await?,
        Users::Show { user } => show(&store, &user, context.json).await?,
    }
    store.close().await;
    Ok(DONE)
}

async fn list(store: &Store, command: List, json: bool) -> anyhow::Result<()> {
    let after = match &command.after {
        None => None,
        Some(text) => Some(store.users_table().id_from(text).ok_or_else(|| {
            ConfigError(format!("--after is `{text}`; it must be an id as the users table has them"))
        })?),
    };
    let filter = UserFilter {
        state: command
            .state
            .and_then(|state| state.to_possible_value())
            .map(|value| value.get_name().to_owned()),
        source: command.source,
        after,
        limit: command.limit,
    };
    let users = store.users(&filter).await?;
    let next =
        (users.len() as i64 == command.limit).then(|| users.last().map(|last| last.id.clone())).flatten();
    if json {
        print_json(&json!({"users": users.iter().map(User::from).collect::<Vec<_>>(), "next_after": next}));
        return Ok(());
    }
    print(&users_table(&users));
    if let Some(next) = next {
        print(&format!("There are more: --after {next}"));
    }
    Ok(())
}

async fn show(store: &Store, text: &str, json: bool) -> anyhow::Result<()> {
    let users = store.find_users(text).await?;
    let user = match users.as_slice() {
        [user] => user,
        [] => bail!("no user has that id, provider id, e-mail address, username or phone number"),
        several => {
            let ids: Vec<&str> = several.iter().map(|user| user.id.as_str()).collect();
            bail!("{} users fit; name one by its id: {}", several.len(), ids.join(", "));
        }
    };
    let mut shown = json_of(&User::from(user));
    let held = store.held_of_user(&user.id).await?;
    let held: Vec<Value> = held
        .iter()
        .map(|(held, since)| {
            json!({"column": held.column, "value": held.value, "reason": held.reason, "since": since})
        })
        .collect();
    shown["held_values"] = json!(held);
    if json {
        print_json(&shown);
        return Ok(());
    }
    print_fields(&shown);
    Ok(())
}
