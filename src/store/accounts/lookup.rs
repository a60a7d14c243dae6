//! Accounts as calls look for them: those of a user, and those of which nothing has come yet.

use crate::core::columns::ColumnType;
use crate::core::event::IdentityKey;
use crate::core::known::User;
use crate::core::words::{DeletedBy, IdentityState};
use crate::store::Store;
use crate::store::accounts::codec::key_of;
use crate::store::accounts::erasure::ERASED;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::runs::postponed::Task;

/// One account of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOfUser {
    pub key: IdentityKey,
    pub is_deleted: bool,
    /// A hash stands in its place.
    pub is_erased: bool,
}

/// An account without a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowlessAccount {
    pub key: IdentityKey,
    pub is_deleted: bool,
    /// Why there is no row for it, and since when.
    pub waiting: Option<(String, String)>,
    /// The address that it waits for: another user's, as it is compared.
    pub awaited_address: Option<String>,
}

/// Accounts without a snapshot: as the index of them has it.
const PROVISIONAL: &str = "NOT has_snapshot AND user_id IS NOT NULL AND state <> 'deleted'";

/// What the database is told of a configured source.
#[derive(Clone, Debug)]
pub struct NamedSource {
    pub name: String,
    pub kind: String,
    /// An account's id is the id of its row as well.
    pub shares_ids: bool,
    /// Its accounts find their users by a verified address.
    pub links_by_address: bool,
}

impl Store {
    /// The user's accounts, those that were heard of last first.
    pub async fn accounts_of_user(&self, user_id: &str) -> Result<Vec<AccountOfUser>, StoreError> {
        let sql = self.dialect().own(
            "SELECT source, provider_id, state, deleted_by FROM headcount.identities WHERE user_id = $1
             ORDER BY coalesce(synced_at, first_seen_at) DESC, source, provider_id",
        );
        let account = |row: Row| {
            let mut row = row.of("identities");
            let key = key_of(&mut row)?;
            let is_deleted = row.word::<IdentityState>("state")? == IdentityState::Deleted;
            let was_erased = row.opt_word("deleted_by")? == Some(DeletedBy::Erase);
            let is_erased = key.provider_id.starts_with(ERASED) && was_erased;
            Ok(AccountOfUser { key, is_deleted, is_erased })
        };
        self.read(&sql, vec![Arg::text(user_id)]).await?.into_iter().map(account).collect()
    }

    /// The account with this id at its provider, where it has no user, or one whose row cannot come back.
    pub async fn rowless_account(&self, provider_id: &str) -> Result<Option<RowlessAccount>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT source, provider_id, state, waiting_reason, {} AS waiting_since, awaited_address
             FROM headcount.identities
             WHERE provider_id = $1 AND (user_id IS NULL OR waiting_reason IS NOT NULL) ORDER BY source LIMIT 1",
            self.dialect().timestamp_text("waiting_since")
        ));
        let account = |row: Row| {
            let mut row = row.of("identities");
            let waiting = row.opt_text("waiting_reason")?.zip(row.opt_text("waiting_since")?);
            let is_deleted = row.word::<IdentityState>("state")? == IdentityState::Deleted;
            let awaited_address = row.opt_text("awaited_address")?;
            Ok(RowlessAccount { key: key_of(&mut row)?, is_deleted, waiting, awaited_address })
        };
        self.read(&sql, vec![Arg::text(provider_id)]).await?.into_iter().next().map(account).transpose()
    }

    /// Has accounts of the source of which nothing has come yet be read, where nobody has asked for that.
    pub async fn ask_provisional(&self, source: &str, limit: i64) -> Result<u64, StoreError> {
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.confirmations (source, provider_id, doubt, due_at)
             SELECT i.source, i.provider_id, 'asked', {} FROM headcount.identities i
             WHERE i.source = $1 AND {PROVISIONAL} AND NOT EXISTS (
                 SELECT 1 FROM headcount.confirmations c WHERE c.source = i.source AND c.provider_id = i.provider_id)
             ORDER BY i.source, i.provider_id LIMIT $2
             ON CONFLICT (source, provider_id) DO NOTHING",
            self.dialect().clock()
        ));
        let waiting = self.dialect().own(&format!(
            "SELECT i.provider_id FROM headcount.identities i WHERE i.source = $1 AND {PROVISIONAL} LIMIT 1"
        ));
        // Nearly always there is none, and a look does not disturb SQLite's one writer.
        if self.read(&waiting, vec![Arg::text(source)]).await?.is_empty() {
            return Ok(0);
        }
        self.write(&sql, vec![Arg::text(source), Arg::Int(limit)]).await
    }

    /// Accounts whose users the application has made by itself, and of which the feed has not told.
    pub async fn accounts_to_announce(&self, limit: i64) -> Result<Vec<(IdentityKey, String)>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT i.source, i.provider_id, i.user_id FROM headcount.identities i
             WHERE {PROVISIONAL} AND i.announced_at IS NULL AND {} ORDER BY i.source, i.provider_id LIMIT $1",
            self.is_due(Task::Announce, "i")
        ));
        let account = |row: Row| {
            let mut row = row.of("identities");
            Ok((key_of(&mut row)?, row.text("user_id")?))
        };
        self.read(&sql, vec![Arg::Int(limit)]).await?.into_iter().map(account).collect()
    }

    /// Writes down which sources there are and of which kind, so that `headcount.ensure` knows a misspelt one, and what
    /// accounts said can be understood when their source is configured no more.
    pub async fn name_sources(&self, sources: &[NamedSource]) -> Result<(), StoreError> {
        if sources.is_empty() {
            return Ok(());
        }
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.sources (name, kind, shares_ids, links_by_address) SELECT v.c1, v.c2, {}, {} FROM {} WHERE true
             ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, shares_ids = excluded.shares_ids,
                 links_by_address = excluded.links_by_address",
            self.dialect().cell_value("v.c3", ColumnType::Bool),
            self.dialect().cell_value("v.c4", ColumnType::Bool),
            self.dialect().rows(1, 4)
        ));
        let row = |source: &NamedSource| {
            let (shares_ids, by_address) =
                (source.shares_ids.to_string(), source.links_by_address.to_string());
            [&source.name, &source.kind, &shares_ids, &by_address].map(|text| Some(text.clone())).to_vec()
        };
        let rows = sources.iter().map(row);
        self.write(&sql, vec![Arg::Rows(rows.collect())]).await?;
        Ok(())
    }
}

