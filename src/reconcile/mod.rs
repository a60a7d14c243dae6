//! Load, decide, commit: the one way in which anything reaches `users`.

mod accept;
mod deliveries;

pub use accept::verified;
pub use deliveries::{Applied, Deliveries};
