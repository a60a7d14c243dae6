//! What is known, read without locks and in one go, to be compared with what a source's page says.

use crate::core::timestamp::Timestamp;
use crate::core::words::IdentityState;
use crate::store::Store;
use crate::store::accounts::codec::column;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};

/// An account as it is stored, as far as a comparison needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub provider_id: String,
    /// At the provider.
    pub created_at: String,
    pub deleted: bool,
    /// Version, profile, and what of the row the provider decides about, packed; null where there is no such row.
    pub version: Option<i64>,
    pub profile: Option<String>,
    pub row: Option<String>,
}

/// Accounts that a page of a walk would have to show.
#[derive(Clone, Copy, Debug)]
pub struct KnownRange {
    /// Created from here up to there (both included), by the provider's word; without an end where it is `None`.
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    /// Of whom headcount had heard by then: whoever came later says nothing about the page.
    pub seen_before: Timestamp,
}

/// Where a slice of a range ended: creation time and id.
pub type RangeEnd = (String, String);

impl Store {
    /// Accounts of the source in the range, tombstones included, in the order of their creation, after `after`.
    pub async fn known_between(
        &self,
        source: &str,
        range: KnownRange,
        after: Option<&RangeEnd>,
        limit: i64,
    ) -> Result<Vec<Known>, StoreError> {
        let KnownRange { from, to, seen_before } = range;
        let sql = self.users_table().known_between(to.is_some(), after.is_some());
        let from_and_seen = [from, seen_before].map(|at| Arg::text(at.to_string()));
        let mut args = [vec![Arg::text(source), Arg::Int(limit)], from_and_seen.to_vec()].concat();
        if let Some(to) = to {
            args.push(Arg::text(to.to_string()));
        }
        if let Some((created_at, id)) = after {
            args.extend([Arg::text(created_at), Arg::text(id)]);
        }
        self.read(&sql, args).await?.into_iter().map(known).collect()
    }

    /// Those of the accounts that are known.
    pub async fn known_of(&self, source: &str, provider_ids: &[String]) -> Result<Vec<Known>, StoreError> {
        if provider_ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = provider_ids.iter().map(|id| vec![Some(source.to_owned()), Some(id.clone())]).collect();
        let sql = self.users_table().known_of();
        self.read(&sql, vec![Arg::Rows(rows)]).await?.into_iter().map(known).collect()
    }

    /// Accounts without a creation time, a slice after `after`: no range holds them.
    pub async fn known_undated(
        &self,
        source: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let sql = self.dialect().own(
            "SELECT provider_id FROM headcount.identities
             WHERE source = $1 AND provider_created_at IS NULL AND provider_id > $2 AND state <> 'deleted'
               AND (version IS NOT NULL OR user_id IS NOT NULL)
             ORDER BY provider_id LIMIT $3",
        );
        let rows = self.read(&sql, vec![Arg::text(source), Arg::text(after), Arg::Int(limit)]).await?;
        column(rows, "identities", "provider_id")
    }

    /// Accounts that were heard of before `seen_before`, a slice after `after` in the order of their ids.
    pub async fn known_ids(
        &self,
        source: &str,
        seen_before: Timestamp,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let dialect = self.dialect();
        let sql = dialect.own(&format!(
            "SELECT provider_id FROM headcount.identities
             WHERE source = $1 AND provider_id > $2 AND state <> 'deleted' AND first_seen_at <= {}
               AND (version IS NOT NULL OR user_id IS NOT NULL)
             ORDER BY provider_id LIMIT $3",
            dialect.timestamp_value("$4")
        ));
        let args =
            vec![Arg::text(source), Arg::text(after), Arg::Int(limit), Arg::text(seen_before.to_string())];
        column(self.read(&sql, args).await?, "identities", "provider_id")
    }

    /// Some accounts of the source that nothing is in doubt about, the youngest first.
    pub async fn undoubted_accounts(&self, source: &str, limit: i64) -> Result<Vec<String>, StoreError> {
        let sql = self.dialect().own(
            "SELECT provider_id FROM headcount.identities
             WHERE source = $1 AND state <> 'deleted' AND version IS NOT NULL
               AND provider_id NOT IN (SELECT provider_id FROM headcount.confirmations WHERE source = $1)
               AND provider_id NOT IN (SELECT provider_id FROM headcount.held_deletes WHERE source = $1)
             ORDER BY provider_created_at DESC LIMIT $2",
        );
        let rows = self.read(&sql, vec![Arg::text(source), Arg::Int(limit)]).await?;
        column(rows, "identities", "provider_id")
    }

    /// How many accounts of the source are known and not deleted.
    pub async fn count_accounts(&self, source: &str) -> Result<u64, StoreError> {
        let sql = self.dialect().own(
            "SELECT CAST(count(*) AS text) AS count FROM headcount.identities
             WHERE source = $1 AND state <> 'deleted' AND (version IS NOT NULL OR user_id IS NOT NULL)",
        );
        only(self.read(&sql, vec![Arg::text(source)]).await?, "identities")?.count("count")
    }

    /// How many deletions of the source were received since then, tombstones without a user included.
    pub async fn count_deleted_since(&self, source: &str, since: Timestamp) -> Result<u64, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT CAST(count(*) AS text) AS count FROM headcount.identities
             WHERE source = $1 AND deleted_by = 'event' AND deletion_received_at >= {}",
            self.dialect().timestamp_value("$2")
        ));
        let args = vec![Arg::text(source), Arg::text(since.to_string())];
        only(self.read(&sql, args).await?, "identities")?.count("count")
    }
}

fn known(row: Row) -> Result<Known, StoreError> {
    let mut row = row.of("identities");
    Ok(Known {
        provider_id: row.text("provider_id")?,
        created_at: row.opt_text("provider_created_at")?.unwrap_or_default(),
        deleted: row.word::<IdentityState>("state")? == IdentityState::Deleted,
        // What is no number is no version of any snapshot, so the account is read under its lock, which tells of it.
        version: row.opt_text("version")?.and_then(|version| version.parse().ok()),
        profile: row.opt_text("profile")?,
        row: row.opt_text("packed")?,
    })
}