/// A user's row, as a transaction finds it.
#[expect(clippy::large_enum_variant, reason = "short-lived, and mostly the large one")]
pub enum UserRow {
    /// Locked.
    Locked(User),
    /// Somebody else holds it.
    Elsewhere,
    /// There is none.
    Gone,
}

impl Reconciliation {
    /// Locks a user's row, whoever's it is.
    pub async fn lock_user(&mut self, user_id: &str) -> Result<UserRow, StoreError> {
        let id = [user_id.to_owned()];
        if let Some(user) = self.lock_users(&id).await?.remove(user_id) {
            return Ok(UserRow::Locked(user));
        }
        let is_there = self.existing(&id).await?.contains(user_id);
        Ok(if is_there { UserRow::Elsewhere } else { UserRow::Gone })
    }

    /// The user's accounts, but for those that were erased.
    pub async fn accounts_of_user(&mut self, user_id: &str) -> Result<Vec<IdentityKey>, StoreError> {
        let sql = self.dialect.own(&format!(
            "SELECT source, provider_id FROM headcount.identities
             WHERE user_id = $1 AND NOT (coalesce(deleted_by, '') = 'erase' AND provider_id LIKE '{ERASED}%')"
        ));
        let rows = self.tx.fetch(&sql, vec![Arg::text(user_id)]).await?;
        rows.into_iter().map(|row| key_of(&mut row.of("identities"))).collect()
    }

    /// The account is shown as a collision no more; whether it was.
    pub async fn end_collision(&mut self, key: &IdentityKey) -> Result<bool, StoreError> {
        let sql = self.dialect.own(
            "UPDATE headcount.identities SET collides_with = NULL, collides_since = NULL
             WHERE source = $1 AND provider_id = $2 AND collides_with IS NOT NULL",
        );
        let args = [&key.source, &key.provider_id].map(Arg::text).to_vec();
        Ok(self.tx.execute(&sql, args).await? > 0)
    }

    /// Ties the account to another user.
    pub async fn relink(&mut self, key: &IdentityKey, user_id: &str) -> Result<(), StoreError> {
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.identities SET user_id = $3, linked_by = 'hand', linked_at = {}, waiting_reason = NULL,
                 waiting_since = NULL, awaited_address = NULL, collides_with = NULL, collides_since = NULL
             WHERE source = $1 AND provider_id = $2",
            self.dialect.clock()
        ));
        let args = [&key.source, &key.provider_id, user_id].map(Arg::text).to_vec();
        self.tx.execute(&sql, args).await?;
        Ok(())
    }
}
