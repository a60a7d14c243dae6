//! `headcount users`

use super::assembly::erased_row;
use super::output::{confirm, json_of, print, print_fields, print_json, users_table};
use super::relink::relink;
use super::waiting::{told_conflicts, without_a_row};
use super::{Context, DONE};
use crate::config::ConfigError;
use crate::core::call::RowSetting;
use crate::core::event::IdentityKey;
use crate::reconcile::{Assignment, Caller, Calls, Separated};
use crate::store::{Store, UserFilter, UserView};
use crate::view::{Erasure, UserJson};
use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::sync::Arc;

/// Users as the application sees them
#[derive(Subcommand)]
pub enum Users {
    /// Lists users in the order in which headcount first saw them
    List(UsersList),
    /// Shows one user with its identities
    Show {
        /// Its id, provider id, e-mail address, username or phone number
        user: String,
    },
    /// Ties an account to another user than its own: the one way in which two users become one
    ///
    /// The user that loses its only account ends as deleted, and gives up its e-mail address, phone number and username; the
    /// feed tells of both.
    Link {
        /// Such as `clerk`
        source: String,
        /// The account's id at the source
        provider_id: String,
        /// The user that it is to belong to: its id
        user: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Gives an account that waits for an address a user of its own, by your word that it is somebody else's
    ///
    /// Of an account that has a user and collides over its address, the user stays as it is and is no collision any more.
    /// `users link` takes it back.
    Separate {
        /// Such as `better-auth`
        source: String,
        /// The account's id at the source
        provider_id: String,
        #[arg(long, hide = true)]
        yes: bool,
    },
    /// Accounts whose address is another user's: those that wait without a user, and those that collide
    ///
    /// `users link` ties such an account to the user whose address it is, `users separate` makes it somebody else's.
    Waiting {
        /// Only those of this source
        #[arg(long)]
        source: Option<String>,
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Finds people who are two users because a rule that links their accounts was set only later
    ///
    /// A report first: which account of the source has a user of its own, and which user it fits by the rules that are
    /// configured now (`share_ids`, `link_verified_emails`, the column of an adoption). With --apply each of them is tied to
    /// that user, as by `users link`. Exit code 3 where the report finds any.
    Relink {
        /// Such as `clerk`
        source: String,
        /// Does it
        #[arg(long)]
        apply: bool,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Bans a user: no source lifts it
    Suspend {
        /// Its id, provider id, e-mail address, username or phone number
        user: String,
        /// Why: kept in the user's history
        #[arg(long, conflicts_with = "lift")]
        reason: Option<String>,
        /// Ends the ban
        #[arg(long)]
        lift: bool,
    },
    /// Erases a user for good: nothing of the person is left, and nothing brings it back
    ///
    /// The row stays without personal data, so that what the person wrote keeps an author; with HEADCOUNT_ON_DELETE=remove
    /// it is removed, where the application's foreign keys let it go. Columns of the application's own are its business: the
    /// feed tells it (`erased`). Exit code 1 where constraints of the application's keep something.
    Erase {
        /// Its id, provider id, e-mail address, username or phone number
        user: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Brings a deleted user back, by your word instead of the source's
    ///
    /// The next full resync deletes it again, with proof, if its source has it no more.
    Revive {
        /// Its id, provider id, e-mail address, username or phone number
        user: String,
    },
}

#[derive(Args)]
pub struct UsersList {
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
    let code = match command {
        Users::List(command) => list(&store, command, context.json).await?,
        Users::Show { user } => show(&store, &user, context.json).await?,
        Users::Waiting { source, limit } => {
            let conflicts = store.address_conflicts(source.as_deref(), limit).await?;
            told_conflicts(&conflicts, context.json)
        }
        acting => act(acting, &store, &context).await?,
    };
    store.close().await;
    Ok(code)
}

async fn act(command: Users, store: &Store, context: &Context) -> anyhow::Result<u8> {
    let calls = Calls {
        store: store.clone(),
        sources: Arc::new(context.config.sources.clone()),
        clock: context.clock.clone(),
    };
    match command {
        Users::List(_) | Users::Show { .. } | Users::Waiting { .. } => Ok(DONE),
        Users::Separate { source, provider_id, yes: _ } => {
            context.source(&source)?;
            let key = IdentityKey { source, provider_id };
            let (id, what) = match calls.separate(&key, Caller::OPERATOR).await? {
                Separated::Made(id) => (id, "was made for the account"),
                Separated::Stays(id) => (id, "stays as it is, and collides no more"),
            };
            answer(store, &id, context.json, &format!("User {id} {what}.")).await
        }
        Users::Link { source, provider_id, user, yes } => {
            context.source(&source)?;
            let user = one_user(store, &user).await?;
            confirm(&format!("Tie account {provider_id} of {source} to user {}?", user.id), yes)?;
            let key = IdentityKey { source, provider_id };
            let tied = calls.link(&key, &user.id, Caller::OPERATOR).await?;
            let ended = tied.from.filter(|_| tied.ended);
            let note = match &ended {
                Some(from) => format!(
                    " User {from} had no other account: it ended as deleted, and has given up its names."
                ),
                None => String::new(),
            };
            answer(store, &user.id, context.json, &format!("The account is user {}'s now.{note}", user.id))
                .await
        }
        Users::Relink { source, apply, yes } => relink(&calls, &source, apply, yes, context).await,
        Users::Suspend { user, reason, lift } => {
            let user = one_user(store, &user).await?;
            let setting = RowSetting { suspended: Some(!lift), ..RowSetting::default() };
            let assignment = Assignment { setting, ..Assignment::default() };
            let caller = Caller { reason: reason.as_deref(), ..Caller::OPERATOR };
            calls.set(&user.id, &assignment, caller).await?;
            let word = if lift {
                "is not banned by the application any more"
            } else {
                "is banned; no source lifts it"
            };
            answer(store, &user.id, context.json, &format!("User {} {word}.", user.id)).await
        }
        Users::Revive { user } => {
            let user = one_user(store, &user).await?;
            calls.revive(&user.id, Caller::OPERATOR).await?;
            answer(store, &user.id, context.json, &format!("User {} is back.", user.id)).await
        }
        Users::Erase { user, yes } => {
            let user = one_user(store, &user).await?;
            confirm(&format!("Erase user {} for good?", user.id), yes)?;
            let erased = calls.erase(&user.id, erased_row(&context.config), Caller::OPERATOR).await?;
            told_erased(&Erasure::of(&user.id, erased), context.json)
        }
    }
}

/// The user as it is now, or a sentence.
async fn answer(store: &Store, id: &str, json: bool, sentence: &str) -> anyhow::Result<u8> {
    let users = store.users_by_id(&[id.to_owned()]).await?;
    match users.first().filter(|_| json) {
        Some(user) => print_json(&json_of(&UserJson::from(user))),
        None => print(sentence),
    }
    Ok(DONE)
}

fn told_erased(erasure: &Erasure, json: bool) -> anyhow::Result<u8> {
    if json {
        print_json(&json_of(erasure));
    } else {
        match (erasure.removed, &erasure.kept_because) {
            (true, _) => print("Erased: the row is gone."),
            (false, Some(reason)) => print(&format!("Erased: the row stays, emptied, because: {reason}")),
            (false, None) => print("Erased: the row stays, emptied."),
        }
    }
    if erasure.left.is_empty() {
        return Ok(DONE);
    }
    bail!("the application's own constraints keep what is in {}; empty it by hand", erasure.left.join(", "));
}

/// The one user that the text names.
pub async fn one_user(store: &Store, text: &str) -> anyhow::Result<UserView> {
    let users = store.find_users(text).await?;
    match users.as_slice() {
        [user] => Ok(user.clone()),
        [] => match store.rowless_account(text).await? {
            Some(account) => bail!("{}", without_a_row(store, &account).await?),
            None => bail!("no user has that id, provider id, e-mail address, username or phone number"),
        },
        several => {
            let ids: Vec<&str> = several.iter().map(|user| user.id.as_str()).collect();
            bail!("{} users fit; name one by its id: {}", several.len(), ids.join(", "));
        }
    }
}

async fn list(store: &Store, command: UsersList, json: bool) -> anyhow::Result<u8> {
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
        print_json(
            &json!({"users": users.iter().map(UserJson::from).collect::<Vec<_>>(), "next_after": next}),
        );
        return Ok(DONE);
    }
    print(&users_table(&users));
    if let Some(next) = next {
        print(&format!("There are more: --after {next}"));
    }
    Ok(DONE)
}

async fn show(store: &Store, text: &str, json: bool) -> anyhow::Result<u8> {
    let user = &one_user(store, text).await?;
    let mut shown = json_of(&UserJson::from(user));
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
        return Ok(DONE);
    }
    print_fields(&shown);
    Ok(DONE)
}
