//! What people and programs read: status, users, one user explained, the feed.

pub(super) mod addresses;
pub(super) mod explaining;
pub(super) mod feed;
mod feed_epoch;
pub(super) mod status;
pub(super) mod users;
