//! All SQL. Nobody else imports sqlx.
//!
//! `driver.rs` is the trait that two databases implement; `dialect.rs` is where their SQL differs; everything above is
//! written once, so that no behaviour can exist on one of them only.

mod codec;
mod compare;
mod confirmations;
mod dialect;
mod driver;
mod error;
mod held;
mod inbox;
mod limiter;
mod loss;
mod migrate;
mod postgres;
mod reconciliation;
mod reports;
mod runs;
mod sources;
mod sqlite;
mod url;
mod users_table;

pub use compare::{Known, RangeEnd, expected_row};
pub use confirmations::{ABSENT, Confirmation, FirstReading, NewConfirmation, Open};
pub use dialect::Dialect;
pub use error::StoreError;
pub use inbox::{Acceptance, DeliveryFilter, NewDelivery, Selection, StoredDelivery};
pub use limiter::{Grant, LimiterReport};
pub use migrate::{Migrated, Step};
pub use reconciliation::{
    AccountWrite, CausedChange, Finished, Locked, Pending, Reconciliation, StoredLatest, UserWrite,
};
pub use reports::{IdentityView, MissingField, Refusal, SourceReport, StatusReport, UserFilter, UserView};
pub use runs::{Counts, Ending, Mode, Run, run_lease};
pub use sources::SourceRow;
pub use url::DatabaseUrl;
pub use users_table::UsersTable;

use driver::{Access, Arg, Driver, Row, Tx};
use std::sync::Arc;

/// The database, and the only way to it.
#[derive(Clone)]
pub struct Store {
    driver: Arc<dyn Driver>,
    users: Arc<UsersTable>,
}

impl Store {
    /// Connects; a SQLite file is made where there is none. The tables are [`Store::migrate`]'s business.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let opened: Result<Arc<dyn Driver>, StoreError> = match url {
            DatabaseUrl::Sqlite(path) => {
                sqlite::SqliteDriver::open(path).await.map(|driver| Arc::new(driver) as _)
            }
            DatabaseUrl::Postgres(url) => {
                postgres::PostgresDriver::open(url).await.map(|driver| Arc::new(driver) as _)
            }
        };
        let driver = opened.map_err(|error| match error {
            StoreError::Unavailable(reason) => {
                StoreError::Unavailable(format!("{} cannot be opened: {reason}", url.redacted()))
            }
            StoreError::Setup(reason) => {
                StoreError::Setup(format!("{} cannot be used: {reason}", url.redacted()))
            }
            other => other,
        })?;
        Ok(Self::with_driver(driver))
    }

    fn with_driver(driver: Arc<dyn Driver>) -> Self {
        let users = Arc::new(UsersTable::new(driver.dialect()));
        Self { driver, users }
    }

    pub fn dialect(&self) -> Dialect {
        self.driver.dialect()
    }

    /// How many transactions may usefully write at once: one prepares while another's commit waits for the disk.
    pub fn writers(&self) -> usize {
        match self.dialect() {
            Dialect::Postgres => 2,
            Dialect::Sqlite => 1,
        }
    }

    pub fn users_table(&self) -> &UsersTable {
        &self.users
    }

    /// Waits for what is running, then closes the connections.
    pub async fn close(&self) {
        self.driver.close().await;
    }

    async fn begin(&self, access: Access) -> Result<Box<dyn Tx>, StoreError> {
        self.driver.begin(access).await
    }

    async fn read(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let rows = tx.fetch(sql, args).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// One statement in a transaction of its own; the number of rows that were written.
    async fn write(&self, sql: &str, args: Vec<Arg>) -> Result<u64, StoreError> {
        let mut tx = self.begin(Access::Write).await?;
        let written = tx.execute(sql, args).await?;
        tx.commit().await?;
        Ok(written)
    }
}
