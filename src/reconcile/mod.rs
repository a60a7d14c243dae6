//! Load, decide, commit: the one way in which anything reaches `users`.

mod account;
mod apply_until_done;
mod assignment;
mod calls;
mod claimed;
mod deliveries;
mod doubts;
mod erase;
mod expire;
mod finished;
mod held_values;
mod linking;
mod lock_wait;
mod manual_link;
mod one_by_one;
mod outcome;
mod partial_write;
mod prior_counts;
mod read_context;
mod reads;
mod relink;
mod sweep;
mod undo;

pub use assignment::{Assignment, NoRoom, hintable};
pub use calls::{CallError, Caller, Calls};
pub use deliveries::Deliveries;
pub use erase::{Erased, ErasedRow};
pub use finished::DeliveriesOutcome;
pub use linking::{link_rules, names_of_sources};
pub use manual_link::ManualLink;
pub use outcome::{Drift, ReadsOutcome};
pub use prior_counts::PriorCounts;
pub use read_context::{ReadContext, RunRef};
pub use reads::Reads;
pub use relink::DoubledUser;
pub use undo::{Undone, undo_adoption};
