//! PostgreSQL, direct or behind a transaction-mode pooler.
//!
//! Every statement runs unnamed inside of an explicit transaction: behind such a pooler a named statement, or one
//! outside of a transaction, may meet another client's server connection.

use super::dialect::Dialect;
use super::driver::{Access, Arg, Driver, Row, Tx, width};
use super::error::StoreError;
use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Postgres, Row as _, Transaction};
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// Connections of one process at the most.
const CONNECTIONS_MAX: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct PostgresDriver(PgPool);

impl PostgresDriver {
    /// Connects once, so that a wrong address is told now.
    pub(super) async fn open(url: &Url) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url.as_str())
            .map_err(|error| StoreError::Setup(format!("the database URL cannot be used: {error}")))?
            // A start-up parameter that poolers refuse.
            .extra_float_digits(None)
            .application_name("headcount")
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        Ok(Self(pool))
    }
}

#[async_trait]
impl Driver for PostgresDriver {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn begin(&self, access: Access) -> Result<Box<dyn Tx>, StoreError> {
        // Without statistics yet, which is how a table looks after a first run, five hundred rows by their ids are thought
        // to be worth compiling for: longer than reading them.
        let statement = match access {
            Access::Read => "BEGIN READ ONLY; SET LOCAL jit = off",
            // A database or a role may have it off by default; an acknowledged delivery must be on disk.
            Access::Write => "BEGIN; SET LOCAL synchronous_commit = on",
            // The application's own transaction may hold a name or an account for as long as it likes.
            Access::Decide => {
                "BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = 2000; SET LOCAL jit = off"
            }
        };
        // Connections that a restart of the server has cut are met here, before anything was sent: the pool drops
        // each as it fails. Testing them before every use would cost a round trip.
        let mut attempts = 1;
        loop {
            match self.0.begin_with(statement).await {
                Ok(tx) => return Ok(Box::new(PostgresTx(tx))),
                Err(sqlx::Error::Io(_)) if attempts <= CONNECTIONS_MAX => attempts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Nothing of ours to do: VACUUM, the write-ahead log and the backups are its operator's.
    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

struct PostgresTx(Transaction<'static, Postgres>);

fn query(sql: &str, args: Vec<Arg>) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
    for arg in args {
        query = match arg {
            Arg::Text(text) => query.bind(text),
            Arg::Int(number) => query.bind(number),
            Arg::Rows(rows) => {
                let mut columns = vec![Vec::with_capacity(rows.len()); width(&rows)];
                for row in rows {
                    for (column, cell) in columns.iter_mut().zip(row) {
                        column.push(cell);
                    }
                }
                columns.into_iter().fold(query, |query, column| query.bind(column))
            }
        };
    }
    query
}

fn decode(row: &PgRow) -> Result<Row, StoreError> {
    (0..row.len()).map(|index| Ok(row.try_get::<Option<String>, _>(index)?)).collect()
}

#[async_trait]
impl Tx for PostgresTx {
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
