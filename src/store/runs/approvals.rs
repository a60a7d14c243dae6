//! Deletions and new users that a run holds back for a person to decide about.

use crate::core::event::IdentityKey;
use crate::store::Store;
use crate::store::accounts::codec::key_row;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};

/// Rows that one statement writes.
const SLICE_ROWS_MAX: usize = 2_000;

/// What a run holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldSet {
    Deletes,
    Creates,
}

impl HeldSet {
    fn table(self) -> &'static str {
        match self {
            HeldSet::Deletes => "held_deletes",
            HeldSet::Creates => "held_creates",
        }
    }
}

impl Store {
    /// Makes the run's proven deletions its held set.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`] where the run is somebody else's by now: then nothing of it is written.
    pub async fn hold(&self, run_id: &str, holder: &str) -> Result<u64, StoreError> {
        let hold = self.dialect().own(
            "INSERT INTO headcount.held_deletes (run_id, source, provider_id)
             SELECT run_id, source, provider_id FROM headcount.confirmations WHERE run_id = $1 AND gone
             ON CONFLICT DO NOTHING",
        );
        let forget = self.dialect().own("DELETE FROM headcount.confirmations WHERE run_id = $1");
        let mut tx = self.begin(Access::Write).await?;
        self.keep_run(&mut *tx, run_id, holder).await?;
        let held = tx.execute(&hold, vec![Arg::text(run_id)]).await?;
        tx.execute(&forget, vec![Arg::text(run_id)]).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Makes these accounts, for which the run would create users, its held set. Errors as of [`Store::hold`].
    pub async fn hold_creates(
        &self,
        run_id: &str,
        holder: &str,
        source: &str,
        provider_ids: &[String],
    ) -> Result<(), StoreError> {
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.held_creates (run_id, source, provider_id) SELECT v.c1, v.c2, v.c3 FROM {}
             WHERE true ON CONFLICT DO NOTHING",
            self.dialect().rows(1, 3)
        ));
        for slice in provider_ids.chunks(SLICE_ROWS_MAX) {
            let row = |id: &String| vec![Some(run_id.to_owned()), Some(source.to_owned()), Some(id.clone())];
            let mut tx = self.begin(Access::Write).await?;
            self.keep_run(&mut *tx, run_id, holder).await?;
            tx.execute(&sql, vec![Arg::Rows(slice.iter().map(row).collect())]).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Nobody takes the run over until the commit; an error where somebody has.
    async fn keep_run(&self, tx: &mut dyn Tx, run_id: &str, holder: &str) -> Result<(), StoreError> {
        let keep = self.dialect().own(
            "UPDATE headcount.runs SET status = status WHERE id = $1 AND holder = $2 AND status = 'running'",
        );
        match tx.execute(&keep, vec![Arg::text(run_id), Arg::text(holder)]).await? {
            1 => Ok(()),
            _ => Err(StoreError::Lost(format!("run {run_id} was taken over by another process"))),
        }
    }

    /// Whom the run would delete or create, a slice after `after`.
    pub async fn held_of(
        &self,
        set: HeldSet,
        run_id: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<IdentityKey>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT source, provider_id FROM headcount.{}
             WHERE run_id = $1 AND provider_id > $2 ORDER BY provider_id LIMIT $3",
            set.table()
        ));
        let rows = self.read(&sql, vec![Arg::text(run_id), Arg::text(after), Arg::Int(limit)]).await?;
        let key = |row: Row| {
            let mut row = row.of(set.table());
            Ok(IdentityKey { source: row.text("source")?, provider_id: row.text("provider_id")? })
        };
        rows.into_iter().map(key).collect()
    }

    /// Somebody's yes to a held run, for `for_ms`. `false` where the run is not held.
    pub async fn approve_run(&self, run_id: &str, for_ms: i64) -> Result<bool, StoreError> {
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.runs SET approved_until = {} WHERE id = $1 AND status = 'held'",
            self.dialect().clock_plus_ms("$2")
        ));
        Ok(self.write(&sql, vec![Arg::text(run_id), Arg::Int(for_ms)]).await? == 1)
    }

    /// Somebody's no. `false` where the run is not held.
    pub async fn reject_run(&self, run_id: &str, reason: &str) -> Result<bool, StoreError> {
        let reject = self.dialect().own(
            "UPDATE headcount.runs SET status = 'rejected', approved_until = NULL, error = $2
             WHERE id = $1 AND status = 'held'",
        );
        let mut tx = self.begin(Access::Write).await?;
        let rejected = tx.execute(&reject, vec![Arg::text(run_id), Arg::text(reason)]).await?;
        if rejected == 1 {
            self.forget_sets(&mut *tx, run_id).await?;
        }
        tx.commit().await?;
        Ok(rejected == 1)
    }

    /// Held runs of the source with a yes that still holds.
    pub async fn approved_runs(&self, source: &str) -> Result<Vec<String>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT id FROM headcount.runs WHERE source = $1 AND status = 'held' AND approved_until > {}",
            self.dialect().clock()
        ));
        let rows = self.read(&sql, vec![Arg::text(source)]).await?;
        rows.into_iter().map(|row| row.of("runs").text("id")).collect()
    }

    /// Whether somebody's yes to the run holds still.
    pub async fn is_approved(&self, run_id: &str) -> Result<bool, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT id FROM headcount.runs WHERE id = $1 AND approved_until > {}",
            self.dialect().clock()
        ));
        Ok(!self.read(&sql, vec![Arg::text(run_id)]).await?.is_empty())
    }

    /// What was held and approved has been done: so many were created.
    pub async fn end_approved(&self, run_id: &str, created: u64, note: &str) -> Result<(), StoreError> {
        let sql = self.dialect().own(
            "UPDATE headcount.runs SET status = 'succeeded', approved_until = NULL, created = created + $3, error = $2
             WHERE id = $1 AND status = 'held'",
        );
        let mut tx = self.begin(Access::Write).await?;
        let note = Arg::Text((!note.is_empty()).then(|| note.to_owned()));
        tx.execute(&sql, vec![Arg::text(run_id), note, Arg::Int(created as i64)]).await?;
        self.forget_sets(&mut *tx, run_id).await?;
        tx.commit().await
    }

    async fn forget_sets(&self, tx: &mut dyn Tx, run_id: &str) -> Result<(), StoreError> {
        for set in [HeldSet::Deletes, HeldSet::Creates] {
            let sql = format!("DELETE FROM headcount.{} WHERE run_id = $1", set.table());
            tx.execute(&self.dialect().own(&sql), vec![Arg::text(run_id)]).await?;
        }
        Ok(())
    }
}

