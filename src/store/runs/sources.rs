//! What is known of a source itself: the instance that it is pinned to, and how far incremental reads have come.

use crate::core::link::LinkRule;
use crate::store::Store;
use crate::store::accounts::codec::texts;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::inbox::deliveries::{first, take};
use std::collections::{BTreeSet, HashMap};

/// A source as the database knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRow {
    pub instance_id: Option<String>,
    pub pinned_at: Option<String>,
    /// The highest version that an incremental read has seen.
    pub watermark: Option<i64>,
    /// How its accounts find rows that are there already, since its adoption.
    pub link_by: Option<LinkRule>,
    /// Since when it takes no deliveries and is not read.
    pub retired_at: Option<String>,
    /// The kind that it was last configured as.
    pub kind: Option<String>,
    /// When its API was first read.
    pub read_at: Option<String>,
    /// Why that has not succeeded yet.
    pub read_error: Option<String>,
    /// The source before which its word counts since a switch.
    pub supersedes: Option<String>,
    /// How far its outbox was drained, where notes stay in it.
    pub drained: Option<OutboxPosition>,
}

/// A place in the life of an outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxPosition {
    pub epoch: String,
    /// Of the last note that was taken.
    pub seq: i64,
}

/// What of a source matters to each batch.
#[derive(Clone, Debug, Default)]
pub struct SourceState {
    /// The instance that it is pinned to.
    pub instance_id: Option<String>,
    /// Set by its adoption.
    pub link_by: Option<LinkRule>,
}

