//! What an older version has stored and may not be kept any more: read and replaced, a slice at a time. No row of `users`
//! and nothing of the feed changes by it.

use crate::core::event::IdentityKey;
use crate::core::timestamp::Timestamp;
use crate::store::Store;
use crate::store::accounts::codec::{instant, key_row};
use crate::store::engine::driver::{Arg, Values};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::first;

/// Of which version what is stored was stripped, by source.
const SETTING: &str = "stripped";
/// Raised when what may be kept becomes less.
const VERSION: &str = "1";

/// A stored delivery with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBody {
    pub seq: i64,
    pub event_type: String,
    pub signed_at: Timestamp,
    pub body: String,
}

impl Store {
    /// Whether what is stored of the source was stripped by this version.
    pub async fn is_stripped(&self, source: &str) -> Result<bool, StoreError> {
        let sql = self.dialect().own("SELECT value FROM headcount.settings WHERE key = $1");
        let [value] = first(self.read(&sql, vec![Arg::Text(Some(format!("{SETTING} {source}")))]).await?);
        Ok(value.as_deref() == Some(VERSION))
    }

    pub async fn set_stripped(&self, source: &str) -> Result<(), StoreError> {
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.settings (key, value) VALUES ($1, '{VERSION}')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        ));
        self.write(&sql, vec![Arg::Text(Some(format!("{SETTING} {source}")))]).await?;
        Ok(())
    }

    /// Profiles of the source's accounts behind `after`, by their ids.
    pub async fn profiles(
        &self,
        source: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let sql = self.dialect().own(
            "SELECT provider_id, profile FROM headcount.identities
             WHERE source = $1 AND provider_id > $2 AND profile IS NOT NULL ORDER BY provider_id LIMIT $3",
        );
        let rows = self.read(&sql, vec![Arg::text(source), Arg::text(after), Arg::Int(limit)]).await?;
        let pair = |row: Row| {
            let mut row = row.of("identities");
            Ok((row.text("provider_id")?, row.text("profile")?))
        };
        rows.into_iter().map(pair).collect()
    }

    /// Puts the third of each in the place of the second, unless something else has come meanwhile.
    pub async fn replace_profiles(
        &self,
        profiles: &[(IdentityKey, String, String)],
    ) -> Result<(), StoreError> {
        if profiles.is_empty() {
            return Ok(());
        }
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.identities SET profile = v.c4 FROM {}
             WHERE headcount.identities.source = v.c1 AND headcount.identities.provider_id = v.c2
               AND headcount.identities.profile = v.c3",
            self.dialect().rows(1, 4)
        ));
        let row = |(key, old, new): &(IdentityKey, String, String)| {
            [key_row(key), vec![Some(old.clone()), Some(new.clone())]].concat()
        };
        self.write(&sql, vec![Arg::Rows(profiles.iter().map(row).collect())]).await?;
        Ok(())
    }

    /// Deliveries of the source behind number `after` that have a body.
    pub async fn bodies(&self, source: &str, after: i64, limit: i64) -> Result<Vec<StoredBody>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT CAST(d.seq AS text) AS seq, d.event_type, {} AS signed_at, d.body FROM headcount.deliveries d
             WHERE d.source = $1 AND d.seq > $2 AND d.body IS NOT NULL ORDER BY d.seq LIMIT $3",
            self.dialect().timestamp_text("d.signed_at")
        ));
        let rows = self.read(&sql, vec![Arg::text(source), Arg::Int(after), Arg::Int(limit)]).await?;
        let stored = |row: Row| {
            let mut row = row.of("deliveries");
            Ok(StoredBody {
                seq: row.int("seq")?,
                event_type: row.text("event_type")?,
                signed_at: instant(row.opt_text("signed_at")?).unwrap_or(Timestamp::clamped(0)),
                body: row.text("body")?,
            })
        };
        rows.into_iter().map(stored).collect()
    }

    /// Gives these deliveries another body; none, where nothing of it may be kept.
    pub async fn replace_bodies(&self, bodies: &[(i64, Option<String>)]) -> Result<(), StoreError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.deliveries SET body = v.c2 FROM {}
             WHERE headcount.deliveries.seq = CAST(v.c1 AS bigint) AND headcount.deliveries.body IS NOT NULL",
            self.dialect().rows(1, 2)
        ));
        let rows: Vec<Values> =
            bodies.iter().map(|(seq, body)| vec![Some(seq.to_string()), body.clone()]).collect();
        self.write(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(())
    }
}
