//! After an upgrade: what an older version has stored, with no more than may be kept now.

use super::pause;
use crate::clock::Clock;
use crate::core::event::IdentityKey;
use crate::core::retry_policy::PROCESS;
use crate::intake::READ_EVENT;
use crate::retry::Backoff;
use crate::source::Source;
use crate::store::{Store, StoreError, StoredBody};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Rows that one transaction replaces.
const SLICE: i64 = 200;
/// Between two of them: deliveries and reads come first.
const PAUSE: Duration = Duration::from_millis(20);

/// Goes once through what is stored of each source, until it is through or `stop` comes.
pub async fn run_strip_stored(
    store: Store,
    sources: Arc<Vec<Source>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(&PROCESS, &clock);
    for source in sources.iter() {
        while !stop.is_cancelled() {
            match strip(&store, source, &stop).await {
                Ok(()) => break,
                Err(error) => {
                    warn!(
                        source.name = source.name,
                        "what is stored could not be stripped yet, and is tried again: {error}"
                    );
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

async fn strip(store: &Store, source: &Source, stop: &CancellationToken) -> Result<(), StoreError> {
    if store.is_stripped(&source.name).await? {
        return Ok(());
    }
    let (mut accounts, mut deliveries) = (0, 0);
    let mut after = String::new();
    loop {
        let profiles = store.profiles(&source.name, &after, SLICE).await?;
        let Some((last, _)) = profiles.last() else { break };
        after.clone_from(last);
        let changed = profiles.into_iter().filter_map(|(provider_id, old)| {
            let new = source.keep.stripped(&old)?;
            Some((IdentityKey { source: source.name.clone(), provider_id }, old, new))
        });
        let changed: Vec<_> = changed.collect();
        store.replace_profiles(&changed).await?;
        accounts += changed.len();
        if is_over(stop).await {
            return Ok(());
        }
    }
    let mut after = 0;
    loop {
        let bodies = store.bodies(&source.name, after, SLICE).await?;
        let Some(last) = bodies.last() else { break };
        after = last.seq;
        let changed: Vec<_> = bodies.iter().filter_map(|stored| changed(source, stored)).collect();
        store.replace_bodies(&changed).await?;
        deliveries += changed.len();
        if is_over(stop).await {
            return Ok(());
        }
    }
    if accounts + deliveries > 0 {
        info!(
            source.name = source.name,
            "took what may not be kept out of {accounts} accounts and {deliveries} deliveries"
        );
    }
    store.set_stripped(&source.name).await
}

/// The body as it would be stored now; `None` where that is the same.
fn changed(source: &Source, stored: &StoredBody) -> Option<(i64, Option<String>)> {
    if stored.event_type == READ_EVENT {
        return source.keep.stripped(&stored.body).map(|body| (stored.seq, Some(body)));
    }
    // What cannot be told from what must not be kept is not kept.
    let kept = source.provider.kept(&stored.body, stored.signed_at, &source.keep).ok();
    (kept.as_ref() != Some(&stored.body)).then_some((stored.seq, kept))
}

/// Waits a moment. Whether the end has come.
async fn is_over(stop: &CancellationToken) -> bool {
    pause(PAUSE, stop).await;
    stop.is_cancelled()
}
