//! Accounts and their users: locked, loaded, decided about elsewhere, and written in one transaction.

pub(super) mod adoption;
pub(super) mod altered_values;
pub(super) mod codec;
pub(super) mod compare;
pub(super) mod confirmations;
pub(super) mod erasure;
pub(super) mod held_values;
pub(super) mod linking;
pub(super) mod lookup;
pub(super) mod stored;
pub(super) mod stripping;
pub(super) mod transaction;
pub(super) mod types;
pub(super) mod writing;
