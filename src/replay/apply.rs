//! Fixtures through the same verification, inbox, decision and commit as deliveries.

use super::fixture::Fixture;
use crate::clock::Clock;
use crate::core::brake::DeleteLimit;
use crate::core::timestamp::Timestamp;
use crate::digest::short_digest;
use crate::intake::verified;
use crate::live::Live;
use crate::reconcile::Deliveries;
use crate::source::signature::{Scheme, SigningKey};
use crate::source::{Source, provider};
use crate::store::{Acceptance, NewDelivery, Store, StoreError};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Deliveries that are stored and applied together.
const CHUNK: usize = 500;

/// What became of the fixtures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayCounts {
    pub read: u64,
    pub applied: u64,
    pub duplicate: u64,
    pub stale: u64,
    pub ignored: u64,
    pub held: u64,
    pub dead: u64,
    pub rejected: u64,
    /// Stored, but refused by the database for now: `serve` tries them again.
    pub pending: u64,
}

#[derive(Default)]
pub struct Replayed {
    pub counts: ReplayCounts,
    /// Which files were rejected, and why.
    pub rejections: Vec<(PathBuf, String)>,
    /// The accounts that the fixtures were about, by source.
    pub accounts: BTreeMap<String, BTreeSet<String>>,
}

/// Replays the files in order. A source that is not configured is taken for the provider of its name.
pub async fn replay(
    store: &Store,
    configured: &[Source],
    clock: Arc<dyn Clock>,
    delete_limit: DeleteLimit,
    paths: &[PathBuf],
    mut progress: impl FnMut(u64),
) -> anyhow::Result<Replayed> {
    let mut replayed = Replayed::default();
    let mut sources = configured.to_vec();
    for chunk in paths.chunks(CHUNK) {
        let mut deliveries = Vec::new();
        for path in chunk {
            replayed.counts.read += 1;
            match verify(path, &mut sources) {
                Ok(delivery) => deliveries.push(delivery),
                Err(reason) => {
                    replayed.counts.rejected += 1;
                    replayed.rejections.push((path.clone(), reason));
                }
            }
        }
        let applier = Deliveries {
            store: store.clone(),
            sources: Arc::new(sources.clone()),
            clock: clock.clone(),
            delete_limit,
            batch_max: CHUNK as i64,
            unread: Live::default(),
        };
        apply(&applier, deliveries, &mut replayed).await?;
        progress(replayed.counts.read);
    }
    Ok(replayed)
}

fn verify(path: &Path, sources: &mut Vec<Source>) -> Result<NewDelivery, String> {
    let fixture = Fixture::read(path).map_err(|error| error.to_string())?;
    if !sources.iter().any(|source| source.name == fixture.source) {
        let provider = provider(&fixture.source)
            .ok_or_else(|| format!("source `{}` is not configured", fixture.source))?;
        sources.push(Source::recorded(&fixture.source, provider));
    }
    let source = sources.iter().find(|source| source.name == fixture.source).ok_or("no such source")?;
    let mut keys = source.webhook_keys.get().to_vec();
    if let Some(key) = &fixture.key {
        let scheme = fixture.headers.scheme;
        keys.push(SigningKey::read(scheme, key).map_err(|error| format!("its key cannot be used: {error}"))?);
    }
    let at = match fixture.headers.scheme {
        // Nothing says when it was sent, so nothing depends on it.
        Scheme::Bearer => Timestamp::clamped(0),
        _ => fixture.headers.sent_at().ok_or("its timestamp is no time")?,
    };
    let signed_at = fixture
        .headers
        .verify(&keys, fixture.body.as_bytes(), at)
        .map_err(|refused| format!("{refused}; it names no key, or the source's secret is another one"))?;
    // The same file is the same delivery.
    let fresh_id = || format!("file_{}", short_digest(&fixture.body));
    let delivery = verified(source, &fixture.headers, signed_at, fixture.body.clone(), fresh_id);
    Ok(delivery.ok_or("its body is not JSON")?)
}

async fn apply(
    applier: &Deliveries,
    deliveries: Vec<NewDelivery>,
    replayed: &mut Replayed,
) -> Result<(), StoreError> {
    let accepted = applier.store.accept(&deliveries).await?;
    let mut new: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (delivery, acceptance) in deliveries.into_iter().zip(accepted) {
        if let Some(id) = delivery.provider_id {
            replayed.accounts.entry(delivery.source.clone()).or_default().insert(id);
        }
        match acceptance {
            Acceptance::Accepted => new.entry(delivery.source).or_default().push(delivery.message_id),
            Acceptance::Duplicate => replayed.counts.duplicate += 1,
        }
    }
    for (source, ids) in new {
        for (_, status) in applier.apply_until_done(&source, &ids).await? {
            let counts = &mut replayed.counts;
            match status.as_str() {
                "applied" => counts.applied += 1,
                "stale" => counts.stale += 1,
                "ignored" => counts.ignored += 1,
                "held" => counts.held += 1,
                "dead" => counts.dead += 1,
                _ => counts.pending += 1,
            }
        }
    }
    Ok(())
}
