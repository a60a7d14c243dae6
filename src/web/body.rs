//! Reading a body within limits: of its own size, of all bodies together, and of time.

use super::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::string::FromUtf8Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All bodies that are being read or wait to be stored.
const BYTES_IN_FLIGHT_MAX: usize = 32 * 1024 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// When to come again where bodies take all the memory that they may take.
const RETRY_AFTER_SECONDS: u32 = 5;

/// What bodies may take of memory. Paid for as bytes arrive, so that announcing a large body takes nothing from others.
#[derive(Clone)]
pub struct BodyBudget {
    bytes: Arc<Semaphore>,
    body_bytes_max: usize,
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
        Self { bytes: Arc::new(Semaphore::new(bytes)), body_bytes_max }
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
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::CutOff)?.into_data() else { continue };
            if bytes.len() + data.len() > self.body_bytes_max {
                return Err(BodyError::TooLarge);
            }
            let size = u32::try_from(data.len()).map_err(|_| BodyError::TooLarge)?;
            let more = self.bytes.clone().try_acquire_many_owned(size).map_err(|_| BodyError::Overloaded)?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(BoundedBody { bytes, _share: share })
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
