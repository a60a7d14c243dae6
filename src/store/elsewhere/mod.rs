//! A provider's own users table in a database of the application's: read, never written. The outbox beside it is.

mod catalog;
mod installation;
mod outbox;
mod rows;
mod stand_in;

pub use outbox::{OP_DELETE, OP_INSERT, OutboxNote, OutboxState};
pub use stand_in::{StandInPerson, StandInTable};

use crate::store::engine::driver::{Arg, Driver};
use crate::store::engine::error::StoreError;
use crate::store::engine::postgres::PostgresDriver;
use crate::store::engine::row::{Row, only};
use crate::store::engine::sqlite::SqliteDriver;
use crate::store::engine::url::DatabaseUrl;
use catalog::FoundTable;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// For reading alone: pages one after the other, and single rows beside them.
const CONNECTIONS: u32 = 2;

/// What a table of this kind is called, and what its columns are called, unless something else is configured.
#[derive(Clone, Debug)]
pub struct TableShape {
    pub table: &'static str,
    /// The column that tells its rows apart.
    pub key: &'static str,
    /// The column that has the time of a row's last change.
    pub version: &'static str,
    /// What is read of a row, where it is there.
    pub fields: Vec<String>,
}

/// What it is called here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableNames {
    /// With its schema, where that is not the first on the search path.
    pub table: Option<String>,
    /// Columns by the names of their fields, where they are neither those names nor the same in snake case.
    pub columns: BTreeMap<String, String>,
}

/// A users table elsewhere.
pub struct TableElsewhere {
    driver: Arc<dyn Driver>,
    shape: TableShape,
    names: TableNames,
    /// As the catalog last had it. Looked up anew where a statement fails: somebody may have renamed a column meanwhile.
    found: Mutex<Option<Arc<FoundTable>>>,
}

impl TableElsewhere {
    /// Connects. A SQLite file that is not there is an error, and nothing is made.
    pub async fn open(url: &DatabaseUrl, shape: TableShape, names: TableNames) -> Result<Self, StoreError> {
        let driver: Arc<dyn Driver> = match url {
            DatabaseUrl::Sqlite(path) => Arc::new(SqliteDriver::open_foreign(path).await?),
            DatabaseUrl::Postgres { url, .. } => Arc::new(PostgresDriver::open(url, CONNECTIONS).await?),
        };
        Ok(Self { driver, shape, names, found: Mutex::default() })
    }

    /// Rows in the order of their keys, behind this one: each as a JSON object of its fields.
    pub async fn rows_after(&self, key: Option<&str>, limit: i64) -> Result<Vec<String>, StoreError> {
        self.rows(|table| table.rows_after(key, limit)).await
    }

    /// Rows that were changed last, the latest first.
    pub async fn newest(&self, offset: i64, limit: i64) -> Result<Vec<String>, StoreError> {
        self.rows(|table| table.newest(offset, limit)).await
    }

    pub async fn row(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.rows(|table| table.row(key)).await?.pop())
    }

    pub async fn count(&self) -> Result<u64, StoreError> {
        let counted = self.rows(FoundTable::count).await?;
        let count = counted.first().and_then(|count| count.parse().ok());
        count.ok_or_else(|| StoreError::Setup("the table cannot be counted".to_owned()))
    }

    /// How many people have used a session since then, in milliseconds since 1970: by a table in the same schema.
    pub async fn active_since(&self, sessions: &TableShape, since_ms: i64) -> Result<u64, StoreError> {
        let schema = self.names.table.as_deref().and_then(|table| table.rsplit_once('.'));
        let table = schema.map(|(schema, _)| format!("{schema}.{}", sessions.table));
        let names = TableNames { table, columns: BTreeMap::new() };
        let found = FoundTable::look_up(&*self.driver, sessions, &names).await?;
        let (sql, args) = found.keys_since(since_ms);
        only(self.driver.read(&sql, args).await?, "sessions elsewhere")?.count("count")
    }

    /// Those of the ids that a row of this table cannot have, by the type of its key; and that type.
    pub async fn unfit_keys<'a>(&self, ids: &'a [String]) -> Result<(Vec<&'a String>, String), StoreError> {
        let table = FoundTable::look_up(&*self.driver, &self.shape, &self.names).await?;
        let unfit = ids.iter().filter(|id| !table.may_have_key(id)).collect();
        Ok((unfit, table.key.declared))
    }

    /// Whether a row that is not there may only not be there yet.
    pub async fn is_standby(&self) -> Result<bool, StoreError> {
        let Some(sql) = self.driver.dialect().is_standby() else { return Ok(false) };
        Ok(only(self.driver.read(sql, vec![]).await?, "settings")?.text("is_standby")? == "true")
    }

    async fn rows(
        &self,
        statement: impl Fn(&FoundTable) -> (String, Vec<Arg>),
    ) -> Result<Vec<String>, StoreError> {
        self.rows_as(statement).await?.into_iter().map(|row| row.of("users elsewhere").text("row")).collect()
    }

    async fn rows_as(
        &self,
        statement: impl Fn(&FoundTable) -> (String, Vec<Arg>),
    ) -> Result<Vec<Row>, StoreError> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(table) = known {
            let (sql, args) = statement(&table);
            match self.driver.read(&sql, args).await {
                Err(StoreError::Setup(_)) => {}
                result => return result,
            }
        }
        let table = Arc::new(FoundTable::look_up(&*self.driver, &self.shape, &self.names).await?);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(table.clone());
        let (sql, args) = statement(&table);
        self.driver.read(&sql, args).await
    }
}
