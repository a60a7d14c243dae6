//! Accounts that are to be read by their id, and what the first of two readings said.

use crate::core::columns::ColumnType;
use crate::core::event::IdentityKey;
use crate::core::retry_policy::UNREADABLE_ACCOUNT;
use crate::core::timestamp::Timestamp;
use crate::core::words::Doubt;
use crate::store::Store;
use crate::store::accounts::codec::{key, key_of, key_row};
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::runs::postponed::pause_ms_sql;
use std::collections::HashMap;

/// What is to be written down about an account that is to be read again.
#[derive(Clone, Debug)]
pub struct NewConfirmation {
    pub key: IdentityKey,
    /// The run that waits for it; `None` leaves it as it is.
    pub run_id: Option<String>,
    pub doubt: Doubt,
    pub due_in_ms: i64,
    /// The reading that the next one must agree with; `None` forgets an earlier one.
    pub first: Option<FirstReading>,
    /// It was absent twice.
    pub gone: bool,
}

impl NewConfirmation {
    /// To be read now, whatever is known of it.
    pub fn asked(key: IdentityKey, run_id: Option<String>) -> Self {
        Self { key, run_id, doubt: Doubt::Asked, due_in_ms: 0, first: None, gone: false }
    }
}

/// The first of two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstReading {
    pub marked_at: Timestamp,
    /// [`ABSENT`], or a digest of version and content.
    pub said: String,
}

pub const ABSENT: &str = "absent";

/// An account that is to be read now.
#[derive(Clone, Debug)]
pub struct Confirmation {
    pub key: IdentityKey,
    pub doubt: Doubt,
    pub attempts: u32,
}

/// How far a run's confirmations are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// To be read (again), now or later.
    pub open: u64,
    /// When the next one is due; zero where one is.
    pub next_in_ms: i64,
    /// Proven to be gone.
    pub gone: u64,
}

