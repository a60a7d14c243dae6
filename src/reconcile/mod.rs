//! Load, decide, commit: the one way in which anything reaches `users`.

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
