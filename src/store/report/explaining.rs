//! One user as a support case needs it.

use crate::core::columns::Columns;
use crate::core::event::IdentityKey;
use crate::core::known::User;
use crate::store::Store;
use crate::store::accounts::codec::{hints, id_rows, instant, user};
use crate::store::accounts::types::StoredLatest;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::{first, take};

/// One account of a user, with everything that is kept of it.
#[derive(Clone, Debug)]
pub struct AccountDetail {
    pub key: IdentityKey,
    pub state: String,
    pub latest: Option<StoredLatest>,
    pub hints: Option<Columns>,
    pub first_seen_at: Option<String>,
    pub synced_at: Option<String>,
    pub linked_by: Option<String>,
    pub linked_at: Option<String>,
    pub deleted_at: Option<String>,
    pub deleted_by: Option<String>,
    /// The kind that its source was last configured as.
    pub kind: Option<String>,
    /// Its source is.
    pub is_retired: bool,
}

impl Store {
    /// The row as headcount's decisions see it, what is held back of it included.
    pub async fn user_row(&self, user_id: &str) -> Result<Option<User>, StoreError> {
        let mut tx = self.reconciliation().await?;
        let ids = [user_id.to_owned()];
        let rows = tx.tx.fetch(&self.users_table().load(), vec![Arg::Rows(id_rows(&ids))]).await?;
        let mut users = rows.into_iter().map(|row| user(row, self.users_table()));
        let Some(user) = users.next() else { return Ok(None) };
        let mut found = std::iter::once((user_id.to_owned(), user)).collect();
        tx.load_held(&mut found).await?;
        Ok(found.remove(user_id))
    }

    /// Since when the user is in the state that it is in.
    pub async fn state_since(&self, user_id: &str) -> Result<Option<String>, StoreError> {
        let sql = self.users_table().state_since();
        let [since] = first(self.read(&sql, vec![Arg::Rows(id_rows(&[user_id.to_owned()]))]).await?);
        Ok(since)
    }

    /// The user's accounts: first those that are not deleted, of them the one that was heard of last.
    pub async fn account_details(&self, user_id: &str) -> Result<Vec<AccountDetail>, StoreError> {
        let at = |column: &str| self.dialect().timestamp_text(column);
        let sql = self.dialect().own(&format!(
            "SELECT i.source, i.provider_id, i.state, CAST(i.version AS text), i.profile, {}, {}, i.hints, {}, {},
                 i.linked_by, {}, {}, i.deleted_by, s.kind, CASE WHEN s.retired_at IS NULL THEN '0' ELSE '1' END
             FROM headcount.identities i LEFT JOIN headcount.sources s ON s.name = i.source WHERE i.user_id = $1
             ORDER BY CASE WHEN i.state = 'deleted' THEN 1 ELSE 0 END, coalesce(i.synced_at, i.first_seen_at) DESC,
                 i.source",
            at("i.occurred_at"),
            at("i.read_at"),
            at("i.first_seen_at"),
            at("i.synced_at"),
            at("i.linked_at"),
            at("i.deleted_at"),
        ));
        let mut tx = self.begin(Access::Read).await?;
        let rows = tx.fetch(&sql, vec![Arg::text(user_id)]).await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(|row| self.detail(row)).collect())
    }

    fn detail(&self, row: Row) -> AccountDetail {
        let [
            source,
            provider_id,
            state,
            version,
            profile,
            occurred_at,
            read_at,
            hinted,
            first_seen_at,
            synced_at,
            linked_by,
            linked_at,
            deleted_at,
            deleted_by,
            kind,
            retired,
        ] = take(row);
        let key =
            IdentityKey { source: source.unwrap_or_default(), provider_id: provider_id.unwrap_or_default() };
        let version = version.and_then(|version| version.parse().ok());
        let latest = version.zip(profile).map(|(version, profile)| StoredLatest {
            version,
            profile,
            occurred_at: instant(occurred_at),
            read_at: instant(read_at),
        });
        AccountDetail {
            key,
            state: state.unwrap_or_default(),
            latest,
            hints: hinted.map(|text| hints(self.layout(), &text)),
            first_seen_at,
            synced_at,
            linked_by,
            linked_at,
            deleted_at,
            deleted_by,
            kind,
            is_retired: retired.as_deref() == Some("1"),
        }
    }
}