impl Reconciliation {
    /// When anything about each account was last received, whatever became of it.
    pub async fn received(
        &mut self,
        keys: &[IdentityKey],
    ) -> Result<HashMap<IdentityKey, Timestamp>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = self.dialect.own(&format!(
            "SELECT d.source, d.provider_id, {} AS received_at FROM {} JOIN headcount.deliveries d
                 ON d.provider_id = v.c2 AND d.source = v.c1 GROUP BY d.source, d.provider_id",
            self.dialect.timestamp_text("max(d.received_at)"),
            self.dialect.rows(1, 2)
        ));
        let rows = self.tx.fetch(&sql, vec![Arg::Rows(keys.iter().map(key_row).collect())]).await?;
        let received = |row: Row| {
            let mut row = row.of("deliveries");
            Ok((key_of(&mut row)?, row.time("received_at")?))
        };
        rows.into_iter().map(received).collect()
    }

    /// The first readings of these accounts, where there are any.
    pub async fn first_readings(
        &mut self,
        keys: &[IdentityKey],
    ) -> Result<HashMap<IdentityKey, FirstReading>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = self.dialect.own(&format!(
            "SELECT c.source, c.provider_id, {} AS first_marked_at, c.first_said FROM {} JOIN headcount.confirmations c
                 ON c.provider_id = v.c2 AND c.source = v.c1 WHERE c.first_said IS NOT NULL",
            self.dialect.timestamp_text("c.first_marked_at"),
            self.dialect.rows(1, 2)
        ));
        let rows = self.tx.fetch(&sql, vec![Arg::Rows(keys.iter().map(key_row).collect())]).await?;
        let first = |row: Row| {
            let mut row = row.of("confirmations");
            let key = key_of(&mut row)?;
            let (marked_at, said) = (row.time("first_marked_at")?, row.text("first_said")?);
            Ok((key, FirstReading { marked_at, said }))
        };
        rows.into_iter().map(first).collect()
    }

    /// Writes down that these accounts are to be read (again).
    pub async fn confirm(&mut self, confirmations: &[NewConfirmation]) -> Result<(), StoreError> {
        if confirmations.is_empty() {
            return Ok(());
        }
        let truth = self.dialect.cell_value("v.c8", ColumnType::Bool);
        let sql = self.dialect.own(&format!(
            "INSERT INTO headcount.confirmations
                 (source, provider_id, run_id, doubt, due_at, first_marked_at, first_said, gone)
             SELECT v.c1, v.c2, v.c3, v.c4, {due}, {marked}, v.c7, {truth} FROM {rows} WHERE true
             ORDER BY v.c1, v.c2
             ON CONFLICT (source, provider_id) DO UPDATE SET
                 run_id = coalesce(excluded.run_id, headcount.confirmations.run_id), doubt = excluded.doubt,
                 due_at = excluded.due_at, attempts = headcount.confirmations.attempts + 1,
                 first_marked_at = excluded.first_marked_at, first_said = excluded.first_said, gone = excluded.gone",
            due = self.dialect.clock_plus_ms("v.c5"),
            marked = self.dialect.timestamp_value("v.c6"),
            rows = self.dialect.rows(1, 8),
        ));
        let rows = confirmations
            .iter()
            .map(|new| {
                let mut row = key_row(&new.key);
                row.extend([
                    new.run_id.clone(),
                    Some(new.doubt.name().to_owned()),
                    Some(new.due_in_ms.to_string()),
                    new.first.as_ref().map(|first| first.marked_at.to_string()),
                    new.first.as_ref().map(|first| first.said.clone()),
                    Some(new.gone.to_string()),
                ]);
                row
            })
            .collect();
        self.tx.execute(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(())
    }

    /// These accounts cannot be read, for these reasons: no run waits for them any more, and they are read again after a
    /// pause that doubles with each failure.
    pub async fn postpone_confirmations(
        &mut self,
        unreadable: &[(IdentityKey, String)],
    ) -> Result<(), StoreError> {
        if unreadable.is_empty() {
            return Ok(());
        }
        let due = |failures: &str| self.dialect.clock_plus_ms(&pause_ms_sql(&UNREADABLE_ACCOUNT, failures));
        let sql = self.dialect.own(&format!(
            "INSERT INTO headcount.confirmations
                 (source, provider_id, run_id, doubt, due_at, gone, failures, last_error)
             SELECT v.c1, v.c2, NULL, 'asked', {first}, {never}, 1, v.c3 FROM {rows} WHERE true ORDER BY v.c1, v.c2
             ON CONFLICT (source, provider_id) DO UPDATE SET
                 run_id = NULL, doubt = excluded.doubt, due_at = {next}, attempts = 0,
                 failures = headcount.confirmations.failures + 1, last_error = excluded.last_error,
                 first_marked_at = NULL, first_said = NULL, gone = excluded.gone",
            first = due("1"),
            next = due("(headcount.confirmations.failures + 1)"),
            never = self.dialect.cell_value("'false'", ColumnType::Bool),
            rows = self.dialect.rows(1, 3),
        ));
        let row = |(key, reason): &(IdentityKey, String)| [key_row(key), vec![Some(reason.clone())]].concat();
        self.tx.execute(&sql, vec![Arg::Rows(unreadable.iter().map(row).collect())]).await?;
        Ok(())
    }

    /// Nothing is in doubt about these accounts any more.
    pub async fn resolve_confirmations(&mut self, keys: &[IdentityKey]) -> Result<(), StoreError> {
        self.for_keys("DELETE FROM headcount.confirmations WHERE", "", keys).await
    }

    /// Forgets accounts whose rows were only made for the lock.
    pub async fn delete_placeholders(&mut self, keys: &[IdentityKey]) -> Result<(), StoreError> {
        // Not `user_id IS NULL`: its index would lead through everybody who has no user.
        let is_placeholder = " AND version IS NULL AND coalesce(user_id, '') = '' AND state <> 'deleted'";
        self.for_keys("DELETE FROM headcount.identities WHERE", is_placeholder, keys).await
    }

    async fn for_keys(&mut self, act: &str, and: &str, keys: &[IdentityKey]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "{act} (source, provider_id) IN (SELECT v.c1, v.c2 FROM {}){and}",
            self.dialect.rows(1, 2)
        ));
        self.tx.execute(&sql, vec![Arg::Rows(keys.iter().map(key_row).collect())]).await?;
        Ok(())
    }
}

