//! Recorded deliveries: the format that people and programs read, recording, and replaying.

mod apply;
mod fixture;
mod record;
mod redact;
mod send;

pub use apply::{ReplayCounts, Replayed, replay};
pub use fixture::{FIXTURE_KEY, Fixture, FixtureError, collect_paths};
pub use record::{Recording, record};
pub use send::{SendCounts, send};
