//! All SQL. Nobody else imports sqlx.
//!
//! `driver.rs` is the trait that two databases implement; `dialect.rs` is where their SQL differs; everything above is
//! written once, so that no behaviour can exist on one of them only.

mod accounts;
mod elsewhere;
mod engine;
mod inbox;
mod report;
mod runs;
mod schema;
mod users_table;

pub use accounts::adoption::{ADOPTED, Adopted, Mirrored};
pub use accounts::compare::{Known, KnownRange, RangeEnd};
pub use accounts::confirmations::{ABSENT, Confirmation, FirstReading, NewConfirmation, Open};
pub use accounts::erasure::Ended;
pub use accounts::held_values::{HELD_STATE, HeldGroup};
pub use accounts::linking::match_key;
pub use accounts::lookup::{AccountOfUser, NamedSource, RowlessAccount, UserRow};
pub use accounts::stripping::StoredBody;
pub use accounts::transaction::Reconciliation;
pub use accounts::types::{AccountWrite, AlteredValue, CausedChange, HeldValue, StoredAccount, StoredLatest};
pub use elsewhere::{
    OP_DELETE, OP_INSERT, OutboxNote, OutboxState, StandInPerson, StandInTable, TableElsewhere, TableNames,
    TableShape,
};
pub use engine::baseline::one_row_a_commit;
pub use engine::delivery::NewDelivery;
pub use engine::dialect::Dialect;
pub use engine::error::StoreError;
pub use engine::url::DatabaseUrl;
pub use inbox::accept::Acceptance;
pub use inbox::claimed::{Claimed, Finished, Pending};
pub use inbox::deliveries::{DeliveryFilter, Selection, StoredDelivery};
pub use report::addresses::{AddressConflict, AddressConflicts};
pub use report::explaining::AccountDetail;
pub use report::feed::{Feed, FeedEntry};
pub use report::status::{MissingField, RefusalCount, SourceReport, StatusReport};
pub use report::users::{IdentityView, UserFilter, UserView};
pub use runs::approvals::HeldSet;
pub use runs::counts::Counts;
pub(crate) use runs::counts::with_counts;
pub use runs::limiter::{Grant, LimiterReport};
pub use runs::postponed::Task;
pub use runs::run::{Ending, Run, run_lease};
pub use runs::sources::{OutboxPosition, SourceRow, SourceState};
pub use runs::switches::{RecordedSwitch, SwitchCounts};
pub use schema::migrate::{Migrated, Step};
pub use schema::migrations::own_table_names;
pub use users_table::{AdoptedTable, TheirCell, TheirColumn, UsersConfig, UsersTable};

use crate::core::layout::Layout;
use crate::nearest::nearest;
use crate::store::engine::row::Row;
use engine::driver::{Access, Arg, Driver, Tx};
use std::sync::{Arc, OnceLock};

/// The database, and the only way to it.
#[derive(Clone)]
pub struct Store {
    driver: Arc<dyn Driver>,
    users: Arc<UsersTable>,
    config: Arc<UsersConfig>,
    /// Once somebody needed it.
    erasure_key: Arc<OnceLock<String>>,
}

impl Store {
    /// Connects to headcount's own layout; see [`Store::open_on`].
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        Self::open_on(url, &UsersConfig::default()).await
    }

    /// Connects; a SQLite file is made where there is none. A users table that was there before headcount is checked
    /// against what the database says of it. The tables are [`Store::migrate`]'s business.
    pub async fn open_on(url: &DatabaseUrl, config: &UsersConfig) -> Result<Self, StoreError> {
        let opened: Result<Arc<dyn Driver>, StoreError> = match url {
            DatabaseUrl::Sqlite(path) => {
                engine::sqlite::SqliteDriver::open(path).await.map(|driver| Arc::new(driver) as _)
            }
            DatabaseUrl::Postgres { url, connections_max, .. } => {
                engine::postgres::PostgresDriver::open(url, *connections_max)
                    .await
                    .map(|driver| Arc::new(driver) as _)
            }
        };
        let driver = opened.map_err(|error| match error {
            StoreError::Unavailable(reason) => {
                StoreError::Unavailable(format!("{} cannot be opened: {reason}", url.redacted()))
            }
            StoreError::Setup(reason) => {
                StoreError::Setup(format!("{} cannot be used: {reason}", url.redacted()))
            }
            StoreError::Forbidden(reason) => {
                StoreError::Forbidden(format!("{} cannot be used: {reason}", url.redacted()))
            }
            other => other,
        })?;
        let users = Arc::new(UsersTable::own(driver.dialect(), config));
        let store = Self { driver, users, config: Arc::new(config.clone()), erasure_key: Arc::default() };
        match &config.adopted {
            None => Ok(store),
            Some(table) => store.adopt_table(config, table).await,
        }
    }

    async fn adopt_table(mut self, config: &UsersConfig, table: &AdoptedTable) -> Result<Self, StoreError> {
        let Some(catalog) = self.catalog(table).await? else {
            let (names, wanted) = (self.table_names().await?, table.display());
            let nearest = nearest(&names, &wanted);
            return Err(StoreError::Setup(format!(
                "`table` of [users] is {wanted}, and there is no such table here; {}",
                nearest.map_or("there is none at all".to_owned(), |name| format!("the nearest is {name}"))
            )));
        };
        self.users = Arc::new(UsersTable::adopted(self.dialect(), config, table, &catalog)?);
        Ok(self)
    }

    /// Opens new connections with the password of this URL, which is the same database's.
    pub fn connect_as(&self, url: &DatabaseUrl) -> Result<(), StoreError> {
        self.driver.connect_as(url)
    }

    /// Which columns there are, and who owns them.
    pub fn layout(&self) -> &Arc<Layout> {
        self.users.layout()
    }

    pub fn dialect(&self) -> Dialect {
        self.driver.dialect()
    }

    /// How many transactions may usefully decide at once: one decides while the database writes for another.
    pub fn appliers(&self) -> usize {
        match self.dialect() {
            Dialect::Postgres => 2,
            Dialect::Sqlite => 1,
        }
    }

    /// How many deliveries one transaction may apply: some tens of milliseconds of work, for which nothing is received where
    /// there is one writer.
    pub fn batch_max(&self) -> i64 {
        match self.dialect() {
            Dialect::Postgres => 300,
            Dialect::Sqlite => 200,
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
        self.driver.read(sql, args).await
    }

    /// One statement in a transaction of its own; the number of rows that were written.
    async fn write(&self, sql: &str, args: Vec<Arg>) -> Result<u64, StoreError> {
        let mut tx = self.begin(Access::Write).await?;
        let written = tx.execute(sql, args).await?;
        tx.commit().await?;
        Ok(written)
    }
}
