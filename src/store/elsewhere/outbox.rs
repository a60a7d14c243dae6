//! The outbox beside a users table elsewhere: triggers note whose row has changed, and headcount takes the notes away once
//! they are in its inbox. It holds ids and kinds of change, never content.

use super::catalog::FoundTable;
use super::{TableElsewhere, installation};
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};
use crate::store::runs::sources::OutboxPosition;

/// What a note says of an id that is in the table no more.
pub const OP_DELETE: &str = "delete";
/// What a note says of an id that was not in the table before.
pub const OP_INSERT: &str = "insert";

/// That somebody's row was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxNote {
    pub seq: i64,
    pub provider_id: String,
    /// [`OP_INSERT`], [`OP_DELETE`], or an update, whatever it is called.
    pub op: String,
    /// When, in RFC 3339.
    pub at: String,
}

/// How an outbox stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxState {
    /// Notes that wait, of which a million are counted at most.
    pub waiting: u64,
    pub oldest_age_ms: Option<i64>,
    /// Changes that the trigger could not note. The application's own writes went through.
    pub failures: u64,
    pub last_failure: Option<String>,
    /// As [`TableElsewhere::is_concurrent`] says.
    pub is_concurrent: bool,
}

/// A count of more would take long, and says nothing more.
const WAITING_COUNT_MAX: u64 = 1_000_000;
/// Notes that one statement takes away.
const FORGOTTEN_AT_ONCE: usize = 100;

impl TableElsewhere {
    pub async fn has_outbox(&self) -> Result<bool, StoreError> {
        let dialect = self.driver.dialect();
        let table = installation::outbox(dialect);
        let columns = self.driver.read(dialect.columns_of_table(), vec![Arg::text(table)]).await?;
        Ok(!columns.is_empty())
    }

    /// Whether readers and the application's writer get out of each other's way: on SQLite, in WAL mode.
    pub async fn is_concurrent(&self) -> Result<bool, StoreError> {
        match self.driver.dialect() {
            Dialect::Postgres => Ok(true),
            Dialect::Sqlite => {
                let sql = "SELECT journal_mode FROM pragma_journal_mode";
                Ok(only(self.driver.read(sql, vec![]).await?, "settings")?.text("journal_mode")? == "wal")
            }
        }
    }

    /// Whether notes are numbered in the order of their commits, as where there is one writer: what lies behind a note is
    /// new then. Elsewhere a transaction that commits late adds lower numbers than are gone already.
    pub fn is_in_order_of_commits(&self) -> bool {
        self.driver.dialect() == Dialect::Sqlite
    }

    /// The oldest notes behind this number. Nobody is locked.
    pub async fn notes_after(&self, seq: i64, limit: i64) -> Result<Vec<OutboxNote>, StoreError> {
        let dialect = self.driver.dialect();
        // By the number, and not by the text that it is read as.
        let sql = format!(
            "SELECT CAST(o.seq AS text) AS seq, o.user_id, o.op, {} AS at FROM {} o WHERE o.seq > $1 ORDER BY o.seq LIMIT $2",
            at_text(dialect),
            installation::outbox(dialect)
        );
        let note = |row: Row| {
            let mut row = row.of("headcount_outbox");
            let (seq, provider_id) = (row.int("seq")?, row.text("user_id")?);
            Ok(OutboxNote { seq, provider_id, op: row.text("op")?, at: row.text("at")? })
        };
        self.driver.read(&sql, vec![Arg::Int(seq), Arg::Int(limit)]).await?.into_iter().map(note).collect()
    }

    /// Which life of the outbox its numbers are of: another one after it was made anew, and after its database was restored,
    /// copied or made from a dump.
    pub async fn outbox_epoch(&self) -> Result<String, StoreError> {
        let dialect = self.driver.dialect();
        let now = self.driver.fingerprint(installation::outbox(dialect)).await?;
        if let Some(epoch) = self.epoch_in(&now).await? {
            return Ok(epoch);
        }
        let sql = format!(
            "UPDATE {} SET epoch = CASE WHEN made_in IS NULL THEN epoch ELSE {} END, made_in = $1
             WHERE made_in IS NULL OR made_in <> $1",
            installation::state(dialect),
            dialect.fresh_epoch()
        );
        let mut tx = self.driver.begin(Access::Write).await?;
        tx.execute(&sql, vec![Arg::text(&now)]).await?;
        tx.commit().await?;
        let epoch = self.epoch_in(&now).await?;
        epoch.ok_or_else(|| StoreError::Unavailable("the outbox's epoch is being changed".to_owned()))
    }

    /// The epoch, where it began in the database with this fingerprint.
    async fn epoch_in(&self, fingerprint: &str) -> Result<Option<String>, StoreError> {
        let state = installation::state(self.driver.dialect());
        let sql = format!("SELECT epoch, made_in FROM {state}");
        let mut row = only(self.driver.read(&sql, vec![]).await?, "headcount_outbox_state")?;
        let is_here = row.opt_text("made_in")?.as_deref() == Some(fingerprint);
        Ok(Some(row.text("epoch")?).filter(|_| is_here))
    }

