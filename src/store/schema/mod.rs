//! headcount's own tables: made, upgraded, checked and removed.

pub(super) mod derived;
pub(super) mod install;
mod lock_wait;
pub(super) mod migrate;
pub(super) mod migrations;
