//! Writing decided accounts: rows of `users` and `accounts`, identities, what is held back. All or none.

use crate::core::columns::{Column, ColumnType};
use crate::store::accounts::codec::identity_row;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::accounts::types::AccountWrite;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::Arg;
use crate::store::engine::driver::Values;
use crate::store::engine::error::StoreError;
use crate::store::users_table::FieldSet;
use std::collections::BTreeMap;

/// Rows by the statement that writes them.
#[derive(Default)]
struct Rows {
    inserts: Vec<Values>,
    updates: BTreeMap<FieldSet, Vec<Values>>,
    /// Those that write columns of the application's as well: each with its statement.
    single: Vec<(String, Values)>,
    accounts: Vec<Values>,
    ids: Vec<Values>,
}

impl Rows {
    /// The ids of users of which anything is written in `users`.
    fn written(&self) -> Vec<String> {
        let single = self.single.iter().map(|(_, row)| row);
        let rows = self.inserts.iter().chain(self.updates.values().flatten()).chain(single);
        rows.filter_map(|row| row.first()?.clone()).collect()
    }
}

impl Reconciliation {
    /// Writes the accounts, all or none: where the database refuses one, the transaction is as before the call.
    pub async fn write(&mut self, writes: &[AccountWrite]) -> Result<(), StoreError> {
        self.write_with_room(writes, &[]).await
    }

