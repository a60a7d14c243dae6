//! The way into the inbox.

use crate::store::Store;
use crate::store::engine::delivery::NewDelivery;
use crate::store::engine::error::StoreError;
use std::collections::HashSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    Accepted,
    Duplicate,
}

impl Store {
    /// Stores deliveries in one commit; each is accepted once, however often it comes.
    pub async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Vec<Acceptance>, StoreError> {
        if deliveries.is_empty() {
            return Ok(Vec::new());
        }
        let Some(new) = self.driver.accept(deliveries).await? else {
            return Ok(vec![Acceptance::Accepted; deliveries.len()]);
        };
        let mut new: HashSet<(String, String)> = new.into_iter().collect();
        let acceptance = |delivery: &NewDelivery| {
            // Taken out: a second copy within the same batch is a duplicate.
            match new.remove(&(delivery.source.clone(), delivery.message_id.clone())) {
                true => Acceptance::Accepted,
                false => Acceptance::Duplicate,
            }
        };
        Ok(deliveries.iter().map(acceptance).collect())
    }
}
