//! Deliveries as the provider makes them, with Svix' retry schedule and idea of success, and on request its bad days.

use super::faults::Faults;
use super::people::Dice;
use super::vendor::{Notice, UserEvent, Vendor};
use crate::clock::Clock;
use crate::source::signature::SigningKey;
use reqwest::{Client, StatusCode, redirect};
use serde::Serialize;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use url::Url;

/// Seconds before each attempt: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h.
const SCHEDULE_SECONDS: [u64; 8] = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
/// "Success = 2xx within 15 s."
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
const JITTER: f64 = 0.2;
const CONCURRENT: usize = 64;
/// How much later a delivery comes that others overtake.
const OVERTAKEN_BY_MS: u64 = 5_000;

/// What became of deliveries so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Changes that were to be told.
    pub events: u64,
    /// Of those, never sent, as was asked for.
    pub dropped: u64,
    pub repeated: u64,
    pub attempts: u64,
    /// Answered 2xx.
    pub delivered: u64,
    /// Given up after the last attempt.
    pub exhausted: u64,
    pub waiting: i64,
}

/// Whose deliveries they are, and where they go.
pub(super) struct Route {
    pub vendor: &'static dyn Vendor,
    pub key: SigningKey,
    pub seed: u64,
    pub instance: String,
    /// `None` for nowhere.
    pub to: Option<Url>,
    /// The retry schedule runs so many times faster.
    pub time_compression: f64,
}

/// The way out.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Inner>);

struct Inner {
    key: SigningKey,
    client: Client,
    to: Mutex<Option<Url>>,
    instance: String,
    compression: f64,
    faults: Arc<Mutex<Faults>>,
    dice: Mutex<Dice>,
    tally: Mutex<Tally>,
    slots: Semaphore,
    waiting: AtomicI64,
    settled: Notify,
    seed: u64,
    vendor: &'static dyn Vendor,
    log: Mutex<Vec<DeliveryRecord>>,
    clock: Arc<dyn Clock>,
}

/// An event as an API of events has it.
#[derive(Clone)]
pub(super) struct DeliveryRecord {
    pub id: String,
    pub name: &'static str,
    pub at_ms: i64,
    /// Whether the API shows it later than those behind it, while it is told to (`events_late_ms`).
    pub may_be_late: bool,
    pub body: String,
}

struct Message {
    id: String,
    body: String,
}

impl Outbox {
    /// An error where no HTTP client can be made.
    pub(super) fn new(
        route: Route,
        faults: Arc<Mutex<Faults>>,
        clock: Arc<dyn Clock>,
    ) -> reqwest::Result<Self> {
        let client = Client::builder().timeout(ATTEMPT_TIMEOUT).redirect(redirect::Policy::none()).build()?;
        Ok(Self(Arc::new(Inner {
            key: route.key,
            client,
            to: Mutex::new(route.to),
            instance: route.instance,
            compression: route.time_compression.max(1.0),
            faults,
            dice: Mutex::new(Dice::new(route.seed ^ 0xde)),
            tally: Mutex::new(Tally::default()),
            slots: Semaphore::new(CONCURRENT),
            waiting: AtomicI64::new(0),
            settled: Notify::new(),
            seed: route.seed,
            vendor: route.vendor,
            log: Mutex::default(),
            clock,
        })))
    }

    pub(super) fn deliver_to(&self, url: Url) {
        *lock(&self.0.to) = Some(url);
    }

    pub(super) fn tally(&self) -> Tally {
        Tally { waiting: self.0.waiting.load(Ordering::Relaxed), ..*lock(&self.0.tally) }
    }

