//! What a provider's API is asked, and what its answers mean. Requests are values; `http.rs` sends them.

use super::Kept;
use super::Unintelligible;
use super::api_error::ApiError;
use super::json::{OnlyId, checked_id, reason, text};
use super::lenient;
use crate::core::event::Snapshot;
use crate::core::layout::Layout;
use crate::core::rate::RateLimit;
use crate::core::timestamp::Timestamp;
use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

pub use super::api_error::Malformed;

/// What differs from API to API.
pub trait Directory: Send + Sync {
    /// Where the API is unless configured otherwise; `None` where each customer has an address of its own.
    fn default_url(&self) -> Option<&'static str>;

    /// The part of an address that is the same for every request.
    fn base(&self, url: &Url) -> String {
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// Headers of every request, but for the key's.
    fn headers(&self) -> &'static [(&'static str, &'static str)];

    /// Whether the row itself is read, where it is written: what it says by its id decides at once (contract, rule 3).
    fn reads_the_row(&self) -> bool {
        false
    }

    /// A header that carries the key as it is, beside `Authorization: Bearer`.
    fn key_header(&self) -> Option<&'static str> {
        None
    }

    /// What a text is where it is plainly no key of this API, such as `a publishable key, which is public`.
    fn mistaken_key(&self, _key: &str) -> Option<&'static str> {
        None
    }

    /// The limit that the provider publishes for this kind of key.
    fn rate_limit(&self, key: &str) -> RateLimit;

    /// The order of the whole list.
    fn list_order(&self) -> ListOrder {
        ListOrder::Creation
    }

    /// A page of the whole list.
    fn page(&self, position: &Position) -> PageRequest;

    /// Path and query of so many accounts of the list from the `start`-th on (from 0), a multiple of `size`; `None` where it
    /// cannot be asked for by places.
    fn slice(&self, _start: usize, _size: usize) -> Option<String> {
        None
    }

    /// Whether a list in which nobody's time of creation differs is one that begins with the youngest.
    fn newest_first(&self) -> bool {
        false
    }

    /// Whether the list can be asked for from a time of creation on.
    fn lists_since(&self) -> bool;

    /// How what changed last is found.
    fn newest(&self) -> Newest;

    /// The number of accounts: path and query; `None` where the API does not count.
    fn count(&self) -> Option<String>;

    /// Another way to the same number, where the first one leads past an account that the API cannot give.
    fn count_otherwise(&self) -> Option<String> {
        None
    }

    /// The number of people who were active since then: path and query; `None` where it does not say.
    fn active_since(&self, _since: Timestamp) -> Option<String> {
        None
    }

    fn one(&self, provider_id: &str) -> String;

    /// How it is told which instance the key belongs to.
    fn instance(&self) -> Instance;

    /// The accounts of a page. One that cannot be understood is an entry all the same.
    fn read_page(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Listed, Malformed>;

    fn read_one(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Entry, Malformed>;

    fn read_count(&self, answer: &Answer) -> Result<u64, Malformed>;

    /// The provider's own code in the body of an error; `None` where the body is not the provider's.
    fn error_code(&self, body: &str) -> Option<String>;

    /// Whether this code says that there is no such account.
    fn means_absent(&self, code: &str) -> bool;
}

/// The order in which a list has its accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOrder {
    /// Of creation, whichever way: whoever is known and created between two accounts of a page must be on it.
    Creation,
    /// Of ids, by a collation that only the source knows. Entries have no time of creation, and who is missing is known at
    /// the end of the list.
    Id,
}

/// Where requests are answered.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The answer to a request of the directory's; `None` where there is no such account.
    async fn get(&self, path: &str) -> Result<Option<Answer>, ApiError>;
}

/// An answer of 200.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub body: String,
    /// `X-Total-Count`
    pub total: Option<u64>,
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Behind the account with this id, of those created since `since` (all of them, where it is `None`).
    After { provider_id: Option<String>, since: Option<Timestamp> },
    /// The provider's own word for a place.
    Cursor(String),
    /// Behind so many accounts, or a little before: for APIs that know no cursor.
    Offset(usize),
}

impl Position {
    pub const START: Position = Position::After { provider_id: None, since: None };
}

/// How a page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Path and query.
    pub path: String,
    /// By offset: where the page begins.
    pub start: usize,
    /// Accounts on a full page.
    pub size: usize,
}

