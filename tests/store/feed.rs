//! The feed's numbers are of one history.

use super::support::{Backend, Db};
use crate::on_each_database;
use headcount::store::{DatabaseUrl, Store};
use sqlx::{AssertSqlSafe, Connection};

on_each_database!(a_database_that_was_put_in_anothers_place_begins_another_epoch);

async fn a_database_that_was_put_in_anothers_place_begins_another_epoch(db: Db) {
    let store = db.store().await;
    let epoch = store.feed(None, 10).await.unwrap().epoch;
    assert_eq!(epoch.len(), 16);
    assert_eq!(db.store().await.feed(None, 10).await.unwrap().epoch, epoch, "every process says the same");
    store.close().await;
    let restored = match db.backend {
        Backend::Sqlite => {
            let path = db.url.trim_start_matches("sqlite://");
            let (backup, first) = (format!("{path}.backup"), format!("{path}.first"));
            std::fs::copy(path, &backup).unwrap();
            std::fs::rename(path, first).unwrap();
            std::fs::rename(backup, path).unwrap();
            db.store().await
        }
        _ => {
            let (server, name) = db.direct.rsplit_once('/').unwrap();
            let mut admin = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
            // A pooler keeps its connections for the next client.
            let cut =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
            sqlx::raw_sql(AssertSqlSafe(cut)).execute(&mut admin).await.unwrap();
            let copy = format!("CREATE DATABASE {name}_copy TEMPLATE {name}");
            sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut admin).await.unwrap();
            Store::open(&DatabaseUrl::parse(&format!("{server}/{name}_copy")).unwrap()).await.unwrap()
        }
    };
    let after = restored.feed(None, 10).await.unwrap().epoch;
    assert_ne!(after, epoch);
    assert_eq!(restored.feed(None, 10).await.unwrap().epoch, after, "and stays with it");
    restored.close().await;
}
