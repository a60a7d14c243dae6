//! SQLite: one file, one writer, readers beside it. Several processes may share the file.

use super::dialect::Dialect;
use super::driver::{Access, Arg, Driver, Row, Tx};
use super::error::StoreError;
use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row as _, Sqlite, Transaction};
use std::path::Path;
use std::time::Duration;

const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const SCRUB_ATTEMPTS_MAX: u32 = 40;

pub(super) struct SqliteDriver {
    /// A single connection: writers of this process queue here, in order, and not in SQLite's busy loop.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteDriver {
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With NORMAL the last commits may be lost with the power, and an acknowledged delivery must not be.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            // What is deleted is overwritten with zeros: erased people must not be found in the file's free space.
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        let pool = |connections: u32| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let readers = pool(READERS_MAX).connect_lazy_with(options);
        Ok(Self { writer, readers })
    }
}

#[async_trait]
impl Driver for SqliteDriver {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn begin(&self, access: Access) -> Result<Box<dyn Tx>, StoreError> {
        let tx = match access {
            Access::Read => self.readers.begin().await?,
            Access::Write | Access::Decide => self.writer.begin_with("BEGIN IMMEDIATE").await?,
        };
        Ok(Box::new(SqliteTx(tx)))
    }

    /// The log holds what was written last: it goes into the file and is cut off. A reader may hold it for a moment.
    async fn scrub(&self) -> Result<(), StoreError> {
        for _ in 0..SCRUB_ATTEMPTS_MAX {
            let row = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.writer).await?;
            if row.try_get_unchecked::<i64, _>(0)? == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(StoreError::Unavailable(
            "a reader holds the database's log, which still has what was erased".to_owned(),
        ))
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

struct SqliteTx(Transaction<'static, Sqlite>);

fn query(sql: &str, args: Vec<Arg>) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for arg in args {
        query = match arg {
            Arg::Text(text) => query.bind(text),
            Arg::Int(number) => query.bind(number),
            Arg::Rows(rows) => query.bind(serde_json::json!(rows).to_string()),
        };
    }
    query
}

fn decode(row: &SqliteRow) -> Result<Row, StoreError> {
    // Unchecked: SQLite turns a number into its text by itself.
    (0..row.len()).map(|index| Ok(row.try_get_unchecked::<Option<String>, _>(index)?)).collect()
}

#[async_trait]
impl Tx for SqliteTx {
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        let rows = query(sql, args).fetch_all(&mut *self.0).await?;
        rows.iter().map(decode).collect()
    }

    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64, StoreError> {
        Ok(query(sql, args).execute(&mut *self.0).await?.rows_affected())
    }

    async fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        self.0.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}
