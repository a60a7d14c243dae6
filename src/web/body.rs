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

    pub async fn read(&self, headers: &HeaderMap, body: Body) -> Result<BoundedBody, Problem> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.body_bytes_max) {
            return Err(too_large());
        }
        match tokio::time::timeout(READ_TIMEOUT, self.collect(announced, body)).await {
            Ok(read) => read,
            Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
        }
    }

    async fn collect(&self, announced: Option<usize>, mut body: Body) -> Result<BoundedBody, Problem> {
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(16 * 1024));
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let cut_off = |_| Problem::new(StatusCode::BAD_REQUEST, "the body was cut off");
            let Ok(data) = frame.map_err(cut_off)?.into_data() else { continue };
            if bytes.len() + data.len() > self.body_bytes_max {
                return Err(too_large());
            }
            let size = u32::try_from(data.len()).map_err(|_| too_large())?;
            let more = self.bytes.clone().try_acquire_many_owned(size).map_err(|_| {
                Problem::unavailable("too many deliveries are waiting; deliver this one again", 5)
            })?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(BoundedBody { bytes, _share: share })
    }
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body is larger than what is taken here (of a delivery: HEADCOUNT_MAX_BODY)",
    )
}
