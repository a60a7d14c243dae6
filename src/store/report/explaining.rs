//! One user as a support case needs it.

use crate::core::columns::Columns;
use crate::core::event::IdentityKey;
use crate::core::known::User;
use crate::core::timestamp::Timestamp;
use crate::core::words::{DeletedBy, IdentityState};
use crate::store::Store;
use crate::store::accounts::codec::{hints, id_rows, key_of, latest, user};
use crate::store::accounts::types::StoredLatest;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use std::collections::HashMap;

/// One account of a user, with everything that is kept of it.
#[derive(Clone, Debug)]
pub struct AccountDetail {
    pub key: IdentityKey,
    pub state: IdentityState,
    pub latest: Option<StoredLatest>,
    pub hints: Option<Columns>,
    pub first_seen_at: Option<String>,
    pub synced_at: Option<String>,
    pub linked_by: Option<String>,
    pub linked_at: Option<String>,
    pub deleted_at: Option<Timestamp>,
    pub deleted_by: Option<DeletedBy>,
    /// The kind that its source was last configured as.
    pub kind: Option<String>,
    /// Its source is.
    pub is_retired: bool,
    /// The source before which the word of its own source counts, since a switch.
    pub supersedes: Option<String>,
    /// The other user who has the address that its first snapshot has named.
    pub collides_with: Option<String>,
}

impl Store {
    /// The row as headcount's decisions see it, what is held back of it included.
    pub async fn user_row(&self, user_id: &str) -> Result<Option<User>, StoreError> {
        let mut tx = self.reconciliation().await?;
        let ids = [user_id.to_owned()];
        let rows = tx.tx.fetch(&self.users_table().load(), vec![Arg::Rows(id_rows(&ids))]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let user = user(row, self.users_table())?;
        let mut found = std::iter::once((user_id.to_owned(), user)).collect();
        tx.load_held(&mut found).await?;
        tx.load_altered(&mut found).await?;
        Ok(found.remove(user_id))
    }

    /// Since when the user is in the state that it is in.
    pub async fn state_since(&self, user_id: &str) -> Result<Option<String>, StoreError> {
        let sql = self.users_table().state_since();
        let rows = self.read(&sql, vec![Arg::Rows(id_rows(&[user_id.to_owned()]))]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        // In the table that headcount makes the application may write it: shown as it is.
        row.of("users").opt_text("state_since")
    }

    /// The user's accounts: first those that are not deleted, of them the one that was heard of last.
    pub async fn account_details(&self, user_id: &str) -> Result<Vec<AccountDetail>, StoreError> {
        let mut found = self.account_details_of(&[user_id.to_owned()]).await?;
        Ok(found.remove(user_id).unwrap_or_default())
    }

    /// The same for several users, by their ids.
    pub async fn account_details_of(
        &self,
        user_ids: &[String],
    ) -> Result<HashMap<String, Vec<AccountDetail>>, StoreError> {
        let mut of_user: HashMap<String, Vec<AccountDetail>> = HashMap::new();
        if user_ids.is_empty() {
            return Ok(of_user);
        }
        let at = |column: &str| self.dialect().timestamp_text(column);
        let rows = self.dialect().rows(1, 1);
        let accounts = self.dialect().each_row(&rows, "headcount.identities", "i", "user_id", "v.c1");
        let sql = self.dialect().own(&format!(
            "SELECT i.user_id, i.source, i.provider_id, i.state, CAST(i.version AS text) AS version, i.profile, {} AS occurred_at,
                 {} AS read_at, i.hints, {} AS first_seen_at, {} AS synced_at, i.linked_by, {} AS linked_at,
                 {} AS deleted_at, i.deleted_by, s.kind,
                 CASE WHEN s.retired_at IS NULL THEN '0' ELSE '1' END AS is_retired,
                 s.supersedes, i.collides_with
             FROM {accounts} LEFT JOIN headcount.sources s ON s.name = i.source
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
        let rows = tx.fetch(&sql, vec![Arg::Rows(id_rows(user_ids))]).await?;
        tx.commit().await?;
        for row in rows {
            let mut row = row.of("identities");
            of_user.entry(row.text("user_id")?).or_default().push(self.detail(row)?);
        }
        Ok(of_user)
    }

    fn detail(&self, mut row: Row) -> Result<AccountDetail, StoreError> {
        Ok(AccountDetail {
            key: key_of(&mut row)?,
            state: row.word::<IdentityState>("state")?,
            latest: latest(&mut row)?,
            hints: hints(&mut row, self.layout())?,
            first_seen_at: row.opt_text("first_seen_at")?,
            synced_at: row.opt_text("synced_at")?,
            linked_by: row.opt_text("linked_by")?,
            linked_at: row.opt_text("linked_at")?,
            deleted_at: row.opt_time("deleted_at")?,
            deleted_by: row.opt_word("deleted_by")?,
            kind: row.opt_text("kind")?,
            is_retired: row.truth("is_retired")?,
            supersedes: row.opt_text("supersedes")?,
            collides_with: row.opt_text("collides_with")?,
        })
    }
}
