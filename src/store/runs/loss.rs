//! What webhooks have lost, from the runs and the inbox.

use crate::core::loss::Loss;
use crate::store::Store;
use crate::store::accounts::codec::instant;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::inbox::deliveries::{first, number};

/// What is looked at: 30 days.
const LOOK_BACK_MS: i64 = 30 * 24 * 3_600_000;

impl Store {
    /// What the source's webhooks have lost within 30 days.
    pub async fn loss(&self, source: &str) -> Result<Loss, StoreError> {
        let dialect = self.dialect();
        let last = dialect.own(&format!(
            "SELECT {} FROM headcount.deliveries WHERE source = $1 AND signature <> '' ORDER BY seq DESC LIMIT 1",
            dialect.timestamp_text("received_at")
        ));
        let [last_delivery] = first(self.read(&last, vec![Arg::text(source)]).await?);
        let begin = dialect.own(&format!(
            "SELECT {} FROM headcount.runs WHERE source = $1 AND mode = 'full' AND status = 'succeeded'
             ORDER BY started_at LIMIT 1",
            dialect.timestamp_text("finished_at")
        ));
        let [first_run] = first(self.read(&begin, vec![Arg::text(source)]).await?);
        let last_delivery = instant(last_delivery);
        let Some(since) = first_run.clone() else {
            return Ok(Loss { last_delivery, ..Loss::default() });
        };
        let later = format!(
            "coalesce({}, {})",
            dialect.timestamp_value("NULLIF($4, '')"),
            dialect.timestamp_value("$2")
        );
        let found = dialect.own(&format!(
            "SELECT CAST(coalesce(sum(created), 0) AS text), CAST(coalesce(sum(updated - local_edits), 0) AS text),
                    CAST(coalesce(sum(deleted + held_deletes), 0) AS text),
                    CAST(coalesce(sum(CASE WHEN finished_at > {later}
                        THEN created + updated - local_edits + deleted + held_deletes END), 0) AS text)
             FROM headcount.runs
             WHERE source = $1 AND mode IN ('full', 'incremental') AND cause <> 'poll'
               AND started_at >= {since} AND started_at > {back}",
            since = dialect.timestamp_value("$2"),
            back = dialect.began_plus_ms("$3"),
        ));
        let text = last_delivery.map(|at| at.to_string()).unwrap_or_default();
        let args = vec![Arg::text(source), Arg::text(&since), Arg::Int(-LOOK_BACK_MS), Arg::text(text)];
        let [created, updated, deleted, since_delivery] = first(self.read(&found, args).await?);
        let delivered = dialect.own(&format!(
            "SELECT CAST(count(*) AS text) FROM headcount.inbox
             WHERE source = $1 AND status = 'applied' AND received_at >= {} AND received_at > {}",
            dialect.timestamp_value("$2"),
            dialect.began_plus_ms("$3")
        ));
        let args = vec![Arg::text(source), Arg::text(&since), Arg::Int(-LOOK_BACK_MS)];
        let [delivered] = first(self.read(&delivered, args).await?);
        let whole = |cell| number(cell).try_into().unwrap_or(0);
        Ok(Loss {
            delivered: whole(delivered),
            created: whole(created),
            updated: whole(updated),
            deleted: whole(deleted),
            last_delivery,
            first_run: instant(first_run),
            since_delivery: whole(since_delivery),
        })
    }
}
