//! Values that the application's constraints keep out of a row, and accounts that can have no row at all.

use crate::core::event::IdentityKey;
use crate::core::known::User;
use crate::store::Store;
use crate::store::accounts::codec::id_rows;
use crate::store::accounts::codec::key;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::accounts::types::AccountWrite;
use crate::store::accounts::types::HeldValue;
use crate::store::engine::driver::Arg;
use crate::store::engine::driver::Values;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use std::collections::HashMap;

/// What deletion and suspension are called where a row does not even take them.
pub const HELD_STATE: &str = "account_state";

/// How many values are held back for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldGroup {
    pub source: String,
    /// `None` where there is no row at all.
    pub column: Option<String>,
    pub reason: String,
    pub count: u64,
    pub oldest_since: Option<String>,
}

impl Reconciliation {
    /// Loads what is held back of these users.
    pub(in crate::store) async fn load_held(
        &mut self,
        users: &mut HashMap<String, User>,
    ) -> Result<(), StoreError> {
        if users.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "SELECT h.user_id, h.\"column\", h.instead FROM {} JOIN headcount.held_values h ON h.user_id = v.c1",
            self.dialect.rows(1, 1)
        ));
        for row in self.tx.fetch(&sql, vec![Arg::Rows(id_rows(users.keys()))]).await? {
            let mut row = row.of("held_values");
            let (user_id, column) = (row.text("user_id")?, row.text("column")?);
            let Some(user) = users.get_mut(&user_id) else { continue };
            match self.users.layout().column(&column) {
                Some(column) => {
                    user.held.instead.insert(column, row.opt_text("instead")?);
                }
                None => user.held.facts = true,
            }
        }
        Ok(())
    }

    /// Forgets what was held back of these accounts' users, and writes down what is.
    pub(in crate::store) async fn write_held(&mut self, writes: &[AccountWrite]) -> Result<(), StoreError> {
        let had = |write: &&AccountWrite| write.before.as_ref().is_some_and(|before| !before.held.is_empty());
        let changed = || writes.iter().filter(|write| had(write) || !write.held.is_empty());
        let ids = id_rows(changed().filter_map(|write| Some(&write.user.as_ref()?.id)));
        if ids.is_empty() {
            return Ok(());
        }
        let rows: Vec<Values> = changed().flat_map(held_rows).collect();
        if !rows.is_empty() {
            let sql = self.dialect.own(&format!(
                "INSERT INTO headcount.held_values (user_id, \"column\", value, instead, source, reason, since)
                 SELECT v.c1, v.c2, v.c3, v.c4, v.c5, v.c6, {} FROM {} WHERE true
                 ON CONFLICT (user_id, \"column\") DO UPDATE SET value = excluded.value, instead = excluded.instead,
                     source = excluded.source, reason = excluded.reason,
                     since = CASE WHEN headcount.held_values.value IS DISTINCT FROM excluded.value
                                  THEN excluded.since ELSE headcount.held_values.since END",
                self.dialect.clock(),
                self.dialect.rows(1, 6)
            ));
            self.tx.execute(&sql, vec![Arg::Rows(rows.clone())]).await?;
        }
        let still: Vec<Values> = rows.into_iter().map(|row| row.into_iter().take(2).collect()).collect();
        self.forget_held(ids, still).await
    }

    /// Writes down anew why these values are held back.
    pub async fn note_held(&mut self, write: &AccountWrite) -> Result<(), StoreError> {
        self.write_held(std::slice::from_ref(write)).await
    }

    async fn forget_held(&mut self, users: Vec<Values>, still: Vec<Values>) -> Result<(), StoreError> {
        let sql = self.dialect.own(&format!(
            "SELECT h.user_id, h.\"column\" FROM {} JOIN headcount.held_values h ON h.user_id = v.c1",
            self.dialect.rows(1, 1)
        ));
        let rows = self.tx.fetch(&sql, vec![Arg::Rows(users)]).await?;
        let mut rows: Vec<Values> = rows.into_iter().map(|row| row.rest().collect()).collect();
        rows.retain(|row| !still.contains(row));
        if rows.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "DELETE FROM headcount.held_values WHERE (user_id, \"column\") IN (SELECT v.c1, v.c2 FROM {})",
            self.dialect.rows(1, 2)
        ));
        self.tx.execute(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(())
    }

    /// Accounts for which one of these values (column and text) is held back, those that wait longest first.
    pub async fn wanting(&mut self, values: &[(String, String)]) -> Result<Vec<IdentityKey>, StoreError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.dialect.own(&format!(
            "SELECT i.source, i.provider_id FROM {} JOIN headcount.held_values h
                 ON h.\"column\" = v.c1 AND substr(h.value, 1, 100) = substr(v.c2, 1, 100) AND h.value = v.c2
             JOIN headcount.identities i ON i.user_id = h.user_id AND i.source = h.source
             ORDER BY h.since, i.provider_id",
            self.dialect.rows(1, 2)
        ));
        let rows =
            values.iter().map(|(column, value)| vec![Some(column.clone()), Some(value.clone())]).collect();
        let found = self.tx.fetch(&sql, vec![Arg::Rows(rows)]).await?;
        let mut keys: Vec<IdentityKey> =
            found.into_iter().map(|row| key(row, "held_values")).collect::<Result<_, _>>()?;
        keys.dedup();
        Ok(keys)
    }
}

