//! Waiting for what has to come, instead of for a time that is usually long enough.

use std::time::Duration;
use tokio::time::Instant;

/// Nothing waits longer than this for something that has to come. A test that passes never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until the condition holds; panics with `what` where it does not within [`PATIENCE`].
pub async fn until<F, W>(what: &str, condition: F)
where
    F: Fn() -> W,
    W: Future<Output = bool>,
{
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
