//! Runs of a resync, what they count and wait for, and the limits of a source that runs share.

pub(super) mod approvals;
pub(super) mod clock_ahead;
pub(super) mod counts;
pub(super) mod heartbeats;
pub(super) mod limiter;
pub(super) mod loss;
pub(in crate::store) mod postponed;
pub(super) mod run;
pub(super) mod sources;
pub(super) mod switches;