impl Reconciliation {
    /// An error unless the run is held and its approval still holds; keeps it so until the commit.
    pub async fn approved(&mut self, run_id: &str) -> Result<(), StoreError> {
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.runs SET status = status WHERE id = $1 AND status = 'held' AND approved_until > {}",
            self.dialect.clock()
        ));
        match self.tx.execute(&sql, vec![Arg::text(run_id)]).await? {
            1 => Ok(()),
            _ => Err(StoreError::Lost(format!("the approval of run {run_id} does not hold any more"))),
        }
    }

    /// How many accounts of the source sweeps have deleted within 24 hours.
    pub async fn swept_lately(&mut self, source: &str) -> Result<u64, StoreError> {
        let sql = self.dialect.own(&format!(
            "SELECT CAST(count(*) AS text) AS swept FROM headcount.identities
             WHERE source = $1 AND deleted_by = 'sweep' AND version IS NOT NULL AND deletion_received_at > {}",
            self.dialect.began_plus_ms("$2")
        ));
        let rows = self.tx.fetch(&sql, vec![Arg::text(source), Arg::Int(-24 * 3_600_000)]).await?;
        only(rows, "identities")?.count("swept")
    }

    /// These deletions of the run's held set are done: of so many accounts, for the others were there again.
    pub async fn unhold(
        &mut self,
        run_id: &str,
        keys: &[IdentityKey],
        deleted: u64,
    ) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "DELETE FROM headcount.held_deletes WHERE run_id = $1
               AND (source, provider_id) IN (SELECT v.c1, v.c2 FROM {})",
            self.dialect.rows(2, 2)
        ));
        let rows = keys.iter().map(key_row).collect();
        self.tx.execute(&sql, vec![Arg::text(run_id), Arg::Rows(rows)]).await?;
        // With the deletions themselves, so that whoever goes on after a crash counts them as well.
        let count = self.dialect.own("UPDATE headcount.runs SET deleted = deleted + $2 WHERE id = $1");
        self.tx.execute(&count, vec![Arg::text(run_id), Arg::Int(deleted as i64)]).await?;
        Ok(())
    }
}
