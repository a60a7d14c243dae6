//! What headcount knows and decides, as values: no IO, no clock, no randomness, no async, no serde.
//!
//! Time and fresh ids come in as parameters, so every rule here can be tested by calling it.

pub mod address;
pub mod brake;
pub mod call;
pub mod change;
pub mod collision;
pub mod columns;
pub mod decide;
pub mod event;
pub mod explain;
pub mod known;
pub mod layout;
pub mod link;
pub mod loss;
pub mod merge;
pub mod proof;
pub mod rate;
pub mod read;
pub mod retention;
pub mod retry_policy;
pub mod schedule;
pub mod switch;
pub mod timestamp;
pub mod words;
