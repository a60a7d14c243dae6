//! Accounts as they are stored: those that a transaction locks, and those beside them, of the same users.

use crate::core::event::IdentityKey;
use crate::store::Store;
use crate::store::accounts::codec::{identity, key, key_of, key_row};
use crate::store::accounts::transaction::Reconciliation;
use crate::store::accounts::types::StoredAccount;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::runs::postponed::Task;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Other accounts, by the account beside which they are.
type Beside = HashMap<IdentityKey, Vec<(IdentityKey, StoredAccount)>>;

impl Reconciliation {
    pub(in crate::store) async fn siblings(
        &mut self,
        locked: &BTreeMap<IdentityKey, StoredAccount>,
    ) -> Result<Beside, StoreError> {
        let users = locked.iter().filter_map(|(key, account)| Some((key.clone(), account.user_id.clone()?)));
        self.accounts_beside(&users.collect::<Vec<_>>()).await
    }

    /// The other accounts of each account's user, read under the user's lock.
    pub async fn accounts_beside(&mut self, users: &[(IdentityKey, String)]) -> Result<Beside, StoreError> {
        let mut beside: Beside = HashMap::new();
        if users.is_empty() {
            return Ok(beside);
        }
        let rows = self.dialect.rows(1, 3);
        let accounts = self.dialect.each_row(&rows, "headcount.identities", "i", "user_id", "v.c1");
        let sql = self.dialect.own(&format!(
            "SELECT i.source, i.provider_id, v.c2 AS of_source, v.c3 AS of_provider_id FROM {accounts}
             WHERE NOT (i.source = v.c2 AND i.provider_id = v.c3) ORDER BY i.source, i.provider_id"
        ));
        let rows =
            users.iter().map(|(key, user_id)| [vec![Some(user_id.clone())], key_row(key)].concat()).collect();
        let mut pairs = Vec::new();
        for row in self.tx.fetch(&sql, vec![Arg::Rows(rows)]).await? {
            let mut row = row.of("identities");
            let other = key_of(&mut row)?;
            let (source, provider_id) = (row.text("of_source")?, row.text("of_provider_id")?);
            pairs.push((IdentityKey { source, provider_id }, other));
        }
        // Nearly nobody has several: what they have said is asked for by itself.
        if pairs.is_empty() {
            return Ok(beside);
        }
        let others: BTreeSet<IdentityKey> = pairs.iter().map(|(_, other)| other.clone()).collect();
        let stored = self.identities(&others.into_iter().collect::<Vec<_>>(), "").await?;
        for (key, other) in pairs {
            if let Some(locked) = stored.get(&other) {
                beside.entry(key).or_default().push((other, locked.clone()));
            }
        }
        Ok(beside)
    }

    pub(in crate::store) async fn lock_identities(
        &mut self,
        keys: &[IdentityKey],
    ) -> Result<BTreeMap<IdentityKey, StoredAccount>, StoreError> {
        let lock = self.dialect.lock_rows_of("i");
        self.identities(keys, &lock).await
    }

    async fn identities(
        &mut self,
        keys: &[IdentityKey],
        lock: &str,
    ) -> Result<BTreeMap<IdentityKey, StoredAccount>, StoreError> {
        let sql = self.dialect.own(&format!(
            "SELECT {} FROM headcount.identities i JOIN {} ON i.source = v.c1 AND i.provider_id = v.c2
             LEFT JOIN headcount.sources s ON s.name = i.source
             ORDER BY i.source, i.provider_id {lock}",
            self.identity_cells(),
            self.dialect.rows(1, 2),
        ));
        let rows = self.tx.fetch(&sql, vec![Arg::Rows(keys.iter().map(key_row).collect())]).await?;
        let layout = self.users.layout().clone();
        rows.into_iter().map(|row| identity(row, &layout)).collect()
    }

    /// What [`identity`] reads, of `headcount.identities i` and `headcount.sources s`.
    fn identity_cells(&self) -> String {
        format!(
            "i.source, i.provider_id, i.user_id, i.state, CAST(i.version AS text) AS version, i.profile,
             {} AS occurred_at, {} AS read_at, {} AS deleted_at, {} AS deletion_received_at, i.deleted_by,
             CAST(i.deleted_softly AS text) AS deleted_softly, CAST(i.replaced_version AS text) AS replaced_version,
             i.hints, i.waiting_reason, i.awaited_address, i.reserved_id, {} AS announced_at, i.linked_by, {} AS retired_at, s.supersedes,
             s.kind",
            self.dialect.timestamp_text("i.occurred_at"),
            self.dialect.timestamp_text("i.read_at"),
            self.dialect.timestamp_text("i.deleted_at"),
            self.dialect.timestamp_text("i.deletion_received_at"),
            self.dialect.timestamp_text("i.announced_at"),
            self.dialect.timestamp_text("s.retired_at"),
        )
    }
}

impl Store {
    /// Accounts whose ban is over, as their sources said that it would be.
    pub async fn bans_over(&self, limit: i64) -> Result<Vec<IdentityKey>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT i.source, i.provider_id FROM headcount.identities i
             WHERE i.state = 'suspended' AND i.suspended_until <= {} AND {} ORDER BY i.suspended_until
             LIMIT $1",
            self.dialect().clock(),
            self.is_due(Task::EndBan, "i"),
        ));
        let rows = self.read(&sql, vec![Arg::Int(limit)]).await?;
        rows.into_iter().map(|row| key(row, "identities")).collect()
    }
}