impl Store {
    pub async fn source(&self, name: &str) -> Result<SourceRow, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT instance_id, {}, CAST(watermark AS text), link_by, {}, kind, {}, read_error, supersedes,
                 outbox_epoch, CAST(outbox_seq AS text)
             FROM headcount.sources WHERE name = $1",
            self.dialect().timestamp_text("pinned_at"),
            self.dialect().timestamp_text("retired_at"),
            self.dialect().timestamp_text("read_at")
        ));
        let [
            instance_id,
            pinned_at,
            watermark,
            link_by,
            retired_at,
            kind,
            read_at,
            read_error,
            supersedes,
            epoch,
            seq,
        ] = first(self.read(&sql, vec![Arg::text(name)]).await?);
        let watermark = watermark.and_then(|version| version.parse().ok());
        let link_by = link_by.as_deref().and_then(LinkRule::parse);
        let drained = epoch.zip(seq.and_then(|seq| seq.parse().ok()));
        let drained = drained.map(|(epoch, seq)| OutboxPosition { epoch, seq });
        Ok(SourceRow {
            instance_id,
            pinned_at,
            watermark,
            link_by,
            retired_at,
            kind,
            read_at,
            read_error,
            supersedes,
            drained,
        })
    }

    /// Writes down how far the source's outbox was drained.
    pub async fn note_drained(&self, name: &str, position: &OutboxPosition) -> Result<(), StoreError> {
        let sql = self.dialect().own(
            "INSERT INTO headcount.sources (name, outbox_epoch, outbox_seq) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET outbox_epoch = excluded.outbox_epoch, outbox_seq = excluded.outbox_seq",
        );
        let args = vec![Arg::text(name), Arg::text(&position.epoch), Arg::Int(position.seq)];
        self.write(&sql, args).await?;
        Ok(())
    }

    /// Pins the source where it is pinned to nothing; the instance that it is pinned to now.
    pub async fn pin(&self, name: &str, instance_id: &str) -> Result<String, StoreError> {
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.sources (name, instance_id, pinned_at, read_at) VALUES ($1, $2, {clock}, {clock})
             ON CONFLICT (name) DO UPDATE SET instance_id = excluded.instance_id, pinned_at = excluded.pinned_at,
                 read_at = coalesce(headcount.sources.read_at, excluded.read_at), read_error = NULL
             WHERE headcount.sources.instance_id IS NULL",
            clock = self.dialect().clock()
        ));
        self.write(&sql, vec![Arg::text(name), Arg::text(instance_id)]).await?;
        Ok(self.source(name).await?.instance_id.unwrap_or_else(|| instance_id.to_owned()))
    }

    /// Writes down that the source's API was read for the first time, or why it could not be.
    pub async fn note_first_read(&self, name: &str, failure: Option<&str>) -> Result<(), StoreError> {
        let clock = self.dialect().clock();
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.sources (name, read_at, read_error)
             VALUES ($1, CASE WHEN CAST($2 AS text) IS NULL THEN {clock} END, $2)
             ON CONFLICT (name) DO UPDATE SET read_at = coalesce(headcount.sources.read_at, excluded.read_at),
                 read_error = excluded.read_error
             WHERE headcount.sources.read_at IS NULL"
        ));
        self.write(&sql, vec![Arg::text(name), Arg::Text(failure.map(str::to_owned))]).await?;
        Ok(())
    }

    /// The names of the sources whose API was read, and of those that nobody reads any more.
    pub async fn read_sources(&self) -> Result<BTreeSet<String>, StoreError> {
        let sql = self
            .dialect()
            .own("SELECT name FROM headcount.sources WHERE read_at IS NOT NULL OR retired_at IS NOT NULL");
        Ok(texts(self.read(&sql, vec![]).await?))
    }

    /// Pins the source to another instance, or to none until the next read.
    pub async fn repin(&self, name: &str, instance_id: Option<&str>) -> Result<(), StoreError> {
        let clock = self.dialect().clock();
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.sources (name, instance_id, pinned_at, read_at)
             VALUES ($1, $2, {clock}, CASE WHEN CAST($2 AS text) IS NOT NULL THEN {clock} END)
             ON CONFLICT (name) DO UPDATE SET instance_id = excluded.instance_id, pinned_at = excluded.pinned_at,
                 watermark = NULL, read_at = excluded.read_at, read_error = NULL"
        ));
        self.write(&sql, vec![Arg::text(name), Arg::Text(instance_id.map(str::to_owned))]).await?;
        Ok(())
    }

    /// Retires the source, or takes it up again. Whether that is anything new.
    pub async fn retire(&self, name: &str, is_retired: bool) -> Result<bool, StoreError> {
        let clock = self.dialect().clock();
        let (set, unless) = match is_retired {
            true => (clock, "retired_at IS NULL"),
            false => ("NULL", "retired_at IS NOT NULL"),
        };
        let made = self
            .dialect()
            .own("INSERT INTO headcount.sources (name) VALUES ($1) ON CONFLICT (name) DO NOTHING");
        self.write(&made, vec![Arg::text(name)]).await?;
        let sql = self
            .dialect()
            .own(&format!("UPDATE headcount.sources SET retired_at = {set} WHERE name = $1 AND {unless}"));
        Ok(self.write(&sql, vec![Arg::text(name)]).await? > 0)
    }

    /// The names of retired sources.
    pub async fn retired_sources(&self) -> Result<BTreeSet<String>, StoreError> {
        let sql = self.dialect().own("SELECT name FROM headcount.sources WHERE retired_at IS NOT NULL");
        Ok(texts(self.read(&sql, vec![]).await?))
    }

    /// The sources that there ever were, with the kind of each, in the order of their names.
    pub async fn sources_ever(&self) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let sql = self.dialect().own("SELECT name, kind FROM headcount.sources ORDER BY name");
        let rows = self.read(&sql, vec![]).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let [name, kind] = take(row);
                Some((name?, kind))
            })
            .collect())
    }

    /// Living accounts of the source that were heard of since it was pinned: the youngest and the oldest, so many of each.
    pub async fn pinned_accounts(&self, source: &str, limit: i64) -> Result<Vec<String>, StoreError> {
        let mut found: Vec<String> = Vec::new();
        for order in ["DESC", "ASC"] {
            let sql = self.dialect().own(&format!(
                "SELECT i.provider_id FROM headcount.identities i
             LEFT JOIN headcount.sources s ON s.name = i.source
             WHERE i.source = $1 AND i.state <> 'deleted' AND i.version IS NOT NULL
               AND (s.pinned_at IS NULL OR i.synced_at > s.pinned_at)
             ORDER BY i.provider_created_at {order} LIMIT $2"
            ));
            let ids: Vec<String> = texts(self.read(&sql, vec![Arg::text(source), Arg::Int(limit)]).await?);
            found.extend(ids.into_iter().filter(|id| !found.contains(id)).collect::<Vec<_>>());
        }
        Ok(found)
    }

    /// Moves the watermark up to this version.
    pub async fn raise_watermark(&self, name: &str, version: i64) -> Result<(), StoreError> {
        let sql = self.dialect().own(
            "INSERT INTO headcount.sources (name, watermark) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET watermark = excluded.watermark
             WHERE headcount.sources.watermark IS NULL OR headcount.sources.watermark < excluded.watermark",
        );
        self.write(&sql, vec![Arg::text(name), Arg::Int(version)]).await?;
        Ok(())
    }
}

impl Reconciliation {
    /// What each source is pinned to, and how its accounts find rows since its table was adopted.
    pub async fn source_states(&mut self) -> Result<HashMap<String, SourceState>, StoreError> {
        let sql = self.dialect.own("SELECT name, instance_id, link_by FROM headcount.sources");
        let rows = self.tx.fetch(&sql, vec![]).await?;
        let source_states = |row| {
            let [name, instance_id, link_by] = take(row);
            let link_by = link_by.as_deref().and_then(LinkRule::parse);
            Some((name?, SourceState { instance_id, link_by }))
        };
        Ok(rows.into_iter().filter_map(source_states).collect())
    }
}