fn held_rows(write: &AccountWrite) -> Vec<Values> {
    let Some(user) = &write.user else { return Vec::new() };
    let row = |held: &HeldValue| {
        vec![
            Some(user.id.clone()),
            Some(held.column.clone()),
            held.value.clone(),
            held.instead.clone(),
            Some(write.key.source.clone()),
            Some(held.reason.clone()),
        ]
    };
    write.held.iter().map(row).collect()
}

impl Store {
    /// Accounts of which something is held back, or which wait for a row: a slice after `after`, in key order.
    pub async fn held_accounts(
        &self,
        after: Option<&IdentityKey>,
        limit: i64,
    ) -> Result<Vec<IdentityKey>, StoreError> {
        let sql = self.dialect().own(
            "SELECT k.source, k.provider_id FROM (
                 SELECT i.source, i.provider_id FROM headcount.identities i WHERE i.waiting_reason IS NOT NULL
                 UNION
                 SELECT i.source, i.provider_id FROM headcount.held_values h
                     JOIN headcount.identities i ON i.user_id = h.user_id AND i.source = h.source) AS k
             WHERE (k.source, k.provider_id) > ($1, $2) ORDER BY k.source, k.provider_id LIMIT $3",
        );
        let (source, provider_id) =
            after.map_or(("", ""), |after| (after.source.as_str(), after.provider_id.as_str()));
        let args = vec![Arg::text(source), Arg::text(provider_id), Arg::Int(limit)];
        let rows = self.read(&sql, args).await?;
        rows.into_iter().map(|row| key(row, "identities")).collect()
    }

    /// What is held back, by source, column and reason.
    pub async fn held_groups(&self) -> Result<Vec<HeldGroup>, StoreError> {
        let values = self.dialect().own(&format!(
            "SELECT source, \"column\", reason, CAST(count(*) AS text) AS count, {} AS oldest_since
             FROM headcount.held_values
             GROUP BY source, \"column\", reason ORDER BY source, \"column\", reason LIMIT 100",
            self.dialect().timestamp_text("min(since)")
        ));
        let waiting = self.dialect().own(&format!(
            "SELECT source, NULL AS \"column\", waiting_reason AS reason, CAST(count(*) AS text) AS count, {} AS oldest_since
             FROM headcount.identities
             WHERE waiting_reason IS NOT NULL AND awaited_address IS NULL GROUP BY source, waiting_reason ORDER BY source, waiting_reason LIMIT 100",
            self.dialect().timestamp_text("min(waiting_since)")
        ));
        let mut groups = Vec::new();
        for sql in [waiting, values] {
            for row in self.read(&sql, vec![]).await? {
                let mut row = row.of("held_values");
                groups.push(HeldGroup {
                    source: row.text("source")?,
                    column: row.opt_text("column")?,
                    reason: row.text("reason")?,
                    count: row.count("count")?,
                    oldest_since: row.opt_text("oldest_since")?,
                });
            }
        }
        Ok(groups)
    }

    /// What is held back of one user: column, value, what the row holds instead, reason, since.
    pub async fn held_of_user(&self, user_id: &str) -> Result<Vec<(HeldValue, Option<String>)>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT \"column\", value, instead, reason, {} AS since FROM headcount.held_values WHERE user_id = $1
             ORDER BY \"column\"",
            self.dialect().timestamp_text("since")
        ));
        let held = |row: Row| {
            let mut row = row.of("held_values");
            let held = HeldValue {
                column: row.text("column")?,
                value: row.opt_text("value")?,
                instead: row.opt_text("instead")?,
                reason: row.text("reason")?,
            };
            Ok((held, row.opt_text("since")?))
        };
        self.read(&sql, vec![Arg::text(user_id)]).await?.into_iter().map(held).collect()
    }
}
