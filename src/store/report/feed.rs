//! The feed of changes, and the history of one user: where its values come from.

use crate::store::Store;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::{first, number, take};

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    pub seq: i64,
    pub user_id: String,
    pub kind: String,
    /// Names of columns.
    pub changed: Vec<String>,
    /// JSON.
    pub cause: String,
    pub changed_at: String,
}

/// A piece of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    pub changes: Vec<FeedEntry>,
    /// The highest number that was given out.
    pub latest: i64,
    /// Entries up to this one may be gone.
    pub pruned: i64,
    /// Of which history the numbers are.
    pub epoch: String,
}

impl Store {
    /// What comes after entry `after` (`None`: from the first one that is sure to be there), at most `limit`.
    ///
    /// Numbers become visible in their order, so whoever goes on after the last one that it saw misses none.
    pub async fn feed(&self, after: Option<i64>, limit: i64) -> Result<Feed, StoreError> {
        let counters = self.dialect().own(
            "SELECT CAST(max(CASE WHEN name = 'changes' THEN value END) AS text),
                    CAST(max(CASE WHEN name = 'changes_pruned' THEN value END) AS text) FROM headcount.counters",
        );
        let epoch = self.feed_epoch().await?;
        let mut tx = self.begin(Access::Read).await?;
        let [latest, pruned] = first(tx.fetch(&counters, vec![]).await?);
        let (latest, pruned) = (number(latest), number(pruned));
        let sql = self.feed_sql("seq > $1", "ASC", "$2");
        let rows = tx.fetch(&sql, vec![Arg::Int(after.unwrap_or(pruned)), Arg::Int(limit)]).await?;
        tx.commit().await?;
        Ok(Feed { changes: rows.into_iter().map(feed_entry).collect(), latest, pruned, epoch })
    }

    /// What the feed has told of the user, the newest first.
    pub async fn history(&self, user_id: &str, limit: i64) -> Result<Vec<FeedEntry>, StoreError> {
        let sql = self.feed_sql("user_id = $1", "DESC", "$2");
        let rows = self.read(&sql, vec![Arg::text(user_id), Arg::Int(limit)]).await?;
        Ok(rows.into_iter().map(feed_entry).collect())
    }

    fn feed_sql(&self, condition: &str, direction: &str, limit: &str) -> String {
        self.dialect().own(&format!(
            "SELECT CAST(c.seq AS text), c.user_id, c.kind, {}, c.cause, {} FROM headcount.changes c
             WHERE {condition} ORDER BY c.seq {direction} LIMIT {limit}",
            self.dialect().list_text("c.changed"),
            self.dialect().timestamp_text("c.changed_at")
        ))
    }
}

fn feed_entry(row: Row) -> FeedEntry {
    let [seq, user_id, kind, changed, cause, changed_at] = take(row);
    FeedEntry {
        seq: number(seq),
        user_id: user_id.unwrap_or_default(),
        kind: kind.unwrap_or_default(),
        changed: changed.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        cause: cause.unwrap_or_default(),
        changed_at: changed_at.unwrap_or_default(),
    }
}
