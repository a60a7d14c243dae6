//! From a verified delivery to what will lie in the inbox.

use super::reads::READ_EVENT;
use super::short_digest;
use crate::core::timestamp::Timestamp;
use crate::source::Source;
use crate::source::directory::Entry;
use crate::source::signature::SignedHeaders;
use crate::store::NewDelivery;

/// The delivery as it is stored: of a type that is not used, the outline alone (such bodies carry one-time codes and
/// addresses).
pub fn verified(source: &Source, signed: SignedHeaders, signed_at: Timestamp, body: &str) -> NewDelivery {
    let glance = source.provider.glance(body);
    NewDelivery {
        source: source.name.clone(),
        message_id: signed.id,
        event_type: glance.event_type,
        provider_id: glance.provider_id,
        occurred_at: glance.occurred_at,
        signed_at,
        signature: signed.signature,
        body: glance.used.then(|| body.to_owned()),
        dead_because: None,
    }
}

/// A user of a page that cannot be understood, as the dead letter that it becomes: one for each account and reason,
/// however often it is read.
pub fn odd_user(source: &Source, entry: &Entry, marked_at: Timestamp) -> Option<NewDelivery> {
    let reason = entry.said.as_ref().err()?.to_string();
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