    /// The same, with these columns of all rows set to null first: values may go round in a circle.
    pub async fn write_with_room(
        &mut self,
        writes: &[AccountWrite],
        vacated: &[Column],
    ) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.tx.script("SAVEPOINT accounts").await?;
        self.last_write = None;
        let written = self.write_all(writes, vacated).await;
        match written {
            Ok(written) => self.read_back(&written, writes).await,
            Err(error) => Err(self.refused("accounts", error).await?),
        }
    }

    /// Undoes what was done since the savepoint where the database refused a row there: the error, as it is of that row
    /// or of everybody. As the outer error, what kept it from undoing that.
    ///
    /// A right or a table that is missing stops every row: the statement is asked for once more, without any row.
    pub(in crate::store) async fn refused(
        &mut self,
        savepoint: &str,
        error: StoreError,
    ) -> Result<StoreError, StoreError> {
        let refused = match error {
            StoreError::Rejected(_) | StoreError::Setup(_) | StoreError::Forbidden(_) => error,
            everybodys => return Ok(everybodys),
        };
        let undo = format!("ROLLBACK TO SAVEPOINT {savepoint}");
        self.tx.script(&undo).await?;
        let mut of_everybody = None;
        if refused.is_wrong_setup()
            && self.dialect == Dialect::Postgres
            && let Some((sql, width)) = self.last_write.take()
        {
            of_everybody = self.tx.execute(&sql, vec![Arg::NoRows(width)]).await.err();
            if of_everybody.is_some() {
                self.tx.script(&undo).await?;
            }
        }
        self.tx.script(&format!("RELEASE SAVEPOINT {savepoint}")).await?;
        Ok(of_everybody.unwrap_or_else(|| refused.of_the_rows()))
    }

    /// The ids of users whose rows were written.
    async fn write_all(
        &mut self,
        writes: &[AccountWrite],
        vacated: &[Column],
    ) -> Result<Vec<String>, StoreError> {
        let users = self.users.clone();
        let rows = self.sorted(writes, vacated);
        let written = rows.written();
        if let Some(vacate) = users.vacate(vacated) {
            self.write_rows(&vacate, rows.ids.clone()).await?;
        }
        for (set, rows) in rows.updates {
            self.write_rows(&users.update(set, &[]), rows).await?;
        }
        if !rows.inserts.is_empty() {
            self.write_rows(&users.insert(&[]), rows.inserts).await?;
        }
        for (sql, row) in rows.single {
            self.write_rows(&sql, vec![row]).await?;
        }
        if users.is_adopted() && !rows.accounts.is_empty() {
            let required = self.required_fields().await?;
            if let Some(sql) = users.write_accounts(&required) {
                self.write_rows(&sql, rows.accounts).await?;
            }
            if let Some(mirror) = users.mirror() {
                self.last_write = Some((mirror.clone(), 1));
                self.tx.execute(&mirror, vec![Arg::Rows(rows.ids)]).await?;
            }
        }
        self.write_identities(writes).await?;
        self.write_held(writes).await?;
        self.check_now(Some("RELEASE SAVEPOINT accounts")).await?;
        Ok(written)
    }

    /// Of rows that are there only what changes is written: an application's trigger may be on any column.
    fn sorted(&self, writes: &[AccountWrite], vacated: &[Column]) -> Rows {
        let mut rows = Rows::default();
        for write in writes {
            let Some(user) = &write.user else { continue };
            let id = vec![Some(user.id.clone())];
            let row = self.users.row(user);
            let more = write.also.iter().map(|cell| cell.value.clone());
            let Some(before) = &write.before else {
                match write.also.as_slice() {
                    [] => rows.inserts.push(row.clone()),
                    also => {
                        rows.single
                            .push((self.users.insert(also), row.iter().cloned().chain(more).collect()));
                    }
                }
                rows.accounts.push(row);
                rows.ids.push(id);
                continue;
            };
            let mut before = before.clone();
            for column in vacated {
                before.columns.set(*column, None);
            }
            let (in_users, in_accounts) = self.users.touched(&self.users.row(&before), &row);
            if !write.also.is_empty() {
                let part = self.users.part(&row, in_users).into_iter().chain(more).collect();
                rows.single.push((self.users.update(in_users, &write.also), part));
            } else if in_users != 0 || (in_accounts != 0 && self.users.dates_itself()) {
                rows.updates.entry(in_users).or_default().push(self.users.part(&row, in_users));
            }
            if in_users != 0 || in_accounts != 0 || write.linked_by.is_some() {
                rows.accounts.push(row);
                rows.ids.push(id);
            }
        }
        rows
    }

    async fn write_identities(&mut self, writes: &[AccountWrite]) -> Result<(), StoreError> {
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.identities SET user_id = coalesce(v.c3, user_id), state = v.c4, version = CAST(v.c5 AS bigint),
                 occurred_at = {}, profile = v.c7, provider_created_at = {}, deleted_at = {}, deleted_by = v.c10,
                 synced_at = CASE WHEN v.c11 = 'true' THEN {clock} ELSE synced_at END, read_at = {},
                 deletion_received_at = {}, replaced_version = CAST(v.c14 AS bigint), waiting_reason = v.c15,
                 waiting_since = CASE WHEN v.c15 IS NULL THEN NULL ELSE coalesce(waiting_since, {clock}) END,
                 linked_by = coalesce(v.c16, linked_by),
                 linked_at = CASE WHEN v.c16 IS NULL THEN linked_at ELSE {clock} END, hints = v.c17,
                 deleted_softly = {}, suspended_until = {}, reserved_id = v.c20,
                 awaited_address = v.c21,
                 collides_with = CASE WHEN v.c4 <> 'deleted' THEN coalesce(v.c22, collides_with) END,
                 collides_since = CASE WHEN v.c4 = 'deleted' THEN NULL WHEN v.c22 IS NULL THEN collides_since ELSE {clock} END,
                 announced_at = coalesce(announced_at, CASE WHEN v.c3 IS NOT NULL THEN {clock} END)
             FROM {} WHERE headcount.identities.source = v.c1 AND headcount.identities.provider_id = v.c2",
            self.dialect.timestamp_value("v.c6"),
            self.dialect.timestamp_value("v.c8"),
            self.dialect.timestamp_value("v.c9"),
            self.dialect.timestamp_value("v.c12"),
            self.dialect.timestamp_value("v.c13"),
            self.dialect.cell_value("v.c18", ColumnType::Bool),
            self.dialect.timestamp_value("v.c19"),
            self.dialect.rows(1, 22),
            clock = self.dialect.clock(),
        ));
        let layout = self.users.layout().clone();
        self.write_rows(&sql, writes.iter().map(|write| identity_row(write, &layout)).collect()).await
    }

    /// Every row that is held must be there to be written.
    async fn write_rows(&mut self, sql: &str, rows: Vec<Values>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let expected = rows.len() as u64;
        self.last_write = Some((sql.to_owned(), rows.first().map_or(0, Vec::len)));
        let written = self.tx.execute(sql, vec![Arg::Rows(rows)]).await?;
        if written == expected {
            return Ok(());
        }
        Err(StoreError::Rejected(format!(
            "{expected} rows were to be written and {written} were: a rule or a trigger of the table swallows them"
        )))
    }

    /// Has deferred constraints speak up: on PostgreSQL they can be asked, on SQLite broken references are counted
    /// where somebody has asked for it.
    ///
    /// `then` is run where all is well, in the same round trip.
    pub(in crate::store) async fn check_now(&mut self, then: Option<&str>) -> Result<(), StoreError> {
        if let Some(before) = self.broken_before
            && self.broken_references().await? > before
        {
            return Err(StoreError::Rejected("FOREIGN KEY constraint failed (deferred)".to_owned()));
        }
        self.last_write = None;
        let script: Vec<&str> = self.dialect.check_deferred().into_iter().chain(then).collect();
        match script.is_empty() {
            true => Ok(()),
            false => self.tx.script(&script.join("; ")).await,
        }
    }

    /// From now on each write finds out by itself what the commit would refuse. Slow, so only where a commit did.
    pub async fn look_ahead(&mut self) -> Result<(), StoreError> {
        if self.dialect.check_deferred().is_none() {
            self.broken_before = Some(self.broken_references().await?);
        }
        Ok(())
    }

    async fn broken_references(&mut self) -> Result<u64, StoreError> {
        let sql = self.users.broken_references();
        self.count(&sql, vec![]).await
    }
}
