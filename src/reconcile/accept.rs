//! From a verified delivery to what will lie in the inbox.

use crate::core::timestamp::Timestamp;
use crate::source::Source;
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
    }
}
