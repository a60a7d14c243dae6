//! A provider's own table: reached by SQL, and in the place of the API, whose questions it answers.

use super::ResyncError;
use crate::source::Source;
use crate::source::api_error::{ApiError, Malformed};
use crate::source::directory::{Answer, Transport};
use crate::source::http::Api;
use crate::store::{DatabaseUrl, StoreError, TableElsewhere, TableNames, TableShape};
use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::Mutex;
use url::form_urlencoded;

/// Connected to by the first question.
pub(super) struct SourceTable {
    url: DatabaseUrl,
    shape: TableShape,
    names: TableNames,
    sessions: TableShape,
    opened: Mutex<Option<Arc<TableElsewhere>>>,
}

/// The source's table in the place of its API; `None` where it has none, and is read through its API.
pub(super) fn table_of(source: &Source) -> Result<Option<Api>, ResyncError> {
    let (Some(transport), Some(table)) = (SourceTable::of(source)?, source.provider.table()) else {
        return Ok(None);
    };
    Ok(Some(Api::over(Arc::new(transport), table.directory)))
}

impl SourceTable {
    /// `None` where the source has no table of its own.
    pub(super) fn of(source: &Source) -> Result<Option<Self>, StoreError> {
        let (Some(access), Some(table)) = (&source.table, source.provider.table()) else { return Ok(None) };
        // What the configuration keeps or maps besides is read as well.
        let fields = source.keep.names();
        let shape = TableShape { table: table.name, key: table.key, version: table.version, fields };
        let sessions = TableShape {
            table: table.sessions.name,
            key: table.sessions.person,
            version: table.sessions.used_at,
            fields: Vec::new(),
        };
        let names = TableNames { table: access.table.clone(), columns: access.columns.clone() };
        let url = DatabaseUrl::parse(access.url.expose_secret())?;
        Ok(Some(Self { url, shape, names, sessions, opened: Mutex::default() }))
    }

    pub(super) async fn opened(&self) -> Result<Arc<TableElsewhere>, StoreError> {
        let mut opened = self.opened.lock().await;
        if let Some(table) = &*opened {
            return Ok(table.clone());
        }
        let table = TableElsewhere::open(&self.url, self.shape.clone(), self.names.clone()).await?;
        Ok(opened.insert(Arc::new(table)).clone())
    }

    /// The next question connects anew where this error says that the database is another one now.
    pub(super) async fn let_go_after(&self, error: &StoreError) {
        if matches!(error, StoreError::Replaced) {
            self.opened.lock().await.take();
        }
    }

    async fn answer(&self, path: &str) -> Result<Option<String>, TableError> {
        let answer = self.ask(path).await;
        if let Err(TableError::Store(error)) = &answer {
            self.let_go_after(error).await;
        }
        answer
    }

    async fn ask(&self, path: &str) -> Result<Option<String>, TableError> {
        let table = self.opened().await?;
        let (call, query) = path.split_once('?').unwrap_or((path, ""));
        let find = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        let number = |name: &str| find(name).and_then(|text| text.parse::<i64>().ok());
        if let (true, Some(id)) = (call.ends_with("/get-user"), find("id")) {
            // What the row says by its id decides, and so does its absence: that is the primary's to say.
            if table.is_standby().await? {
                return Err(TableError::Replica);
            }
            return Ok(table.row(&id).await?);
        }
        let limit = number("limit").unwrap_or(1);
        if let Some(since_ms) = number("activeSince") {
            let sessions = &self.sessions;
            return page(&[], table.active_since(sessions, since_ms).await?, limit).map(Some);
        }
        if limit == 1 {
            return page(&[], table.count().await?, limit).map(Some);
        }
        let rows = match find("sortBy").as_deref() {
            Some("id") => table.rows_after(find("filterValue").as_deref(), limit).await?,
            _ => table.newest(number("offset").unwrap_or(0), limit).await?,
        };
        // What is left is not counted for each page: where this one is full, there may be more.
        let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == limit);
        page(&rows, rows.len() as u64 + u64::from(is_full), limit).map(Some)
    }
}

/// As the API would answer.
fn page(rows: &[String], total: u64, limit: i64) -> Result<String, TableError> {
    let rows = rows.iter().map(|row| serde_json::from_str::<&RawValue>(row)).collect::<Result<Vec<_>, _>>();
    let rows = rows.and_then(|rows| serde_json::to_string(&rows)).map_err(Malformed::from)?;
    Ok(format!(r#"{{"users":{rows},"total":{total},"limit":{limit}}}"#))
}

#[async_trait]
impl Transport for SourceTable {
    async fn get(&self, path: &str) -> Result<Option<Answer>, ApiError> {
        let body = self.answer(path).await.map_err(ApiError::from)?;
        Ok(body.map(|body| Answer { body, total: None }))
    }
}

enum TableError {
    Store(StoreError),
    Malformed(Malformed),
    Replica,
}

impl From<StoreError> for TableError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Malformed> for TableError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<TableError> for ApiError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Replica => ApiError::Replica,
            TableError::Malformed(malformed) => ApiError::Malformed(malformed),
            TableError::Store(error) if error.is_transient() => ApiError::Unreachable(error.to_string()),
            TableError::Store(error) => ApiError::Database(error.to_string()),
        }
    }
}
