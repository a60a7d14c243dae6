//! What a delivery or a read says about one account, normalized.

use super::columns::Columns;
use super::timestamp::Timestamp;

/// The longest provider id that is taken for one: longer ones do not fit PostgreSQL's indexes for certain.
pub const PROVIDER_ID_BYTES_MAX: usize = 255;

/// One account at one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey {
    pub source: String,
    pub provider_id: String,
}

/// The account's content at one moment, as the provider tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The provider's own update time, in the provider's own unit. Comparable within a source only.
    pub version: i64,
    /// The version as a time, where it is one.
    pub versioned_at: Option<Timestamp>,
    /// Canonical JSON: keys sorted, without private metadata, credentials, and fields that move without meaning.
    pub profile: String,
    /// What the profile says for each column of `users`.
    pub columns: Columns,
    /// Banned or deprovisioned at the source, as of this version.
    pub suspended: bool,
    /// When the ban ends by itself, where the provider says so.
    pub suspended_until: Option<Timestamp>,
    /// A soft delete: the source still has the account, and this version of it says that it ended.
    pub ended_at: Option<Timestamp>,
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

impl EventKind {
    /// Whether the account is over, be it for good or as of this version.
    pub fn ends(&self) -> bool {
        match self {
            EventKind::Upsert(snapshot) => snapshot.ended_at.is_some(),
            EventKind::Delete => true,
        }
    }
}

/// What one delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A part of the delivery could not be decoded and was replaced.
    pub mended: bool,
    pub key: IdentityKey,
    /// When it happened, by the provider's clock; `None` where the provider did not say.
    pub occurred_at: Option<Timestamp>,
    /// The provider's instance that sent it, where it says so.
    pub instance: Option<String>,
    /// Its version is of a clock that callers may set, so an older one may be the newer.
    pub version_may_go_back: bool,
    pub kind: EventKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_and_a_version_that_says_so_end_the_account() {
        let ended_at = Some(Timestamp::clamped(1));
        assert!(EventKind::Delete.ends());
        assert!(EventKind::Upsert(Snapshot { ended_at, ..Snapshot::default() }).ends());
        assert!(!EventKind::Upsert(Snapshot::default()).ends());
    }
}
