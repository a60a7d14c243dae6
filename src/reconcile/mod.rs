//! Load, decide, commit: the one way in which anything reaches `users`.

mod accept;
mod account;
mod before;
mod calls;
mod deliveries;
mod doubts;
mod erase;
mod expire;
mod finished;
mod linking;
mod narrow;
mod outcome;
mod reads;
mod retry;
mod settled;
mod sweep;
mod tie;
mod undo;
mod wanted;

use sha2::{Digest, Sha256};

pub use accept::{logged, odd_user, verified};
pub use before::Before;
pub use calls::{CallError, Caller, Calls};
pub use deliveries::Deliveries;
pub use erase::{Erased, Leaves};
pub use finished::Applied;
pub use outcome::{Applied as ReadsApplied, Drift};
pub use reads::{Errand, Reads, RunRef};
pub use tie::Tied;
pub use undo::{Undone, undo_adoption};
pub use wanted::{NoRoom, Wanted, hintable};

/// Enough of a digest to tell contents apart: 32 hexadecimal digits.
pub fn short_digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
