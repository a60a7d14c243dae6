//! The two databases behind one trait, and where their SQL differs.

mod accept_postgres;
pub(super) mod baseline;
pub(super) mod delivery;
pub(super) mod dialect;
pub(super) mod direct;
pub(super) mod driver;
pub(super) mod error;
pub(super) mod postgres;
mod postgres_url;
pub(super) mod row;
mod session;
pub(super) mod sqlite;
pub(super) mod url;
