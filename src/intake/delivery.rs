//! From a verified delivery to what will lie in the inbox.

use crate::core::timestamp::Timestamp;
use crate::digest::short_digest;
use crate::source::directory::Entry;
use crate::source::signature::SignedHeaders;
use crate::source::{Glance, Source};
use crate::store::NewDelivery;
use serde::de::IgnoredAny;

/// The type under which the inbox keeps a user of a page that cannot be understood.
pub const READ_EVENT: &str = "headcount.read";

/// The delivery as it is stored: of a type that is not used, the outline alone (such bodies carry one-time codes and
/// addresses). `fresh_id` becomes its message id where nothing names one: then each counts as new. `None`: it is not JSON.
pub fn verified(
    source: &Source,
    signed: &SignedHeaders,
    signed_at: Timestamp,
    body: String,
    fresh_id: impl FnOnce() -> String,
) -> Option<NewDelivery> {
    let glance = source.provider.glance(&body);
    if !glance.is_json && serde_json::from_str::<IgnoredAny>(&body).is_err() {
        return None;
    }
    let own_id = Some(signed.id.clone()).filter(|id| !id.is_empty());
    let message_id = glance.message_id.clone().or(own_id).unwrap_or_else(fresh_id);
    let signature = signed.recorded();
    Some(NewDelivery { message_id, signature, ..outlined(source, glance, &body, signed_at) })
}

/// An event that the provider's API has told of, as the delivery that it is as well. `None` where it has no id, or is
/// of no use.
pub fn logged(source: &Source, body: &str, read_at: Timestamp) -> Option<NewDelivery> {
    let glance = source.provider.glance(body);
    let message_id = glance.message_id.clone()?;
    if_used(source, glance, message_id, body, read_at)
}

/// What the outbox of the provider's table has told, as the delivery that it is as well. `None` where it is of no use.
pub fn noted(source: &Source, message_id: String, body: &str, read_at: Timestamp) -> Option<NewDelivery> {
    if_used(source, source.provider.glance(body), message_id, body, read_at)
}

fn if_used(
    source: &Source,
    glance: Glance,
    message_id: String,
    body: &str,
    read_at: Timestamp,
) -> Option<NewDelivery> {
    let is_used = glance.used;
    is_used.then(|| NewDelivery { message_id, ..outlined(source, glance, body, read_at) })
}

fn outlined(source: &Source, glance: Glance, body: &str, signed_at: Timestamp) -> NewDelivery {
    let kept = glance.used.then(|| source.provider.kept(body, signed_at, &source.keep));
    let (body, dead_because) = match kept {
        None => (None, None),
        Some(Ok(kept)) => (Some(kept), None),
        // What cannot be told from what must not be kept is not kept.
        Some(Err(reason)) => (None, Some(reason.to_string())),
    };
    NewDelivery {
        source: source.name.clone(),
        message_id: String::new(),
        event_type: glance.event_type,
        provider_id: glance.provider_id,
        occurred_at: glance.occurred_at,
        signed_at,
        signature: String::new(),
        body,
        dead_because,
    }
}

/// A user of a page that cannot be understood, as the dead letter that it becomes: one for each account and reason,
/// however often it is read.
pub fn odd_user(source: &Source, entry: &Entry, marked_at: Timestamp) -> Option<NewDelivery> {
    let reason = entry.snapshot.as_ref().err()?.to_string();
    let body = entry.odd.clone()?;
    // Without an id the content has to tell one from another.
    let whose = entry.provider_id.as_deref().unwrap_or(&body);
    let digest = short_digest(&format!("{whose}\n{reason}"));
    Some(NewDelivery {
        source: source.name.clone(),
        message_id: format!("read_{digest}"),
        event_type: READ_EVENT.to_owned(),
        provider_id: entry.provider_id.clone(),
        occurred_at: None,
        signed_at: marked_at,
        signature: String::new(),
        body: Some(body),
        dead_because: Some(reason),
    })
}
