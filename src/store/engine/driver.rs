//! What the store needs of a database: transactions that run statements over texts. Two implementations, no more.
//!
//! Every value travels as text (a column's canonical form), so one statement and one decoding serve both databases;
//! what differs in SQL is in [`super::dialect`].
//!
//! The time: a driver has no method for it. Statements ask the database by themselves, with the expressions of
//! [`Dialect::clock`] (this moment), [`Dialect::began`] (the transaction's beginning) and those that add to them, and what
//! the database answers is the time of marks, leases, limits and due dates. A process's own clock (`crate::clock`) is never
//! compared with it. So a driver with a simulated time cannot be written behind this trait alone: the expressions are the
//! engine's own functions. It needs an engine that lets these functions be replaced, or a dialect whose expressions read
//! the time from the connection. Ids that a column's default makes and the erasure key are the engine's as well.

use crate::store::engine::delivery::NewDelivery;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};
use crate::store::engine::url::DatabaseUrl;
use async_trait::async_trait;

/// A row of a parameter: every column as text in its canonical form, null as `None`.
pub type Values = Vec<Option<String>>;

/// A parameter. [`Arg::Rows`] comes last in a statement and is read by [`Dialect::rows`].
#[derive(Clone, Debug)]
pub enum Arg {
    Text(Option<String>),
    Int(i64),
    /// Equally long rows, at least one, for statements over many at once.
    Rows(Vec<Values>),
    /// No row of so many columns, for asking whether such a statement is let in at all.
    NoRows(usize),
}

impl Arg {
    pub fn text(text: impl Into<String>) -> Self {
        Arg::Text(Some(text.into()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    /// The commit of such a transaction is durable once it has returned.
    Write,
    /// As [`Access::Write`], and it waits for nobody's lock longer than so many milliseconds: [`StoreError::LockTimeout`].
    Decide {
        lock_wait_ms: u32,
    },
}

/// A pool of connections to one database.
#[async_trait]
pub trait Driver: Send + Sync {
    fn dialect(&self) -> Dialect;
    async fn begin(&self, access: Access) -> Result<Box<dyn Tx>, StoreError>;
    /// One statement that only reads.
    async fn read(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let rows = tx.fetch(sql, args).await?;
        tx.commit().await?;
        Ok(rows)
    }
    /// Stores deliveries in one commit, which is durable once this has returned: source and message id of those that were
    /// new, `None` where all were. What every delivery waits for, so each database has its own way.
    async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Option<Vec<(String, String)>>, StoreError>;
    /// Has the files forget what rows have forgotten.
    async fn scrub(&self) -> Result<(), StoreError>;
    /// What tells this database, and this table in it, from the same restored somewhere, or from a dump, or to a time that is
    /// over.
    async fn fingerprint(&self, table: &str) -> Result<String, StoreError>;

    /// Opens new connections as this URL has it: the same database, with another password.
    fn connect_as(&self, _url: &DatabaseUrl) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether a write could begin now; the error says why not. Nothing is written.
    async fn takes_writes(&self) -> Result<(), StoreError> {
        let sql = "SELECT current_setting('transaction_read_only') AS is_read_only";
        let mut tx = self.begin(Access::Write).await?;
        let is_read_only = only(tx.fetch(sql, vec![]).await?, "settings")?.text("is_read_only")?;
        tx.rollback().await?;
        match &*is_read_only {
            "off" => Ok(()),
            _ => Err(StoreError::ReadOnly("a replica, or default_transaction_read_only is on".to_owned())),
        }
    }

    /// Waits for what is running, then closes every connection.
    async fn close(&self);
}

/// An open transaction. Dropped, it is rolled back.
#[async_trait]
pub trait Tx: Send {
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, StoreError>;
    /// The number of rows that were written.
    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64, StoreError>;
    /// Several statements without parameters.
    async fn script(&mut self, sql: &str) -> Result<(), StoreError>;
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
    /// Returns once the locks are given back; a transaction that is only dropped gives them back a moment later.
    async fn rollback(self: Box<Self>) -> Result<(), StoreError>;
}

/// Columns of [`Arg::Rows`]: how many there are in each row.
pub(in crate::store) fn width(rows: &[Values]) -> usize {
    let width = rows.first().map_or(0, Vec::len);
    debug_assert!(rows.iter().all(|row| row.len() == width), "rows of one width");
    width
}
