//! Reading a body within limits: of its own size, of all bodies together, and of time.
//!
//! Where bodies take all that they may take, the one that has been arriving for longest is given up for one that comes
//! now: a delivery arrives at once, and nobody can hold the budget by sending slowly.

use super::problem::Problem;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::collections::BTreeMap;
use std::string::FromUtf8Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// All bodies that are being read or wait to be stored.
const BYTES_IN_FLIGHT_MAX: usize = 32 * 1024 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// For a body that was given up to give its share back.
const GIVE_UP_TIMEOUT: Duration = Duration::from_millis(50);
/// When to come again where bodies take all the memory that they may take.
const RETRY_AFTER_SECONDS: u32 = 5;

/// What bodies may take of memory. Paid for as bytes arrive, so that announcing a large body takes nothing from others.
#[derive(Clone)]
pub struct BodyBudget {
    bytes: Arc<Semaphore>,
    body_bytes_max: usize,
    arriving: Arc<Arriving>,
}

/// Bodies that have arrived in part, the first that began first.
#[derive(Default)]
struct Arriving {
    next: AtomicU64,
    bodies: Mutex<BTreeMap<u64, CancellationToken>>,
}

/// The place of one of them, given back when it is dropped.
struct ArrivalPlace {
    number: u64,
    given_up: CancellationToken,
    of: Arc<Arriving>,
}

impl Arriving {
    fn enter(self: &Arc<Self>) -> ArrivalPlace {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let given_up = CancellationToken::new();
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).insert(number, given_up.clone());
        ArrivalPlace { number, given_up, of: self.clone() }
    }

    /// Gives up the one that has been arriving for longest; `false` where there is none but the one of this number.
    fn give_one_up(&self, but: Option<u64>) -> bool {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        match bodies.first_key_value().map(|(number, _)| *number) {
            Some(number) if Some(number) != but => {
                if let Some(given_up) = bodies.remove(&number) {
                    given_up.cancel();
                }
                true
            }
            _ => false,
        }
    }
}

impl Drop for ArrivalPlace {
    fn drop(&mut self) {
        self.of.bodies.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// A body with its share of the budget, which is given back when it is dropped.
pub struct BoundedBody {
    pub bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

impl BoundedBody {
    /// The body as text, without a copy, and its share of the budget.
    pub fn into_text(self) -> Result<(String, Option<OwnedSemaphorePermit>), FromUtf8Error> {
        Ok((String::from_utf8(self.bytes)?, self._share))
    }
}

impl BodyBudget {
    pub fn new(body_bytes_max: usize) -> Self {
        let bytes = BYTES_IN_FLIGHT_MAX.max(body_bytes_max.saturating_mul(2)).min(Semaphore::MAX_PERMITS);
        Self { bytes: Arc::new(Semaphore::new(bytes)), body_bytes_max, arriving: Arc::default() }
    }

    /// Reads the body to its end, within 15 seconds.
    ///
    /// # Errors
    ///
    /// Where the body is too large or too slow, where it ends early, or where other bodies have taken all of the budget.
    pub async fn read(&self, headers: &HeaderMap, body: Body) -> Result<BoundedBody, BodyError> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.body_bytes_max) {
            return Err(BodyError::TooLarge);
        }
        match tokio::time::timeout(READ_TIMEOUT, self.collect(announced, body)).await {
            Ok(read) => read,
            Err(_) => Err(BodyError::TooSlow),
        }
    }

    async fn collect(&self, announced: Option<usize>, mut body: Body) -> Result<BoundedBody, BodyError> {
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(16 * 1024));
        let mut share: Option<OwnedSemaphorePermit> = None;
        let mut place: Option<ArrivalPlace> = None;
        loop {
            let frame = match &place {
                None => body.frame().await,
                Some(place) => tokio::select! {
                    biased;
                    () = place.given_up.cancelled() => return Err(BodyError::Overloaded),
                    frame = body.frame() => frame,
                },
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(|_| BodyError::CutOff)?.into_data() else { continue };
            if bytes.len() + data.len() > self.body_bytes_max {
                return Err(BodyError::TooLarge);
            }
            let size = u32::try_from(data.len()).map_err(|_| BodyError::TooLarge)?;
            let more = self.take(size, place.as_ref()).await?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.extend_from_slice(&data);
            if place.is_none() && !body.is_end_stream() {
                place = Some(self.arriving.enter());
            }
        }
        Ok(BoundedBody { bytes, _share: share })
    }

    /// So many bytes of the budget, where need be of bodies that have been arriving for longer.
    async fn take(&self, size: u32, place: Option<&ArrivalPlace>) -> Result<OwnedSemaphorePermit, BodyError> {
        loop {
            if let Ok(share) = self.bytes.clone().try_acquire_many_owned(size) {
                return Ok(share);
            }
            if !self.arriving.give_one_up(place.map(|place| place.number)) {
                return Err(BodyError::Overloaded);
            }
            let given_back = self.bytes.clone().acquire_many_owned(size);
            if let Ok(Ok(share)) = tokio::time::timeout(GIVE_UP_TIMEOUT, given_back).await {
                return Ok(share);
            }
        }
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than the listener takes.
    TooLarge,
    /// It did not come to its end in time.
    TooSlow,
    /// The connection ended before the body did.
    CutOff,
    /// The bodies that are being read take all the memory that bodies may take.
    Overloaded,
}

impl BodyError {
    /// The word under which refused deliveries are counted.
    pub fn reason(self) -> &'static str {
        match self {
            BodyError::TooLarge => "too_large",
            BodyError::TooSlow => "too_slow",
            BodyError::CutOff => "cut_off",
            BodyError::Overloaded => "overloaded",
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is larger than what is taken here (of a delivery: HEADCOUNT_MAX_BODY)",
            ),
            BodyError::TooSlow => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            BodyError::CutOff => Problem::new(StatusCode::BAD_REQUEST, "the body was cut off"),
            BodyError::Overloaded => Problem::unavailable(
                "too many deliveries are waiting; deliver this one again",
                RETRY_AFTER_SECONDS,
            ),
        }
    }
}
