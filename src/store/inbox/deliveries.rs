//! The inbox: deliveries as they lie there, and what becomes of them.

use crate::core::columns::ColumnType;
use crate::core::retention;
use crate::store::Store;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;

/// Rows that housekeeping touches in one transaction.
const PRUNE_ROWS_MAX: i64 = 500;

/// A delivery as it lies in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    pub seq: i64,
    pub source: String,
    pub message_id: String,
    pub event_type: String,
    pub provider_id: Option<String>,
    pub occurred_at: Option<String>,
    pub signed_at: String,
    pub signature: String,
    pub received_at: String,
    pub body: Option<String>,
    pub status: String,
    pub attempts: i64,
    pub next_attempt_at: Option<String>,
    pub last_error: Option<String>,
    pub finished_at: Option<String>,
}

/// Which deliveries to list, newest first unless `oldest_first`.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub status: Option<String>,
    pub source: Option<String>,
    pub provider_id: Option<String>,
    /// Only those after this `seq` (before it, where the newest come first).
    pub beyond: Option<i64>,
    pub oldest_first: bool,
    pub limit: i64,
}

/// Which dead letters and held deliveries an operator means.
#[derive(Clone, Debug)]
pub enum Selection {
    Seqs(Vec<i64>),
    /// All with this status.
    Status(String),
}

impl Selection {
    fn is_empty(&self) -> bool {
        matches!(self, Selection::Seqs(seqs) if seqs.is_empty())
    }
}

impl Store {
    /// Deliveries that match; bodies only where `bodies` says so.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        bodies: bool,
    ) -> Result<Vec<StoredDelivery>, StoreError> {
        let (direction, compare) = if filter.oldest_first { ("ASC", ">") } else { ("DESC", "<") };
        let sql = self.dialect().own(&format!(
            "SELECT {} FROM headcount.inbox d
             WHERE ($1 = '' OR status = $1) AND ($2 = '' OR source = $2) AND ($3 = '' OR provider_id = $3)
               AND ($4 = 0 OR seq {compare} $4)
             ORDER BY d.seq {direction} LIMIT $5",
            self.delivery_columns(bodies)
        ));
        let text = |value: &Option<String>| Arg::text(value.as_deref().unwrap_or_default());
        let args = vec![
            text(&filter.status),
            text(&filter.source),
            text(&filter.provider_id),
            Arg::Int(filter.beyond.unwrap_or(0)),
            Arg::Int(filter.limit),
        ];
        let rows = self.read(&sql, args).await?;
        Ok(rows.into_iter().map(stored).collect())
    }

    /// One delivery with its body.
    pub async fn delivery(&self, seq: i64) -> Result<Option<StoredDelivery>, StoreError> {
        let sql = self
            .dialect()
            .own(&format!("SELECT {} FROM headcount.inbox d WHERE seq = $1", self.delivery_columns(true)));
        let rows = self.read(&sql, vec![Arg::Int(seq)]).await?;
        Ok(rows.into_iter().next().map(stored))
    }

    /// `(message id, status, seq)` of those of the messages that are in the inbox.
    pub async fn statuses(
        &self,
        source: &str,
        ids: &[String],
    ) -> Result<Vec<(String, String, i64)>, StoreError> {
        let dialect = self.dialect();
        let sql = dialect.own(&format!(
            "SELECT d.message_id, d.status, CAST(d.seq AS text) FROM {} JOIN headcount.inbox d
             ON d.message_id = v.c2 AND d.source = v.c1",
            dialect.rows(1, 2)
        ));
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = ids.iter().map(|id| vec![Some(source.to_owned()), Some(id.clone())]).collect();
        let found = self.read(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(found
            .into_iter()
            .map(|row| {
                let [id, status, seq] = take(row);
                (id.unwrap_or_default(), status.unwrap_or_default(), number(seq))
            })
            .collect())
    }

    /// Dead letters and held deliveries are tried once more; the number of them.
    pub async fn retry(&self, selection: &Selection) -> Result<u64, StoreError> {
        let approve = self
            .dialect()
            .cell_value("CASE WHEN status = 'held' THEN 'true' ELSE 'false' END", ColumnType::Bool);
        if selection.is_empty() {
            return Ok(0);
        }
        let (chosen, arg) = self.chosen(selection);
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.delivery_states SET status = 'pending', attempts = 0, next_attempt_at = {},
                 last_error = NULL, finished_at = NULL, approved = {approve}
             WHERE {chosen} AND EXISTS (SELECT 1 FROM headcount.deliveries d
                                        WHERE d.seq = headcount.delivery_states.seq AND d.body IS NOT NULL)",
            self.dialect().began()
        ));
        self.write(&sql, vec![arg]).await
    }

    /// Dead letters and held deliveries are given up, bodies and all; the number of them.
    pub async fn discard(&self, selection: &Selection) -> Result<u64, StoreError> {
        if selection.is_empty() {
            return Ok(0);
        }
        let (chosen, arg) = self.chosen(selection);
        let dialect = self.dialect();
        let bodies = dialect.own(&format!(
            "UPDATE headcount.deliveries SET body = NULL
             WHERE seq IN (SELECT seq FROM headcount.delivery_states WHERE {chosen})"
        ));
        let states = dialect.own(&format!(
            "UPDATE headcount.delivery_states SET status = 'ignored', finished_at = {},
                 last_error = 'discarded by an operator; was: ' || coalesce(last_error, '') WHERE {chosen}",
            dialect.clock()
        ));
        let mut tx = self.begin(Access::Write).await?;
        tx.execute(&bodies, vec![arg.clone()]).await?;
        let discarded = tx.execute(&states, vec![arg]).await?;
        tx.commit().await?;
        Ok(discarded)
    }

    /// The condition on states that the selection is, with its parameter.
    fn chosen(&self, selection: &Selection) -> (String, Arg) {
        let (condition, arg) = match selection {
            Selection::Seqs(seqs) => (
                format!("seq IN (SELECT CAST(v.c1 AS bigint) FROM {})", self.dialect().rows(1, 1)),
                Arg::Rows(seqs.iter().map(|seq| vec![Some(seq.to_string())]).collect()),
            ),
            Selection::Status(status) => ("status = $1".to_owned(), Arg::text(status)),
        };
        (format!("status IN ('dead', 'held') AND {condition}"), arg)
    }

    /// Forgets what is old in the slice after `after`: bodies after `retention_ms`, whole rows after [`retention::MESSAGE_IDS_MS`]. What
    /// nobody has decided about yet stays. The slice's end; `None` where nothing after `after` is old.
    ///
    /// By the order of numbers, which is nearly that of time: an index on the time would cost every insert.
    pub async fn prune(&self, retention_ms: i64, after: i64) -> Result<Option<i64>, StoreError> {
        let dialect = self.dialect();
        let old = dialect.began_plus_ms("$3");
        let slice = dialect.own(&format!(
            "SELECT CAST(max(s.seq) AS text) FROM (
                 SELECT seq, received_at FROM headcount.deliveries WHERE seq > $1 ORDER BY seq LIMIT $2) AS s
             WHERE s.received_at < {old}"
        ));
        let decided = |statuses: &str| {
            format!(
                "seq > $1 AND seq <= $2 AND received_at < {old} AND seq IN (
                     SELECT seq FROM headcount.delivery_states WHERE seq > $1 AND seq <= $2 AND status IN ({statuses}))"
            )
        };
        let bodies = dialect.own(&format!(
            "UPDATE headcount.deliveries SET body = NULL WHERE body IS NOT NULL AND {}",
            decided("'applied', 'stale'")
        ));
        let rows = dialect.own(&format!(
            "DELETE FROM headcount.deliveries WHERE {}",
            decided("'applied', 'stale', 'ignored'")
        ));
        let states = dialect.own(
            "DELETE FROM headcount.delivery_states WHERE seq > $1 AND seq <= $2
             AND seq NOT IN (SELECT seq FROM headcount.deliveries WHERE seq > $1 AND seq <= $2)",
        );
        let mut tx = self.begin(Access::Write).await?;
        let ends = [Arg::Int(after), Arg::Int(PRUNE_ROWS_MAX), Arg::Int(-retention_ms)];
        let found = tx.fetch(&slice, ends.to_vec()).await?;
        let [Some(end)] = first(found) else { return Ok(None) };
        let end = number(Some(end));
        let mut removed = 0;
        for (sql, age_ms) in [(bodies, retention_ms), (rows, retention::MESSAGE_IDS_MS)] {
            removed = tx.execute(&sql, vec![Arg::Int(after), Arg::Int(end), Arg::Int(-age_ms)]).await?;
        }
        if removed > 0 {
            tx.execute(&states, vec![Arg::Int(after), Arg::Int(end)]).await?;
        }
        tx.commit().await?;
        Ok(Some(end))
    }

    fn delivery_columns(&self, bodies: bool) -> String {
        let at = |column: &str| self.dialect().timestamp_text(&format!("d.{column}"));
        format!(
            "CAST(d.seq AS text), d.source, d.message_id, d.event_type, d.provider_id, {}, {}, d.signature, {}, {},
             d.status, CAST(d.attempts AS text), {}, d.last_error, {}",
            at("occurred_at"),
            at("signed_at"),
            at("received_at"),
            if bodies { "d.body" } else { "CAST(NULL AS text)" },
            at("next_attempt_at"),
            at("finished_at")
        )
    }
}

