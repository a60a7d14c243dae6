//! From verified bytes to a row of the inbox, and from rows that wait to one commit.

mod delivery;
mod group_commit;

pub use delivery::{READ_EVENT, logged, odd_user, verified};
pub use group_commit::{Ingest, IngestError};