    pub(super) async fn drained(&self) {
        loop {
            let settled = self.0.settled.notified();
            if self.0.waiting.load(Ordering::Acquire) == 0 {
                return;
            }
            tokio::select! {
                biased;
                () = settled => {}
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
    }

    /// Sends it, by and by. Nothing is sent where there is nowhere to send it.
    pub(super) fn send(&self, event: UserEvent, user_id: &str, data: &str) {
        let inner = &self.0;
        let number = {
            let mut tally = lock(&inner.tally);
            tally.events += 1;
            tally.events
        };
        let faults = lock(&inner.faults).clone();
        let (id, body) = self.message(event, user_id, data, number);
        self.note(event, &id, &body, number);
        if lock(&inner.to).is_none() {
            return;
        }
        let (dropped, repeated, delay_ms) = {
            let mut dice = lock(&inner.dice);
            let overtaken = if dice.chance(faults.reorder) { dice.roll(OVERTAKEN_BY_MS) } else { 0 };
            (
                dice.chance(faults.drop),
                dice.chance(faults.repeat),
                overtaken + dice.roll(faults.delay_ms.saturating_add(1)),
            )
        };
        if dropped {
            lock(&inner.tally).dropped += 1;
            return;
        }
        let message = Arc::new(Message { id, body });
        for copy in 0..=u64::from(repeated) {
            inner.waiting.fetch_add(1, Ordering::AcqRel);
            let delay = Duration::from_millis(delay_ms * (copy + 1) + copy * 50);
            tokio::spawn(attempts(inner.clone(), message.clone(), delay));
        }
        lock(&inner.tally).repeated += u64::from(repeated);
    }
}

impl Outbox {
    /// Id and body, as the provider makes them.
    fn message(&self, event: UserEvent, user_id: &str, data: &str, number: u64) -> (String, String) {
        let inner = &self.0;
        let (at, seed, instance) = (inner.clock.now(), inner.seed, &inner.instance);
        let notice = Notice { event, user_id, data, number, seed, at, instance };
        let id = inner.vendor.message_id(&notice);
        let body = inner.vendor.body(&notice, &id);
        (id, body)
    }

    /// For the API of events: every third one may be late.
    fn note(&self, event: UserEvent, id: &str, body: &str, number: u64) {
        if !self.0.vendor.has_event_log() {
            return;
        }
        let at_ms = self.0.clock.now().ms();
        let may_be_late = number.is_multiple_of(3);
        let (id, body) = (id.to_owned(), body.to_owned());
        lock(&self.0.log).push(DeliveryRecord { id, name: event.name(), at_ms, may_be_late, body });
    }

    pub(super) fn log(&self) -> Vec<DeliveryRecord> {
        lock(&self.0.log).clone()
    }
}

async fn attempts(inner: Arc<Inner>, message: Arc<Message>, first_delay: Duration) {
    tokio::time::sleep(first_delay).await;
    let mut delivered = false;
    let mut asked_for = Duration::ZERO;
    for seconds in SCHEDULE_SECONDS {
        // Not of the seeded ones: attempts run beside each other, and would mix the numbers up.
        let jitter = 1.0 - JITTER + 2.0 * JITTER * inner.clock.random();
        let planned = Duration::from_secs(seconds).mul_f64(jitter);
        // A receiver's Retry-After is honoured between once and twice the planned delay.
        let delay = asked_for.clamp(planned, planned * 2);
        tokio::time::sleep(delay.div_f64(inner.compression)).await;
        let outage = lock(&inner.faults).outage;
        let Some(to) = lock(&inner.to).clone().filter(|_| !outage) else { continue };
        let Ok(_slot) = inner.slots.acquire().await else { break };
        match attempt(&inner, &message, to).await {
            Ok(()) => {
                delivered = true;
                break;
            }
            Err(retry_after) => asked_for = retry_after,
        }
    }
    {
        let mut tally = lock(&inner.tally);
        tally.delivered += u64::from(delivered);
        tally.exhausted += u64::from(!delivered);
    }
    inner.waiting.fetch_sub(1, Ordering::AcqRel);
    inner.settled.notify_waiters();
}

/// Signed anew for each attempt. An error comes with what the receiver asked for.
async fn attempt(inner: &Inner, message: &Message, to: Url) -> Result<(), Duration> {
    lock(&inner.tally).attempts += 1;
    let mut request = inner.client.post(to).header("content-type", "application/json");
    for (name, value) in inner.key.headers(&message.id, inner.clock.now(), message.body.as_bytes()) {
        request = request.header(name, value);
    }
    let answer = request
        .header("user-agent", "headcount-simulate")
        .body(message.body.clone())
        .send()
        .await
        .map_err(|_| Duration::ZERO)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let seconds =
        retry_after.unwrap_or(if answer.status() == StatusCode::TOO_MANY_REQUESTS { 60 } else { 0 });
    Err(Duration::from_secs(seconds))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
