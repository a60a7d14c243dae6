//! Why a user is as it is: for each column whose word its value is, and what brought it; for the state, what is missing.

use super::{ChangeJson, EventJson, UserJson};
use crate::core::columns::{Cell, Column};
use crate::core::explain::{contradicted, word};
use crate::core::known::{AccountView, Fact, Sibling, User};

use crate::core::merge::{Merged, banned_by, merge, winner};
use crate::core::words::{AccountState, DeletedBy, IdentityState};
use crate::reconcile::account_word;
use crate::source::Source;
use crate::store::{AccountDetail, DeliveryFilter, Store, StoreError, UserView};
use serde::Serialize;
use std::collections::BTreeSet;

/// Entries of the history that are looked through.
const HISTORY_MAX: i64 = 1_000;
/// Deliveries that are named.
const DELIVERIES_MAX: i64 = 20;

#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub user: UserJson,
    pub state: ExplainedState,
    pub columns: Vec<ColumnWord>,
    pub accounts: Vec<ExplainedAccount>,
    pub held_values: Vec<ExplainedHeldValue>,
    /// Deliveries that are still to be applied, or cannot be.
    pub pending: Vec<EventJson>,
    /// What the feed has told, the newest first.
    pub history: Vec<ChangeJson>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ExplainedState {
    pub account_state: String,
    pub since: Option<String>,
    pub because: String,
    pub missing: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ColumnWord {
    pub column: String,
    pub value: Cell,
    /// What headcount sent, where the database stored something else: a trigger, a default or a type changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Cell>,
    /// `provider`, `app`, `app-once-set` or `undeclared`
    pub owner: &'static str,
    /// Whose word the value is: `provider`, `call`, `application`, `supplied`, `hint`, `kept`, `drift`, `held-back` or `nobody`
    pub word: &'static str,
    /// The source whose word counts in this column: the first, in the order of authority, that has one.
    pub source: Option<String>,
    /// What each source says, where the user has accounts at several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources_say: Vec<SourceWord>,
    /// What the provider says, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_says: Option<Cell>,
    /// The change that wrote the column last.
    pub written: Option<ChangeJson>,
}

/// What one account says for a column.
#[derive(Clone, Debug, Serialize)]
pub struct SourceWord {
    pub source: String,
    pub provider_id: String,
    pub value: Cell,
}

#[derive(Clone, Debug, Serialize)]
pub struct ExplainedAccount {
    pub source: String,
    pub provider_id: String,
    pub state: String,
    pub version: Option<i64>,
    pub first_seen_at: Option<String>,
    pub synced_at: Option<String>,
    pub linked_by: Option<String>,
    pub linked_at: Option<String>,
    pub deleted_at: Option<String>,
    pub deleted_by: Option<String>,
    /// Its source takes no deliveries any more, is not read, and speaks last.
    pub is_retired: bool,
    /// The other user who had the address before the account's first snapshot has named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collides_with: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ExplainedHeldValue {
    pub column: String,
    pub value: Cell,
    /// What the row holds in its place.
    pub instead: Cell,
    pub reason: String,
    pub since: Option<String>,
}

/// Gathers everything about a user; `None` where it is gone.
pub async fn explain(
    store: &Store,
    sources: &[Source],
    user: &UserView,
) -> Result<Option<Explanation>, StoreError> {
    let layout = store.layout();
    let Some(row) = store.user_row(&user.id).await? else { return Ok(None) };
    let accounts = store.account_details(&user.id).await?;
    let siblings: Vec<Sibling> =
        accounts.iter().map(|account| account_word(account, sources, layout)).collect();
    let views = || siblings.iter().map(Sibling::view).collect::<Vec<AccountView<'_>>>();
    let together = merge(layout, views(), Some(&row.columns));
    let merged = together.columns.as_ref();
    let told = store.history(&user.id, HISTORY_MAX).await?;
    let history: Vec<ChangeJson> = told.iter().map(ChangeJson::from).collect();
    let altered = store.altered_of_user(&user.id).await?;
    let columns = layout.columns().map(|column| {
        let name = layout.name(column);
        let read = row.columns.get(column);
        let altered = altered.iter().find(|(of, altered, _)| of == name && altered.sent.as_deref() == read);
        ColumnWord {
            column: name.to_owned(),
            value: altered.map_or(read.map(str::to_owned), |(_, altered, _)| altered.stored.clone()),
            sent: altered.map(|(_, altered, _)| altered.sent.clone()),
            owner: layout.owner(column).name(),
            word: word(layout, column, &row, merged).name(),
            source: winner(layout, column, views()).map(|view| view.key.source.clone()),
            sources_say: each_word(column, &siblings),
            provider_says: contradicted(column, &row, merged),
            written: history
                .iter()
                .find(|change| change.changed.iter().any(|changed| changed == name))
                .cloned(),
        }
    });
    let columns = columns.collect();
    let banned_at: BTreeSet<&str> =
        banned_by(layout, views()).iter().map(|view| view.key.source.as_str()).collect();
    let banned_at = banned_at.into_iter().collect::<Vec<_>>().join(" and ");
    let held = store.held_of_user(&user.id).await?.into_iter().map(|(held, since)| ExplainedHeldValue {
        column: held.column,
        value: held.value,
        instead: held.instead,
        reason: held.reason,
        since,
    });
    Ok(Some(Explanation {
        state: ExplainedState {
            account_state: user.account_state.clone(),
            since: store.state_since(&user.id).await?,
            because: because(user, &row, &accounts, &together, &banned_at),
            missing: user.missing.clone(),
        },
        user: UserJson::from(user),
        columns,
        held_values: held.collect(),
        pending: pending(store, &accounts).await?,
        accounts: accounts.into_iter().map(ExplainedAccount::from).collect(),
        history,
    }))
}

/// Nothing where there is only one to say anything.
fn each_word(column: Column, siblings: &[Sibling]) -> Vec<SourceWord> {
    let words = siblings.iter().filter_map(|sibling| {
        Some(SourceWord {
            source: sibling.key.source.clone(),
            provider_id: sibling.key.provider_id.clone(),
            value: sibling.view().columns()?.get(column).map(str::to_owned),
        })
    });
    let words: Vec<SourceWord> = words.collect();
    if words.len() > 1 { words } else { Vec::new() }
}

/// Why the user is in its state: by what its row and its accounts hold, for the state's word may be the work of a
/// statement of the application's.
fn because(
    user: &UserView,
    row: &User,
    accounts: &[AccountDetail],
    merged: &Merged,
    banned_at: &str,
) -> String {
    let Some(state) = AccountState::parse(&user.account_state) else {
        return "the database shows a state that headcount does not know".to_owned();
    };
    let alive = accounts.iter().find(|account| account.state != IdentityState::Deleted);
    let wrong = |fact: Fact, why: &str| {
        format!("{} of its row says so, {why}: a full resync puts it right", fact.name())
    };
    let unreadable = |fact: Fact| row.unreadable.contains(fact);
    match state {
        AccountState::Deleted if unreadable(Fact::DeletedAt) => {
            wrong(Fact::DeletedAt, "by something that headcount never writes there")
        }
        AccountState::Deleted => match alive {
            Some(account) => {
                wrong(Fact::DeletedAt, &format!("though {} still has its account", account.key.source))
            }
            None if accounts.is_empty() => "its row says so, and it has no account".to_owned(),
            None if accounts.iter().all(|account| account.deleted_by == Some(DeletedBy::Erase)) => {
                "it was erased here, for good".to_owned()
            }
            None => "each of its accounts is deleted at its source".to_owned(),
        },
        AccountState::Suspended => {
            let own = "the application has banned it; `headcount users suspend --lift` ends that";
            let garbage =
                [Fact::SuspendedBySource, Fact::SuspendedByApp].into_iter().find(|fact| unreadable(*fact));
            match (row.suspended_by_source, row.suspended_by_app, garbage) {
                (true, true, _) if merged.suspended => {
                    format!("it is banned at {banned_at}, and by the application")
                }
                (true, false, _) if merged.suspended => {
                    format!("it is banned or deprovisioned at {banned_at}")
                }
                (_, true, _) => own.to_owned(),
                (true, false, _) => wrong(Fact::SuspendedBySource, "though no source has banned it"),
                (false, false, Some(fact)) => wrong(fact, "by something that headcount never writes there"),
                (false, false, None) => "its row says so no more: the state is about to follow".to_owned(),
            }
        }
        AccountState::Provisional if unreadable(Fact::Provisional) => {
            wrong(Fact::Provisional, "by something that headcount never writes there")
        }
        AccountState::Provisional if !merged.provisional => {
            wrong(Fact::Provisional, "though its source has told of it")
        }
        AccountState::Provisional => "nothing has come from its source yet".to_owned(),
        AccountState::Incomplete => format!("it has no {}", user.missing.join(", no ")),
        AccountState::Active => "it has every required field".to_owned(),
    }
}

async fn pending(store: &Store, accounts: &[AccountDetail]) -> Result<Vec<EventJson>, StoreError> {
    let mut pending = Vec::new();
    for account in accounts {
        for status in ["pending", "held", "dead"] {
            let filter = DeliveryFilter {
                status: Some(status.to_owned()),
                source: Some(account.key.source.clone()),
                provider_id: Some(account.key.provider_id.clone()),
                limit: DELIVERIES_MAX,
                ..DeliveryFilter::default()
            };
            pending.extend(store.deliveries(&filter, false).await?.iter().map(EventJson::from));
        }
    }
    Ok(pending)
}

impl From<AccountDetail> for ExplainedAccount {
    fn from(detail: AccountDetail) -> Self {
        Self {
            source: detail.key.source,
            provider_id: detail.key.provider_id,
            state: detail.state.to_string(),
            version: detail.latest.map(|latest| latest.version),
            first_seen_at: detail.first_seen_at,
            synced_at: detail.synced_at,
            linked_by: detail.linked_by,
            linked_at: detail.linked_at,
            deleted_at: detail.deleted_at.map(|at| at.to_string()),
            deleted_by: detail.deleted_by.map(|by| by.to_string()),
            is_retired: detail.is_retired,
            collides_with: detail.collides_with,
        }
    }
}