/// What a page has brought.
#[derive(Clone, Debug)]
pub struct Listed {
    pub entries: Vec<Entry>,
    pub more: More,
}

/// Whether there is another page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum More {
    /// Where this one is full.
    IfFull,
    No,
    /// Behind its last account.
    Yes,
    /// There.
    Cursor(String),
    /// By offset alone: what was asked for by cursor was answered otherwise.
    NoCursor,
}

/// How what changed last is found.
#[derive(Clone, Copy)]
pub enum Newest {
    /// By a list in the order of changes: path and query of a part of it, from its offset and length. What was changed so
    /// long (in units of the version) before the last change that was seen may come to light behind it.
    ByUpdate { page: fn(usize, usize) -> String, overlap: i64 },
    /// Sign-ups alone, so many at once, by a list in the order of creation.
    ByCreation { page: fn(usize, usize) -> String, at_once: usize },
    /// By the provider's own events: what its webhooks send, under the same ids.
    Events(&'static dyn EventLog),
}

/// Events that can be read as well as received.
pub trait EventLog: Send + Sync {
    /// Path and query of the events since `since`, behind the event `after` where there is one.
    fn page(&self, since: Timestamp, after: Option<&str>) -> String;

    fn read(&self, body: &str) -> Result<Logged, Malformed>;
}

/// A page of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub events: Vec<LoggedEvent>,
    /// The event behind which there are more.
    pub after: Option<String>,
}

/// An event as a delivery would bring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    pub body: String,
    /// By the provider's clock.
    pub created_at: Option<Timestamp>,
}

/// How it is told which instance a key belongs to.
#[derive(Clone, Copy)]
pub enum Instance {
    /// The API says: path, and what its answer means.
    Asked(&'static str, fn(&str) -> Result<String, Malformed>),
    /// Each instance has an address of its own.
    Address,
    /// Nothing says. An account that is known must be there.
    Accounts,
}

/// One account on a page.
#[derive(Clone, Debug)]
pub struct Entry {
    pub provider_id: Option<String>,
    /// At the provider.
    pub created_at: Option<Timestamp>,
    pub snapshot: Result<Snapshot, Unintelligible>,
    /// The JSON as it came, where it could not be understood: without what must not be kept.
    pub odd: Option<String>,
}

impl Entry {
    /// A user of an answer, with what may be kept of it, whose id is at `id`: when it was created at the provider, and what it says, are `read`'s to tell.
    pub(super) fn read(
        raw: &RawValue,
        keep: &Kept,
        read: impl FnOnce(&mut Map<String, Value>) -> Result<(Option<Timestamp>, Snapshot), Unintelligible>,
    ) -> Self {
        let entry =
            lenient::read::<Map<String, Value>>(raw.get()).map_err(reason).and_then(|(mut user, _)| {
                keep.strip(&mut user);
                let id = checked_id(text(user.get("id")))?;
                let (created_at, snapshot) = read(&mut user)?;
                Ok(Self { provider_id: Some(id), created_at, snapshot: Ok(snapshot), odd: None })
            });
        entry.unwrap_or_else(|reason| Self::odd(raw.get(), keep, reason))
    }

    fn odd(raw: &str, keep: &Kept, reason: Unintelligible) -> Self {
        // Of what is no object nothing can be told from what must not be kept.
        let kept = lenient::read::<Map<String, Value>>(raw).map(|(mut user, _)| {
            keep.strip(&mut user);
            user
        });
        let odd = Value::Object(kept.unwrap_or_default()).to_string();
        let outline = lenient::read::<OnlyId>(raw).ok();
        let provider_id = outline.and_then(|(outline, _)| checked_id(outline.text()).ok());
        // Its creation time is left out: what cannot be understood does not say where the list is.
        Self { provider_id, created_at: None, snapshot: Err(reason), odd: Some(odd) }
    }
}

/// Why a source cannot be read as it is configured.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unreadable {
    #[error("source {source_name} has no API key, so it cannot be read; {advice}")]
    NoKey {
        source_name: String,
        /// What to set.
        advice: String,
    },
    #[error("source {source_name} cannot be read: its kind {kind} has no API that headcount knows")]
    NoApi { source_name: String, kind: &'static str },
}
