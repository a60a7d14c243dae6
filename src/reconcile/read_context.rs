//! What a batch of readings belongs to: its run, its cause, and what a call wants of it.

use super::assignment::Assignment;
use crate::core::timestamp::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// What a batch of readings belongs to.
#[derive(Clone, Debug, Default)]
pub struct ReadContext {
    /// `None` where a delivery asked.
    pub run: Option<RunRef>,
    /// What the feed gives as the cause.
    pub cause: &'static str,
    /// The run's read mark: of an account about which something was received since, absence says nothing.
    pub since: Option<Timestamp>,
    /// Everything is decided and written, and then rolled back.
    pub dry: bool,
    /// Whether the run waits for what it doubts; otherwise whoever has time reads it again.
    pub waits: bool,
    /// Of an adoption: the rows that these accounts (by provider id) are tied to; nobody gets a row beside them.
    pub plan: Option<Arc<HashMap<String, String>>>,
    /// Of a single reading that a call waits for: what else the row is to hold.
    pub assignment: Assignment,
}

/// A run, as far as a transaction needs it.
#[derive(Clone, Debug)]
pub struct RunRef {
    pub id: String,
    pub holder: String,
}

impl ReadContext {
    pub(super) fn waiting_run(&self) -> Option<String> {
        self.run.as_ref().filter(|_| self.waits).map(|run| run.id.clone())
    }
}
