//! From verified bytes to a row of the inbox, and from rows that wait to one commit.

mod delivery;
mod group_commit;
mod write_health;

pub use delivery::{READ_EVENT, logged, noted, odd_user, verified};
pub use group_commit::{Ingest, IngestError};
pub use write_health::{WriteHealth, run_write_health};
