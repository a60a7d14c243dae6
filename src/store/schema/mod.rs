//! headcount's own tables: made, upgraded, checked and removed.

pub(super) mod derived;
pub(super) mod install;
pub(super) mod migrate;
pub(super) mod migrations;
