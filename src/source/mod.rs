//! The providers: how a delivery is signed and what it says. One file a provider, all alike.

pub mod api_error;
mod bans;
pub mod better_auth;
pub mod clerk;
pub mod directory;
pub mod http;
mod json;
mod kept;
mod lenient;
mod moment;
mod path;
pub mod setup;
pub mod signature;
pub mod standard;
pub mod supabase;
pub mod workos;

use crate::core::brake::DeleteLimit;
use crate::core::event::{Event, Snapshot};
use crate::core::layout::Layout;
use crate::core::link::LinkRule;
use crate::core::timestamp::Timestamp;
use crate::live::Live;
use directory::Directory;
use http::ApiAccess;
use secrecy::SecretString;
use serde_json::{Map, Value};
use setup::{ConfiguredBy, Setup};
use signature::{KeyError, Scheme, SigningKey, Tolerance};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;
use url::Url;

pub use kept::Kept;
pub use moment::is_time;
pub use path::{mistake as path_mistake, up_to_selector};

/// One configured auth provider instance.
#[derive(Clone)]
pub struct Source {
    /// The name in paths, tables and logs; equal to the kind's unless configured otherwise.
    pub name: String,
    pub provider: Arc<dyn Provider>,
    /// What a message names where something has to be set.
    pub configured_by: ConfiguredBy,
    /// Every secret that may have signed a delivery; empty where the source takes none.
    pub webhook_keys: Live<Vec<SigningKey>>,
    /// How far the time of its deliveries may lie from ours.
    pub tolerance: Tolerance,
    /// How to read the provider's API; `None` where no key is configured.
    pub api: Option<ApiAccess>,
    /// The provider's own table, which is read instead of its API; `None` where no database is configured.
    pub table: Option<TableAccess>,
    /// The instance that the source is pinned to by configuration.
    pub instance: Option<String>,
    /// What of its users may be kept.
    pub keep: Arc<Kept>,
    /// How an account that is seen for the first time finds a row that is there already.
    pub link_by: Vec<LinkRule>,
    /// Whether an address that it calls verified is believed to be, where somebody else is to be linked by it.
    pub trusts_verified: bool,
    /// How many users its deliveries may delete, where that is not as everywhere.
    pub delete_limit: Option<DeleteLimit>,
}

/// How a provider's own table is reached.
#[derive(Clone)]
pub struct TableAccess {
    /// The URL of its database.
    pub url: SecretString,
    /// What the table is called, where not as usual.
    pub table: Option<String>,
    /// What columns are called, by their fields, where not as usual.
    pub columns: BTreeMap<String, String>,
}

impl Source {
    /// Whether its accounts can be read, by an API or in a table.
    pub fn is_readable(&self) -> bool {
        self.api.is_some() || self.table.is_some()
    }

    /// Whether its accounts find their users by a verified address.
    pub fn links_by_address(&self) -> bool {
        self.link_by.contains(&LinkRule::VerifiedEmail)
    }

    /// Whether anything could verify a delivery of it.
    pub fn takes_deliveries(&self) -> bool {
        !self.webhook_keys.get().is_empty()
    }

    /// One that takes no deliveries and cannot be read, as what was recorded of a provider is replayed.
    pub fn recorded(name: &str, provider: Arc<dyn Provider>) -> Self {
        Self {
            name: name.to_owned(),
            keep: Arc::new(provider.keeps()),
            provider,
            configured_by: ConfiguredBy::Recording,
            webhook_keys: Live::default(),
            tolerance: Tolerance::default(),
            api: None,
            table: None,
            instance: None,
            link_by: vec![LinkRule::ExternalId],
            trusts_verified: true,
            delete_limit: None,
        }
    }
}

/// What differs from provider to provider.
pub trait Provider: Send + Sync {
    /// The kind's name in configuration.
    fn kind(&self) -> &'static str;

    /// What an operator sets for a source of this kind.
    fn setup(&self) -> Setup;

    /// How its deliveries show where they come from.
    fn scheme(&self) -> Scheme {
        Scheme::Standard
    }

    /// The keys that a configured secret stands for: several, separated by commas, during a rotation.
    fn keys(&self, secrets: &str) -> Result<Vec<SigningKey>, KeyError> {
        let secrets = signature::secrets(secrets)?.into_iter();
        secrets.map(|secret| SigningKey::read(self.scheme(), secret)).collect()
    }

    /// What can be told of a verified body at a glance; unknown fields, absent ones and odd types are no error.
    fn glance(&self, body: &str) -> Glance;

    /// What of a user may be kept unless the configuration names more: paths from the user's own JSON, or from the top of
    /// a body that is described.
    fn keeps(&self) -> Kept;

    /// A verified body with what may be kept: anything else is gone before the inbox. `signed_at` stays with it where the
    /// provider's deliveries have no other version. An error where it cannot be told what may be kept.
    fn kept(&self, body: &str, signed_at: Timestamp, keep: &Kept) -> Result<String, Unintelligible>;

    /// What the delivery says, in full, for the columns of this layout.
    fn normalize(&self, source: &str, body: &str, layout: &Layout) -> Result<Event, Unintelligible>;