impl Store {
    /// Confirmations of the run (`None`: of deliveries) at the source whose time has come: those that have failed before
    /// come last, and not at all once they have failed too often.
    pub async fn due_confirmations(
        &self,
        source: &str,
        run_id: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Confirmation>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT c.provider_id, c.doubt, CAST(c.attempts AS text) AS attempts FROM headcount.confirmations c
             WHERE c.source = $1 AND coalesce(c.run_id, '') = $2 AND NOT c.gone AND c.due_at <= {}
               AND c.failures < {}
             ORDER BY CASE WHEN c.failures = 0 THEN 0 ELSE 1 END, c.due_at, c.provider_id LIMIT $3",
            self.dialect().clock(),
            UNREADABLE_ACCOUNT.attempts_max.unwrap_or(u32::MAX),
        ));
        let args = vec![Arg::text(source), Arg::text(run_id.unwrap_or_default()), Arg::Int(limit)];
        let confirmation = |row: Row| {
            let mut row = row.of("confirmations");
            let key = IdentityKey { source: source.to_owned(), provider_id: row.text("provider_id")? };
            let doubt = row.word("doubt")?;
            let attempts = u32::try_from(row.count("attempts")?).map_err(|_| row.corrupt("attempts"))?;
            Ok(Confirmation { key, doubt, attempts })
        };
        self.read(&sql, args).await?.into_iter().map(confirmation).collect()
    }

    /// How many of the run's confirmations are open, and when the next is due.
    pub async fn open_confirmations(&self, run_id: &str) -> Result<Open, StoreError> {
        let due_us = self.dialect().epoch_us("min(due_at)");
        let sql = self.dialect().own(&format!(
            "SELECT CAST(count(*) AS text) AS count, CAST(({due_us} - {}) / 1000 AS text) AS next_in_ms,
                    CASE WHEN gone THEN '1' ELSE '0' END AS is_gone
             FROM headcount.confirmations WHERE run_id = $1 GROUP BY gone",
            self.dialect().clock_us()
        ));
        let mut open = Open::default();
        for row in self.read(&sql, vec![Arg::text(run_id)]).await? {
            let mut row = row.of("confirmations");
            let (count, next_in_ms) = (row.count("count")?, row.int("next_in_ms")?);
            match row.truth("is_gone")? {
                true => open.gone = count,
                false => (open.open, open.next_in_ms) = (count, next_in_ms.max(0)),
            }
        }
        Ok(open)
    }

    /// Those of the run that are proven to be gone, a slice after `after`.
    pub async fn gone(&self, run_id: &str, after: &str, limit: i64) -> Result<Vec<IdentityKey>, StoreError> {
        let sql = self.dialect().own(
            "SELECT source, provider_id FROM headcount.confirmations
             WHERE run_id = $1 AND gone AND provider_id > $2 ORDER BY provider_id LIMIT $3",
        );
        let rows = self.read(&sql, vec![Arg::text(run_id), Arg::text(after), Arg::Int(limit)]).await?;
        rows.into_iter().map(|row| key(row, "confirmations")).collect()
    }

    /// What a run has asked that is over, or whose process is: from now on nobody's in particular. A full run that was
    /// interrupted keeps its own, for it goes on.
    pub async fn free_confirmations(&self, source: &str) -> Result<(), StoreError> {
        let of_runs_that_are_over = self.dialect().own(&format!(
            "source = $1 AND run_id IS NOT NULL AND NOT gone AND NOT EXISTS (
                 SELECT 1 FROM headcount.runs r WHERE r.id = headcount.confirmations.run_id
                   AND (r.mode = 'full' OR (r.status = 'running' AND EXISTS (
                       SELECT 1 FROM headcount.leases l WHERE l.holder = r.holder AND l.until > {}))))",
            self.dialect().clock()
        ));
        let waiting = self.dialect().own(&format!(
            "SELECT provider_id FROM headcount.confirmations WHERE {of_runs_that_are_over} LIMIT 1"
        ));
        // Nearly always there is none, and a look does not disturb SQLite's one writer.
        if self.read(&waiting, vec![Arg::text(source)]).await?.is_empty() {
            return Ok(());
        }
        let free = self
            .dialect()
            .own(&format!("UPDATE headcount.confirmations SET run_id = NULL WHERE {of_runs_that_are_over}"));
        self.write(&free, vec![Arg::text(source)]).await.map(|_| ())
    }

    /// The full run takes over what deliveries have asked; what earlier runs waited for, it finds out by itself.
    pub async fn adopt_confirmations(&self, source: &str, run_id: &str) -> Result<(), StoreError> {
        let forget = self.dialect().own(
            "DELETE FROM headcount.confirmations WHERE source = $1 AND run_id <> $2
               AND run_id NOT IN (SELECT id FROM headcount.runs WHERE mode = 'user' AND status = 'running')",
        );
        let adopt = self
            .dialect()
            .own(&format!(
                "UPDATE headcount.confirmations SET run_id = $2, due_at = CASE WHEN failures = 0 THEN due_at ELSE {} END,
                     failures = CASE WHEN failures = 0 THEN 0 ELSE 1 END
                 WHERE source = $1 AND run_id IS NULL",
                self.dialect().clock()
            ));
        let mut tx = self.begin(Access::Write).await?;
        for sql in [forget, adopt] {
            tx.execute(&sql, vec![Arg::text(source), Arg::text(run_id)]).await?;
        }
        tx.commit().await
    }
}
