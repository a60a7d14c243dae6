//! One row a commit, over prepared statements where nobody is in between: what a webhook handler without an inbox's
//! batches would do at its best. A benchmark compares with it.

use crate::store::engine::direct::is_direct;
use crate::store::engine::error::StoreError;
use crate::store::engine::url::DatabaseUrl;
use crate::store::engine::{postgres, sqlite};
use sqlx::{ConnectOptions, Connection, Executor};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const DROP: &str = "DROP TABLE IF EXISTS headcount_bench_baseline";
const CREATE: &str =
    "CREATE TABLE headcount_bench_baseline (message_id text PRIMARY KEY, body text NOT NULL)";

/// Inserts rows with this body for so long, in a table of its own, which is gone afterwards. Rows a second.
///
/// SQLite has one writer, so further clients would only wait for each other there.
pub async fn one_row_a_commit(
    url: &DatabaseUrl,
    clients: usize,
    duration: Duration,
    body: &str,
) -> Result<f64, StoreError> {
    let clients = match url {
        DatabaseUrl::Postgres { .. } => clients,
        DatabaseUrl::Sqlite(_) => 1,
    };
    once(url, DROP).await?;
    once(url, CREATE).await?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (url, body) = (url.clone(), body.to_owned());
        tasks.spawn(async move { insert(&url, client, began + duration, &body).await });
    }
    let mut rows = 0;
    while let Some(inserted) = tasks.join_next().await {
        rows += inserted.map_err(|error| StoreError::Unavailable(error.to_string()))??;
    }
    let per_second = rows as f64 / began.elapsed().as_secs_f64();
    once(url, DROP).await?;
    Ok(per_second)
}

async fn once(url: &DatabaseUrl, sql: &'static str) -> Result<(), StoreError> {
    match url {
        DatabaseUrl::Postgres { url, .. } => {
            postgres::options(url)?.connect().await?.execute(sql).await?;
        }
        DatabaseUrl::Sqlite(path) => {
            sqlite::options(path).connect().await?.execute(sql).await?;
        }
    }
    Ok(())
}

async fn insert(url: &DatabaseUrl, client: usize, until: Instant, body: &str) -> Result<u64, StoreError> {
    const INSERT: &str = "INSERT INTO headcount_bench_baseline (message_id, body) VALUES ($1, $2) ON CONFLICT (message_id) DO NOTHING";
    let mut rows = 0;
    match url {
        DatabaseUrl::Postgres { url, .. } => {
            let options = postgres::options(url)?;
            let is_direct = is_direct(&options).await?;
            let mut connection = options.connect().await?;
            while Instant::now() < until {
                let id = format!("msg_{client}_{rows}");
                let insert = sqlx::query(INSERT).persistent(is_direct).bind(id).bind(body);
                if is_direct {
                    insert.execute(&mut connection).await?;
                } else {
                    let mut tx = connection.begin().await?;
                    insert.execute(&mut *tx).await?;
                    tx.commit().await?;
                }
                rows += 1;
            }
            connection.close().await?;
        }
        DatabaseUrl::Sqlite(path) => {
            let mut connection = sqlite::options(path).connect().await?;
            while Instant::now() < until {
                let id = format!("msg_{client}_{rows}");
                sqlx::query(INSERT).bind(id).bind(body.to_owned()).execute(&mut connection).await?;
                rows += 1;
            }
            connection.close().await?;
        }
    }
    Ok(rows)
}