    /// Fields of the profile that people write themselves, from their own browsers.
    fn self_written(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether an event is the one that the provider's dashboard sends to whoever tries an endpoint.
    fn is_example(&self, _event: &Event) -> bool {
        false
    }

    /// The snapshot of a profile that is to be kept, with its own copy of it.
    fn snapshot(&self, version: i64, profile: &Map<String, Value>, layout: &Layout) -> Snapshot {
        let snapshot = self.snapshot_of(version, profile, layout);
        Snapshot { profile: json::profile_text(profile), ..snapshot }
    }

    /// What this profile says, as of this version; the snapshot's own copy of it is still to be written down.
    fn snapshot_of(&self, version: i64, profile: &Map<String, Value>, layout: &Layout) -> Snapshot;

    /// The snapshot that left this profile behind.
    fn recall(&self, version: i64, profile: String, layout: &Layout) -> Snapshot {
        let user: Map<String, Value> = serde_json::from_str(&profile).unwrap_or_default();
        Snapshot { profile, ..self.snapshot_of(version, &user, layout) }
    }

    /// Fields of a profile that are lists: a path has to say which entry it means.
    fn lists(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a stored profile never has this field, so that no column can be filled from it.
    fn leaves_out(&self, field: &str) -> bool;

    /// The SQL that has the provider's own database send deliveries there, where that is how they are sent.
    fn installation(&self, _to: &Url, _secret: &str) -> Option<String> {
        None
    }

    /// How its own table is read, where an application has that in its database.
    fn table(&self) -> Option<&'static ProviderTable> {
        None
    }

    /// How its API is read; `None` where it has none that headcount knows.
    fn directory(&self) -> Option<&'static dyn Directory>;
}

/// A provider's table.
pub struct ProviderTable {
    /// What it is called, unless it is configured otherwise.
    pub name: &'static str,
    pub key: &'static str,
    /// The field with the time of a row's last change.
    pub version: &'static str,
    /// The table of people's sessions beside it.
    pub sessions: SessionTable,
    /// The same questions as of its API, which the table answers.
    pub directory: &'static dyn Directory,
    /// A row's change in the words of a delivery.
    pub told: fn(&NotedRow<'_>) -> String,
}

/// A table with a row for each session.
pub struct SessionTable {
    pub name: &'static str,
    /// The field with whose it is.
    pub person: &'static str,
    /// The field with the time of its last use.
    pub used_at: &'static str,
}

/// What an outbox beside a provider's table has told of one row.
pub struct NotedRow<'a> {
    pub provider_id: &'a str,
    /// When, in RFC 3339.
    pub at: &'a str,
    /// Whether the row was not there before.
    pub is_new: bool,
    /// The row as a JSON object; `None` where it is gone.
    pub row: Option<&'a str>,
}

/// A delivery's outline: enough to store it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The provider's name for what happened; empty where the body names none.
    pub event_type: String,
    /// The account that it is about, where that can be told.
    pub provider_id: Option<String>,
    pub occurred_at: Option<Timestamp>,
    /// The message id that the body has, where it is that and not a header's that stays the same.
    pub message_id: Option<String>,
    /// Whether headcount uses deliveries of this type. The body of any other is not stored.
    pub used: bool,
    /// The glance read the body to its end, which is JSON then. Else nobody knows yet.
    pub is_json: bool,
}

/// Why a verified user event cannot be applied, ever. Names the field, never its value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unintelligible {
    #[error("the body cannot be read as this event: {0}")]
    Body(String),
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field} is out of range")]
    OutOfRange { field: &'static str },
    #[error("{field} is longer than {max} bytes")]
    TooLong { field: &'static str, max: usize },
    #[error("{field} holds a character that cannot be decoded or stored")]
    Undecodable { field: &'static str },
}

type MakeProvider = fn() -> Arc<dyn Provider>;

/// The providers that need no description. This is the one list of them: everything else is asked of the provider.
const PROVIDERS: [(&str, MakeProvider); 4] = [
    (clerk::KIND, || Arc::new(clerk::Clerk)),
    (workos::KIND, || Arc::new(workos::WorkOs)),
    (supabase::KIND, || Arc::new(supabase::Supabase)),
    (better_auth::KIND, || Arc::new(better_auth::BetterAuth)),
];

/// Kinds of provider that need no description.
pub const KINDS: [&str; PROVIDERS.len()] = {
    let mut kinds = [""; PROVIDERS.len()];
    let mut n = 0;
    while n < kinds.len() {
        kinds[n] = PROVIDERS[n].0;
        n += 1;
    }
    kinds
};

/// The provider of one of [`KINDS`].
pub fn provider(kind: &str) -> Option<Arc<dyn Provider>> {
    PROVIDERS.iter().find(|(name, _)| *name == kind).map(|(_, provider)| provider())
}

/// The providers of all [`KINDS`], in their order.
pub fn providers() -> impl Iterator<Item = Arc<dyn Provider>> {
    PROVIDERS.iter().map(|(_, provider)| provider())
}

/// The provider that understands what a source's accounts have said: the configured source's, or else of the kind that
/// the source last was.
pub fn provider_of(sources: &[Source], name: &str, kind: Option<&str>) -> Option<Arc<dyn Provider>> {
    let configured = sources.iter().find(|source| source.name == name);
    configured.map(|source| source.provider.clone()).or_else(|| provider(kind?))
}
