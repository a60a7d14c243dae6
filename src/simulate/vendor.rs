//! What differs from one simulated provider to another, but for the calls of its API.
//!
//! This is the stand-in's own understanding of the provider: nothing of it comes from `source/` but the name of a way to
//! sign.

use super::ids::IdForm;
use super::world::{Person, Truth, World};
use crate::core::timestamp::Timestamp;
use crate::source::signature::Scheme;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;

/// What happened to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserEvent {
    Created,
    Updated,
    Deleted,
}

impl UserEvent {
    /// As Clerk and WorkOS call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            UserEvent::Created => "user.created",
            UserEvent::Updated => "user.updated",
            UserEvent::Deleted => "user.deleted",
        }
    }
}

/// An event that is to be delivered, before the provider has put it into words.
pub(super) struct Notice<'a> {
    pub event: UserEvent,
    pub user_id: &'a str,
    /// What [`Vendor::data`] says of the user.
    pub data: &'a str,
    /// Events are counted from 1 on.
    pub number: u64,
    pub seed: u64,
    pub at: Timestamp,
    /// The instance that the key belongs to.
    pub instance: &'a str,
}

/// A provider that is simulated.
pub(super) trait Vendor: Send + Sync {
    /// The kind's name, as `[sources.NAME]` has it.
    fn name(&self) -> &'static str;

    /// How its deliveries show where they come from.
    fn scheme(&self) -> Scheme;

    fn id_form(&self) -> IdForm;

    /// Requests in ten seconds with this key; zero for no limit.
    fn requests_max(&self, secret_key: &str) -> u32;

    /// What a delivery carries about the person.
    fn data(&self, world: &World, person: &Person, event: UserEvent) -> String;

    /// The body of a delivery with this message id.
    fn body(&self, notice: &Notice, message_id: &str) -> String;

    /// The message id of a delivery. Unless a provider has ids of its own, it looks like Svix'.
    fn message_id(&self, notice: &Notice) -> String {
        let user_id = &notice.user_id[notice.user_id.len().saturating_sub(6)..];
        format!("msg_{:x}_{}_{user_id}", notice.seed, notice.number)
    }

    /// Whether its API tells events as well.
    fn has_event_log(&self) -> bool {
        false
    }

    /// The person as the columns of `users` can have them: `whole` without what this provider does not tell.
    fn truth(&self, world: &World, person: &Person, whole: Truth) -> Truth;

    /// A refusal in the provider's own form.
    fn refuse(&self, status: StatusCode, code: &str, message: &str) -> Response;

    /// The answer where there is no such user.
    fn not_found(&self) -> Response;

    /// The answer to a wrong key.
    fn refuse_key(&self) -> Response;

    /// Whether a request brings this key.
    fn has_key(&self, headers: &HeaderMap, secret_key: &str) -> bool {
        bearer(headers) == Some(secret_key)
    }
}

/// The key of an `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    header_text(headers, header::AUTHORIZATION)?.strip_prefix("Bearer ")
}

pub(super) fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
