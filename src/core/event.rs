//! What a delivery or a read says about one account, normalized.

use super::columns::Columns;
use super::timestamp::Timestamp;

/// The longest provider id that is taken for one: longer ones do not fit PostgreSQL's indexes for certain.
pub const PROVIDER_ID_BYTES_MAX: usize = 255;

/// One account at one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey {
    pub source: String,
    pub provider_id: String,
}

/// The account's content at one moment, as the provider tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The provider's own update time, in milliseconds. Comparable within a source only.
    pub version: i64,
    /// Canonical JSON: keys sorted, without private metadata, credentials, and fields that move without meaning.
    pub profile: String,
    /// What the profile says for each column of `users`.
    pub columns: Columns,
    /// Banned or deprovisioned at the source.
    pub suspended: bool,
    /// The application's own id of the user, where it has told the provider.
    pub external_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is an upsert: a box would cost more than it saves"
)]
pub enum EventKind {
    Upsert(Snapshot),
    Delete,
}

/// What one delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: IdentityKey,
    /// When it happened, by the provider's clock; `None` where the provider did not say.
    pub occurred_at: Option<Timestamp>,
    /// The provider's instance that sent it, where it says so.
    pub instance: Option<String>,
    pub kind: EventKind,
}
