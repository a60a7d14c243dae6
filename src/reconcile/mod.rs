//! Load, decide, commit: the one way in which anything reaches `users`.

mod accept;
mod account;
mod deliveries;
mod outcome;
mod reads;

pub use accept::{odd_user, verified};
pub use deliveries::{Applied, Deliveries};
pub use outcome::{Applied as ReadsApplied, Drift};
pub use reads::{Errand, Reads, RunRef};
