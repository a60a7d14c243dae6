//! Claiming: the deliveries that wait, with their bodies.

use crate::core::timestamp::Timestamp;
use crate::store::accounts::codec::instant;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::claimed::Pending;
use crate::store::inbox::deliveries::{number, take};
use std::collections::HashMap;

/// Bodies that one transaction takes into memory; a single larger one is taken all the same.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A body up to this size comes with its claim.
const SMALL_BODY_BYTES: usize = 16 * 1024;

impl Reconciliation {
    /// Up to `limit` deliveries of the named sources whose time has come and which nobody else has claimed; fewer where
    /// their bodies are large.
    pub async fn claim(&mut self, sources: &[String], limit: i64) -> Result<Vec<Pending>, StoreError> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let sources = sources.iter().map(|name| vec![Some(name.clone())]).collect();
        let rows = self.tx.fetch(&waiting(self.dialect), vec![Arg::Int(limit), Arg::Rows(sources)]).await?;
        let mut bytes = 0;
        let mut claimed: Vec<Pending> = rows
            .into_iter()
            .map(pending)
            .take_while(|(_, body_bytes)| {
                let first = bytes == 0;
                bytes += body_bytes;
                first || bytes <= BATCH_BYTES_MAX
            })
            .map(|(pending, _)| pending)
            .collect();
        claimed.sort_by_key(|pending| pending.seq);
        self.load_bodies(&mut claimed).await?;
        Ok(claimed)
    }

    /// Those that were too large to come along.
    async fn load_bodies(&mut self, claimed: &mut [Pending]) -> Result<(), StoreError> {
        let large: Vec<&mut Pending> = claimed.iter_mut().filter(|pending| pending.body.is_empty()).collect();
        if large.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "SELECT CAST(d.seq AS text), d.body FROM headcount.deliveries d JOIN {} ON d.seq = CAST(v.c1 AS bigint)",
            self.dialect.rows(1, 1)
        ));
        let seqs = large.iter().map(|pending| vec![Some(pending.seq.to_string())]).collect();
        let rows = self.tx.fetch(&sql, vec![Arg::Rows(seqs)]).await?;
        let mut bodies: HashMap<i64, String> = rows
            .into_iter()
            .map(|row| {
                let [seq, body] = take(row);
                (number(seq), body.unwrap_or_default())
            })
            .collect();
        for pending in large {
            pending.body = bodies.remove(&pending.seq).unwrap_or_default();
        }
        Ok(())
    }
}

/// From what waits to what came, for only the index of what waits stays small: `|| ''` keeps planners from the one on the
/// source.
fn waiting(dialect: Dialect) -> String {
    let states = "headcount.delivery_states s";
    dialect.own(&format!(
        "SELECT CAST(s.seq AS text), d.source, d.message_id, d.event_type, d.provider_id, {}, CAST(s.attempts AS text),
                CASE WHEN s.approved THEN '1' ELSE '0' END, CAST(octet_length(d.body) AS text),
                CASE WHEN octet_length(d.body) <= {SMALL_BODY_BYTES} THEN d.body END,
                CAST(({} - {}) / 1000 AS text)
         FROM {}
         WHERE s.status = 'pending' AND s.next_attempt_at <= {} AND {}
         ORDER BY s.next_attempt_at, s.seq LIMIT $1 {}",
        dialect.timestamp_text("d.received_at"),
        dialect.clock_us(),
        dialect.epoch_us("d.received_at"),
        dialect.each_row(states, "headcount.deliveries", "d", "seq", "s.seq"),
        dialect.began(),
        dialect.is_among("d.source || ''", 2),
        dialect.lock_rows_of("s")
    ))
}

/// The delivery, its body still to be loaded where it is large, and the body's size in bytes.
pub(in crate::store) fn pending(row: Row) -> (Pending, usize) {
    let [
        seq,
        source,
        message_id,
        event_type,
        provider_id,
        received_at,
        attempts,
        approved,
        body_bytes,
        body,
        waited_ms,
    ] = take(row);
    let pending = Pending {
        seq: number(seq),
        source: source.unwrap_or_default(),
        message_id: message_id.unwrap_or_default(),
        event_type: event_type.unwrap_or_default(),
        provider_id,
        received_at: instant(received_at).unwrap_or(Timestamp::clamped(0)),
        waited_ms: number(waited_ms).try_into().unwrap_or(0),
        body: body.unwrap_or_default(),
        attempts: number(attempts).try_into().unwrap_or(0),
        approved: approved.as_deref() == Some("1"),
    };
    (pending, number(body_bytes).try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DatabaseUrl, Store};

    /// PostgreSQL is given the order; SQLite chooses it, and could as well begin with all of a source's deliveries.
    #[tokio::test]
    async fn what_waits_is_looked_for_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&DatabaseUrl::Sqlite(folder.path().join("claim.db"))).await.unwrap();
        store.migrate(None).await.unwrap();
        let explained = format!("EXPLAIN QUERY PLAN {}", waiting(Dialect::Sqlite));
        let args = vec![Arg::Int(1), Arg::Rows(vec![vec![Some("clerk".to_owned())]])];
        let plan: Vec<String> = store
            .read(&explained, args)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|row| row.rest().nth(3).flatten())
            .collect();
        assert!(plan[0].contains("headcount_delivery_states_pending"), "{plan:?}");
        assert!(plan[1].contains("d USING INTEGER PRIMARY KEY"), "{plan:?}");
        store.close().await;
    }
}