    /// The rows of these keys that are there: key and JSON object.
    pub async fn rows_of(&self, keys: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let keys = serde_json::json!(keys).to_string();
        let pair = |row: Row| {
            let mut row = row.of("users elsewhere");
            Ok((row.text("key")?, row.text("row")?))
        };
        self.rows_as(|table: &FoundTable| table.rows_of(&keys)).await?.into_iter().map(pair).collect()
    }

    /// Takes notes away, by their numbers. Each statement is short, so that the application's writer waits for none of them.
    pub async fn forget(&self, notes: &[i64]) -> Result<(), StoreError> {
        for step in notes.chunks(FORGOTTEN_AT_ONCE) {
            let numbers: Vec<String> = step.iter().map(i64::to_string).collect();
            self.forget_where(&format!("seq IN ({})", numbers.join(", "))).await?;
        }
        Ok(())
    }

    /// Takes the oldest notes away, up to this number; whether one of them may be left.
    pub async fn forget_up_to(&self, seq: i64) -> Result<bool, StoreError> {
        let outbox = installation::outbox(self.driver.dialect());
        let oldest =
            format!("SELECT seq FROM {outbox} WHERE seq <= {seq} ORDER BY seq LIMIT {FORGOTTEN_AT_ONCE}");
        let forgotten = self.forget_where(&format!("seq IN ({oldest})")).await?;
        Ok(forgotten >= FORGOTTEN_AT_ONCE as u64)
    }

    async fn forget_where(&self, condition: &str) -> Result<u64, StoreError> {
        let sql = format!("DELETE FROM {} WHERE {condition}", installation::outbox(self.driver.dialect()));
        let mut tx = self.driver.begin(Access::Write).await?;
        let forgotten = tx.execute(&sql, vec![]).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    /// Whether a note of this number or an earlier one lies there.
    pub async fn has_notes_up_to(&self, seq: i64) -> Result<bool, StoreError> {
        let outbox = installation::outbox(self.driver.dialect());
        let sql = format!("SELECT CAST(seq AS text) AS seq FROM {outbox} WHERE seq <= $1 LIMIT 1");
        Ok(!self.driver.read(&sql, vec![Arg::Int(seq)]).await?.is_empty())
    }

    /// `None` where there is no outbox. What lies before the position was taken already.
    pub async fn outbox_state(
        &self,
        drained: Option<&OutboxPosition>,
    ) -> Result<Option<OutboxState>, StoreError> {
        if !self.has_outbox().await? {
            return Ok(None);
        }
        let dialect = self.driver.dialect();
        let (outbox, state) = (installation::outbox(dialect), installation::state(dialect));
        let age = match dialect {
            Dialect::Postgres => "extract(epoch FROM clock_timestamp() - at) * 1000",
            Dialect::Sqlite => "(julianday('now') - julianday(at)) * 86400000",
        };
        let waits = "seq > CASE WHEN s.epoch = $1 THEN $2 ELSE -1 END";
        let sql = format!(
            "SELECT (SELECT CAST(count(*) AS text) FROM (SELECT 1 FROM {outbox} WHERE {waits} LIMIT {WAITING_COUNT_MAX}) AS n) AS waiting,
                 (SELECT CAST(CAST({age} AS bigint) AS text) FROM {outbox} WHERE {waits} ORDER BY seq LIMIT 1) AS age,
                 CAST(failures AS text) AS failures, last_failure FROM {state} s"
        );
        let (epoch, seq) = drained.map_or(("", 0), |drained| (drained.epoch.as_str(), drained.seq));
        let args = vec![Arg::text(epoch), Arg::Int(seq)];
        let mut row = only(self.driver.read(&sql, args).await?, "headcount_outbox_state")?;
        Ok(Some(OutboxState {
            waiting: row.count("waiting")?,
            oldest_age_ms: row.opt_int("age")?,
            failures: row.count("failures")?,
            last_failure: row.opt_text("last_failure")?,
            is_concurrent: self.is_concurrent().await?,
        }))
    }

    /// Takes so many failures of the trigger off the count: what they could not note was found.
    pub async fn forgive_failures(&self, count: u64) -> Result<(), StoreError> {
        let state = installation::state(self.driver.dialect());
        let sql = format!("UPDATE {state} SET failures = failures - $1 WHERE failures >= $1");
        let mut tx = self.driver.begin(Access::Write).await?;
        tx.execute(&sql, vec![Arg::Int(i64::try_from(count).unwrap_or(i64::MAX))]).await?;
        tx.commit().await
    }

    /// The statements that make the outbox beside this table, or do it again where the table has changed.
    pub async fn outbox_installation(&self) -> Result<String, StoreError> {
        let table = FoundTable::look_up(&*self.driver, &self.shape, &self.names).await?;
        Ok(installation::install(&table))
    }

    /// The statements that take the outbox away, with whatever waits in it.
    pub async fn outbox_removal(&self) -> Result<String, StoreError> {
        let table = FoundTable::look_up(&*self.driver, &self.shape, &self.names).await?;
        Ok(installation::uninstall(&table))
    }

    /// Runs such statements, in one transaction.
    pub async fn run_script(&self, script: &str) -> Result<(), StoreError> {
        let mut tx = self.driver.begin(Access::Write).await?;
        tx.script(script).await?;
        tx.commit().await
    }
}

fn at_text(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        Dialect::Sqlite => "at",
    }
}
