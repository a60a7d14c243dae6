//! The way into the inbox.

use super::Store;
use super::driver::Row;
use super::error::StoreError;
use crate::core::timestamp::Timestamp;
use std::borrow::Cow;
use std::collections::HashSet;

/// A verified delivery, about to be stored.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub source: String,
    pub message_id: String,
    pub event_type: String,
    pub provider_id: Option<String>,
    pub occurred_at: Option<Timestamp>,
    /// The time of the attempt that was signed.
    pub signed_at: Timestamp,
    /// The signature header, so that the delivery can be recorded and verified once more.
    pub signature: String,
    /// The bytes as signed; `None` stores the delivery as ignored.
    pub body: Option<String>,
    /// Why it is a dead letter from the beginning.
    pub dead_because: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    Accepted,
    Duplicate,
}

/// What the inbox has of a delivery, as [`COLUMNS`] names it.
pub(super) type Cells<'a> = [Option<Cow<'a, str>>; COLUMNS.len()];

/// Beside them come when it was received and, for one that is pending, when it is due; else when it was finished.
pub(super) const COLUMNS: [&str; 10] = [
    "source",
    "message_id",
    "event_type",
    "provider_id",
    "signature",
    "body",
    "last_error",
    "occurred_at",
    "signed_at",
    "status",
];

impl NewDelivery {
    pub(super) fn cells(&self) -> Cells<'_> {
        let status = match (&self.body, &self.dead_because) {
            (_, Some(_)) => "dead",
            (Some(_), None) => "pending",
            (None, None) => "ignored",
        };
        [
            Some(Cow::Borrowed(&*self.source)),
            Some(Cow::Borrowed(&*self.message_id)),
            Some(Cow::Borrowed(&*self.event_type)),
            self.provider_id.as_deref().map(Cow::Borrowed),
            Some(Cow::Borrowed(&*self.signature)),
            self.body.as_deref().map(Cow::Borrowed),
            self.dead_because.as_deref().map(Cow::Borrowed),
            self.occurred_at.map(|at| Cow::Owned(at.to_string())),
            Some(Cow::Owned(self.signed_at.to_string())),
            Some(Cow::Borrowed(status)),
        ]
    }
}

impl Store {
    /// Stores deliveries in one commit; each is accepted once, however often it comes.
    pub async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Vec<Acceptance>, StoreError> {
        if deliveries.is_empty() {
            return Ok(Vec::new());
        }
        let new = self.driver.accept(deliveries).await?;
        if new.len() == deliveries.len() {
            return Ok(vec![Acceptance::Accepted; deliveries.len()]);
        }
        let mut new: HashSet<Row> = new.into_iter().collect();
        let acceptance = |delivery: &NewDelivery| {
            // Taken out: a second copy within the same batch is a duplicate.
            match new.remove(&vec![Some(delivery.source.clone()), Some(delivery.message_id.clone())]) {
                true => Acceptance::Accepted,
                false => Acceptance::Duplicate,
            }
        };
        Ok(deliveries.iter().map(acceptance).collect())
    }
}
