//! Deliveries in the inbox, without their bodies.

use crate::store::StoredDelivery;
use serde::Serialize;
use utoipa::ToSchema;

/// One delivery.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventJson {
    pub seq: i64,
    pub source: String,
    pub message_id: String,
    pub event_type: String,
    pub provider_id: Option<String>,
    pub occurred_at: Option<String>,
    pub received_at: String,
    /// `pending`, `applied`, `stale`, `ignored`, `held` or `dead`
    pub status: String,
    pub attempts: i64,
    pub next_attempt_at: Option<String>,
    pub last_error: Option<String>,
    pub finished_at: Option<String>,
}

/// Some deliveries, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventPage {
    pub events: Vec<EventJson>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

impl From<&StoredDelivery> for EventJson {
    fn from(delivery: &StoredDelivery) -> Self {
        let delivery = delivery.clone();
        Self {
            seq: delivery.seq,
            source: delivery.source,
            message_id: delivery.message_id,
            event_type: delivery.event_type,
            provider_id: delivery.provider_id,
            occurred_at: delivery.occurred_at,
            received_at: delivery.received_at,
            status: delivery.status,
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at,
            last_error: delivery.last_error,
            finished_at: delivery.finished_at,
        }
    }
}
