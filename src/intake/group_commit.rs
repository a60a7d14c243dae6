//! Group commit: the deliveries that wait together share one insert and one commit, without any artificial delay.

use super::write_health::{WriteHealth, WriteResult};
use crate::store::{Acceptance, NewDelivery, Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

/// Deliveries that may wait for the writer; their bodies are bounded by the listener's budget.
const QUEUE_DELIVERIES_MAX: usize = 1_024;
const BATCH_DELIVERIES_MAX: usize = 500;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Providers give up after 15 s; they are told to come again before.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a delivery could not be stored now. The provider will deliver it again.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IngestError {
    #[error("too many deliveries are waiting")]
    Full,
    #[error("the inbox cannot be written, or the outcome of its commit is unknown: {why}")]
    Unavailable { why: &'static str },
}

const STOPPING: IngestError = IngestError::Unavailable { why: "headcount is stopping" };
const NO_ANSWER: IngestError = IngestError::Unavailable { why: "the database does not answer a write" };
const FAILED: IngestError = IngestError::Unavailable { why: "headcount failed at it" };

type AcceptResult = Result<Acceptance, IngestError>;

struct QueuedDelivery {
    delivery: NewDelivery,
    answer: oneshot::Sender<AcceptResult>,
}

/// The way into the inbox.
#[derive(Clone)]
pub struct Ingest(mpsc::Sender<QueuedDelivery>);

impl Ingest {
    /// Starts the writer; it ends when the last [`Ingest`] is gone and everything that waited is answered. `stored`
    /// is notified after a commit.
    ///
    /// One writer: what comes while it waits for the disk is the next batch. Two took turns with half as much each, and
    /// the cost of a batch is hardly less for it.
    pub fn start(store: &Store, stored: &Arc<Notify>, health: &Arc<WriteHealth>) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE_DELIVERIES_MAX);
        let writer = write_batches(store.clone(), receiver, stored.clone(), health.clone());
        (Self(sender), tokio::spawn(writer))
    }

    /// Returns once the delivery is durable.
    pub async fn accept(&self, delivery: NewDelivery) -> AcceptResult {
        let (answer, stored) = oneshot::channel();
        self.0.try_send(QueuedDelivery { delivery, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => IngestError::Full,
            mpsc::error::TrySendError::Closed(_) => STOPPING,
        })?;
        match tokio::time::timeout(ACCEPT_TIMEOUT, stored).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(STOPPING),
            Err(_) => Err(NO_ANSWER),
        }
    }
}

async fn write_batches(
    store: Store,
    mut waiting: mpsc::Receiver<QueuedDelivery>,
    stored: Arc<Notify>,
    health: Arc<WriteHealth>,
) {
    let failures = Arc::new(Failures::default());
    while let Some(mut batch) = next_batch(&mut waiting).await {
        // Whoever has been told to come again will: what waited too long is not written as well.
        batch.retain(|waiting| !waiting.answer.is_closed());
        let (deliveries, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.delivery, waiting.answer)).unzip();
        if deliveries.is_empty() {
            continue;
        }
        let count = deliveries.len();
        // In a task of its own: a panic loses this batch, whose senders come again, and not the writer.
        let storing = tokio::spawn(store_batch(store.clone(), deliveries, failures.clone())).await;
        let outcomes = storing.unwrap_or_else(|_| vec![Err(FAILED); count]);
        let written = written(&outcomes);
        health.note(written);
        if written.is_ok() {
            stored.notify_one();
        }
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody listens where the sender has hung up: the delivery is stored all the same.
            let _ = answer.send(outcome);
        }
    }
}

/// What became of a batch as a whole: one that was stored is enough.
fn written(outcomes: &[AcceptResult]) -> WriteResult {
    match outcomes.first() {
        Some(Err(IngestError::Unavailable { why })) if outcomes.iter().all(Result::is_err) => Err(why),
        _ => Ok(()),
    }
}

/// What waits now; `None` when nothing will come any more.
async fn next_batch(waiting: &mut mpsc::Receiver<QueuedDelivery>) -> Option<Vec<QueuedDelivery>> {
    let first = waiting.recv().await?;
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while batch.len() < BATCH_DELIVERIES_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(next) = waiting.try_recv() else { break };
        bytes += size(&next);
        batch.push(next);
    }
    Some(batch)
}

async fn store_batch(
    store: Store,
    deliveries: Vec<NewDelivery>,
    failures: Arc<Failures>,
) -> Vec<AcceptResult> {
    match store.accept(&deliveries).await {
        Ok(accepted) => accepted.into_iter().map(Ok).collect(),
        Err(error) if error.is_of_one_account() && deliveries.len() > 1 => {
            // One that the database cannot take must not fail its neighbours.
            let mut outcomes = Vec::with_capacity(deliveries.len());
            for delivery in deliveries {
                outcomes.push(store_one(&store, delivery, &failures).await);
            }
            outcomes
        }
        Err(error) => {
            failures.tell(&error, deliveries.len());
            vec![Err(unavailable(&error)); deliveries.len()]
        }
    }
}

async fn store_one(store: &Store, delivery: NewDelivery, failures: &Failures) -> AcceptResult {
    match store.accept(&[delivery]).await {
        Ok(accepted) => accepted.into_iter().next().ok_or(FAILED),
        Err(error) => {
            failures.tell(&error, 1);
            Err(unavailable(&error))
        }
    }
}

fn unavailable(error: &StoreError) -> IngestError {
    IngestError::Unavailable { why: error.why_no_writes() }
}

/// Deliveries that could not be stored, as the log tells of them: at once, and then together every now and then. The log
/// may lie on the very disk that is full.
#[derive(Default)]
struct Failures(Mutex<(Option<Instant>, usize)>);

/// Between two lines of the log about the same trouble.
const TELL_EVERY: Duration = Duration::from_secs(10);

impl Failures {
    fn tell(&self, error: &StoreError, deliveries: usize) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.1 += deliveries;
        if told.0.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        let count = std::mem::take(&mut told.1);
        told.0 = Some(Instant::now());
        if error.is_transient() {
            warn!(delivery.count = count, "deliveries could not be stored and will come again: {error}");
        } else {
            error!(delivery.count = count, "deliveries cannot be stored: {error}");
        }
    }
}

fn size(waiting: &QueuedDelivery) -> usize {
    waiting.delivery.body.as_ref().map_or(0, String::len)
}