fn stored(row: Row) -> StoredDelivery {
    let [
        seq,
        source,
        message_id,
        event_type,
        provider_id,
        occurred_at,
        signed_at,
        signature,
        received_at,
        body,
        status,
        attempts,
        next_attempt_at,
        last_error,
        finished_at,
    ] = take(row);
    StoredDelivery {
        seq: number(seq),
        source: source.unwrap_or_default(),
        message_id: message_id.unwrap_or_default(),
        event_type: event_type.unwrap_or_default(),
        provider_id,
        occurred_at,
        signed_at: signed_at.unwrap_or_default(),
        signature: signature.unwrap_or_default(),
        received_at: received_at.unwrap_or_default(),
        body,
        status: status.unwrap_or_default(),
        attempts: number(attempts),
        next_attempt_at,
        last_error,
        finished_at,
    }
}

/// The columns of a row, by position; absent ones are null.
pub(in crate::store) fn take<const N: usize>(row: Row) -> [Option<String>; N] {
    let mut cells = row.rest();
    std::array::from_fn(|_| cells.next().flatten())
}

/// The columns of the first row; all null where there is none.
pub(in crate::store) fn first<const N: usize>(rows: Vec<Row>) -> [Option<String>; N] {
    rows.into_iter().next().map_or_else(|| std::array::from_fn(|_| None), take)
}

pub(in crate::store) fn number(cell: Option<String>) -> i64 {
    cell.and_then(|text| text.parse().ok()).unwrap_or(0)
}
