//! What a row holds where headcount sent something else: a trigger, a default or a type of the application's changed it.
//!
//! A row is read back after a write, where anything may have changed it. Where it differs, both values are remembered. As long
//! as the row holds the stored one, it reads as if it held the one that was sent. So nothing else needs to know of
//! triggers: what the application writes later is told apart, and nothing is written again and again (contract, rule 9).

use crate::core::columns::{Column, Owner};
use crate::core::known::User;
use crate::store::Store;
use crate::store::accounts::codec::{id_rows, user};
use crate::store::accounts::transaction::Reconciliation;
use crate::store::accounts::types::{AccountWrite, AlteredValue};
use crate::store::engine::driver::{Arg, Values};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use std::collections::{BTreeMap, HashMap};

impl Reconciliation {
    /// Has the users read as if they held what was sent, and remembers what they do hold.
    pub(in crate::store) async fn load_altered(
        &mut self,
        users: &mut HashMap<String, User>,
    ) -> Result<(), StoreError> {
        if users.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "SELECT h.user_id, h.\"column\", h.sent, h.stored FROM {} JOIN headcount.altered_values h ON h.user_id = v.c1",
            self.dialect.rows(1, 1)
        ));
        for row in self.tx.fetch(&sql, vec![Arg::Rows(id_rows(users.keys()))]).await? {
            let mut row = row.of("altered_values");
            let (user_id, name) = (row.text("user_id")?, row.text("column")?);
            let altered = AlteredValue { sent: row.opt_text("sent")?, stored: row.opt_text("stored")? };
            let Some(column) = self.users.layout().column(&name) else { continue };
            let Some(user) = users.get_mut(&user_id) else { continue };
            if user.columns.get(column) == altered.stored.as_deref() {
                user.columns.set(column, altered.sent.clone());
            }
            self.altered.entry(user_id).or_default().insert(column, altered);
        }
        Ok(())
    }

    /// Reads the rows that were written, and remembers where they hold something else than was sent.
    pub(in crate::store) async fn read_back(
        &mut self,
        written: &[String],
        writes: &[AccountWrite],
    ) -> Result<(), StoreError> {
        if written.is_empty() {
            return Ok(());
        }
        let sent: HashMap<&str, &User> =
            writes.iter().filter_map(|write| write.user.as_ref()).map(|user| (&*user.id, user)).collect();
        // What was altered before is looked at anew in any case: the trigger may be gone.
        let is_altered = written.iter().any(|id| self.altered.contains_key(id));
        if !is_altered && !self.may_alter().await? {
            return Ok(());
        }
        let rows = self.tx.fetch(&self.users.load(), vec![Arg::Rows(id_rows(written))]).await?;
        let (mut news, mut gone) = (Vec::new(), Vec::new());
        for row in rows {
            let stored = user(row, &self.users)?;
            let Some(sent) = sent.get(&*stored.id) else { continue };
            let mut known = self.altered.remove(&stored.id).unwrap_or_default();
            let mut now = BTreeMap::new();
            for column in sent.columns.differing(&stored.columns) {
                if self.users.layout().owner(column) == Owner::App {
                    continue;
                }
                let [sent, stored] =
                    [&sent.columns, &stored.columns].map(|cells| cells.get(column).map(str::to_owned));
                now.insert(column, AlteredValue { sent, stored });
            }
            for (column, altered) in &now {
                if known.remove(column).as_ref() != Some(altered) {
                    news.push(self.altered_row(&stored.id, *column, Some(altered)));
                }
            }
            gone.extend(known.keys().map(|column| self.altered_row(&stored.id, *column, None)));
            if !now.is_empty() {
                self.altered.insert(stored.id, now);
            }
        }
        self.remember_altered(news, gone).await
    }

    /// Whether anything may change what is written, as the transaction has found it at its first write.
    async fn may_alter(&mut self) -> Result<bool, StoreError> {
        if let Some(known) = self.may_alter {
            return Ok(known);
        }
        let may_alter = !self.tx.fetch(&self.users.may_alter(), vec![]).await?.is_empty();
        self.may_alter = Some(may_alter);
        Ok(may_alter)
    }

    fn altered_row(&self, user_id: &str, column: Column, altered: Option<&AlteredValue>) -> Values {
        let name = self.users.layout().name(column).to_owned();
        let cells = altered.map(|altered| [altered.sent.clone(), altered.stored.clone()]);
        [Some(user_id.to_owned()), Some(name)].into_iter().chain(cells.into_iter().flatten()).collect()
    }

    async fn remember_altered(&mut self, news: Vec<Values>, gone: Vec<Values>) -> Result<(), StoreError> {
        let insert = self.dialect.own(&format!(
            "INSERT INTO headcount.altered_values (user_id, \"column\", sent, stored, since)
             SELECT v.c1, v.c2, v.c3, v.c4, {} FROM {} WHERE true
             ON CONFLICT (user_id, \"column\") DO UPDATE SET sent = excluded.sent, stored = excluded.stored,
                 since = excluded.since",
            self.dialect.clock(),
            self.dialect.rows(1, 4)
        ));
        let delete = self.dialect.own(&format!(
            "DELETE FROM headcount.altered_values WHERE (user_id, \"column\") IN (SELECT v.c1, v.c2 FROM {})",
            self.dialect.rows(1, 2)
        ));
        for (sql, rows) in [(insert, news), (delete, gone)] {
            if !rows.is_empty() {
                self.tx.execute(&sql, vec![Arg::Rows(rows)]).await?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// What the user's row holds in place of what was sent: the column's name, both values, since when.
    pub async fn altered_of_user(
        &self,
        user_id: &str,
    ) -> Result<Vec<(String, AlteredValue, Option<String>)>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT \"column\", sent, stored, {} AS since FROM headcount.altered_values WHERE user_id = $1
             ORDER BY \"column\"",
            self.dialect().timestamp_text("since")
        ));
        let altered = |row: Row| {
            let mut row = row.of("altered_values");
            let altered = AlteredValue { sent: row.opt_text("sent")?, stored: row.opt_text("stored")? };
            Ok((row.text("column")?, altered, row.opt_text("since")?))
        };
        self.read(&sql, vec![Arg::text(user_id)]).await?.into_iter().map(altered).collect()
    }
}
