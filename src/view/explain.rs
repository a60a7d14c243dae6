//! Why a user is as it is: for each column whose word its value is, and what brought it; for the state, what is missing.

use super::{Change, Event, User};
use crate::core::account::IdentityState;
use crate::core::columns::{Cell, Columns};
use crate::core::explain::{gainsaid, word};
use crate::core::layout::Layout;
use crate::source::Source;
use crate::store::{AccountDetail, DeliveryFilter, Store, StoreError, UserView};
use serde::Serialize;

/// Entries of the history that are looked through.
const HISTORY_MAX: i64 = 1_000;
/// Deliveries that are named.
const DELIVERIES_MAX: i64 = 20;

#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub user: User,
    pub state: State,
    pub columns: Vec<ColumnWord>,
    pub accounts: Vec<Account>,
    pub held_values: Vec<HeldValue>,
    /// Deliveries that are still to be applied, or cannot be.
    pub pending: Vec<Event>,
    /// What the feed has told, the newest first.
    pub history: Vec<Change>,
}

#[derive(Clone, Debug, Serialize)]
pub struct State {
    pub account_state: String,
    pub since: Option<String>,
    pub because: String,
    pub missing: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ColumnWord {
    pub column: String,
    pub value: Cell,
    /// `provider`, `app`, `app-once-set` or `undeclared`
    pub owner: &'static str,
    /// Whose word the value is: `provider`, `call`, `application`, `hint`, `kept`, `drift`, `held-back` or `nobody`
    pub word: &'static str,
    /// What the provider says, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_says: Option<Cell>,
    /// The change that wrote the column last.
    pub written: Option<Change>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Account {
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
}

#[derive(Clone, Debug, Serialize)]
pub struct HeldValue {
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
    let said = accounts.first().and_then(|account| said(account, sources, layout));
    let told = store.history(&user.id, HISTORY_MAX).await?;
    let history: Vec<Change> = told.iter().map(Change::from).collect();
    let columns = layout.columns().map(|column| {
        let name = layout.name(column);
        ColumnWord {
            column: name.to_owned(),
            value: row.columns.get(column).map(str::to_owned),
            owner: layout.owner(column).name(),
            word: word(layout, column, &row, said.as_ref()).name(),
            provider_says: gainsaid(column, &row, said.as_ref()),
            written: history
                .iter()
                .find(|change| change.changed.iter().any(|changed| changed == name))
                .cloned(),
        }
    });
    let columns = columns.collect();
    let held = store.held_of_user(&user.id).await?.into_iter().map(|(held, since)| HeldValue {
        column: held.column,
        value: held.value,
        instead: held.instead,
        reason: held.reason,
        since,
    });
    Ok(Some(Explanation {
        state: State {
            account_state: user.account_state.clone(),
            since: store.state_since(&user.id).await?,
            because: because(user, &row, &accounts),
            missing: user.missing.clone(),
        },
        user: User::from(user),
        columns,
        held_values: held.collect(),
        pending: pending(store, &accounts).await?,
        accounts: accounts.into_iter().map(Account::from).collect(),
        history,
    }))
}

/// What the account says for the row.
fn said(account: &AccountDetail, sources: &[Source], layout: &Layout) -> Option<Columns> {
    let source = sources.iter().find(|source| source.name == account.key.source)?;
    let latest = account.latest.clone()?;
    let columns = source.provider.recall(latest.version, latest.profile, layout).columns;
    let deleted = account.state == IdentityState::Deleted.name();
    Some(if deleted { layout.freed(&columns) } else { columns })
}

fn because(user: &UserView, row: &crate::core::decide::User, accounts: &[AccountDetail]) -> String {
    match user.account_state.as_str() {
        "deleted" if accounts.iter().all(|account| account.deleted_by.as_deref() == Some("erase")) => {
            "it was erased here, for good".to_owned()
        }
        "deleted" => "each of its accounts is deleted at its source".to_owned(),
        "suspended" => match (row.suspended_by_source, row.suspended_by_app) {
            (true, true) => "it is banned at its source, and by the application".to_owned(),
            (true, false) => "it is banned or deprovisioned at its source".to_owned(),
            (false, _) => {
                "the application has banned it; `headcount users suspend --lift` ends that".to_owned()
            }
        },
        "provisional" => "nothing has come from its source yet".to_owned(),
        "incomplete" => format!("it has no {}", user.missing.join(", no ")),
        _ => "it has every required field".to_owned(),
    }
}

async fn pending(store: &Store, accounts: &[AccountDetail]) -> Result<Vec<Event>, StoreError> {
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
            pending.extend(store.deliveries(&filter, false).await?.iter().map(Event::from));
        }
    }
    Ok(pending)
}

impl From<AccountDetail> for Account {
    fn from(detail: AccountDetail) -> Self {
        Self {
            source: detail.key.source,
            provider_id: detail.key.provider_id,
            state: detail.state,
            version: detail.latest.map(|latest| latest.version),
            first_seen_at: detail.first_seen_at,
            synced_at: detail.synced_at,
            linked_by: detail.linked_by,
            linked_at: detail.linked_at,
            deleted_at: detail.deleted_at,
            deleted_by: detail.deleted_by,
        }
    }
}
