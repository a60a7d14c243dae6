//! What is answered: JSON, with a tag by which whoever has it already is spared it; and errors of calls as problems.

use crate::digest::hex;
use crate::reconcile::{CallError, NoRoom};
use crate::resync::EnsureError;
use crate::store::StoreError;
use crate::web::problem::Problem;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tracing::{error, warn};

/// In how many seconds to come again.
const RETRY_AFTER_SECONDS: u32 = 2;

/// What a handler of the admin listener answers.
pub type AdminAnswer = Result<Response, Problem>;

fn body_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body_of(value)).into_response()
}

/// The answer to a read; 304 without a body to whoever has the same.
pub fn tagged(headers: &HeaderMap, value: &impl Serialize) -> Response {
    let body = body_of(value);
    let hash = Sha256::digest(body.as_bytes());
    let tag = hex(&hash[..16]);
    let tag = format!("\"{tag}\"");
    let has_it = |value: &HeaderValue| {
        let listed = value.to_str().unwrap_or_default().split(',').map(str::trim);
        listed.map(|one| one.trim_start_matches("W/")).any(|one| one == tag || one == "*")
    };
    let mut response = match headers.get(header::IF_NONE_MATCH).is_some_and(has_it) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    // Personal data: to be asked for again before it is shown again, and kept by nobody in between.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

impl From<StoreError> for Problem {
    fn from(failure: StoreError) -> Self {
        match &failure {
            StoreError::Forbidden(reason) => {
                warn!("a call was refused by the database's rights: {reason}");
                Problem::new(
                    StatusCode::FORBIDDEN,
                    "headcount's role in the database may not write this column; grant it, or write it by SQL",
                )
            }
            StoreError::Rejected(reason) => Problem::new(StatusCode::CONFLICT, reason.clone()),
            StoreError::Undone(_) => Problem::new(StatusCode::CONFLICT, failure.to_string()),
            _ => {
                if failure.is_transient() {
                    warn!("a call could not be answered: {failure}");
                } else {
                    error!("a call could not be answered: {failure}");
                }
                Problem::unavailable(
                    "the database does not answer as it should; headcount's log says more",
                    RETRY_AFTER_SECONDS,
                )
            }
        }
    }
}

impl From<CallError> for Problem {
    fn from(failure: CallError) -> Self {
        let status = match &failure {
            CallError::Unknown | CallError::Erased => StatusCode::NOT_FOUND,
            CallError::NotSettable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            CallError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        };
        match failure {
            CallError::Store(error) => error.into(),
            CallError::Busy => Problem::unavailable(failure.to_string(), RETRY_AFTER_SECONDS),
            CallError::NotSettable { ref column, .. } => {
                Problem { columns: vec![column.clone()], ..Problem::new(status, failure.to_string()) }
            }
            CallError::NoRoom(NoRoom { columns, reason }) => {
                let detail = format!("the application's own constraints leave no room for it: {reason}");
                Problem { columns, ..Problem::new(status, detail) }
            }
            CallError::AddressOfAnotherUser => {
                Problem { kind: Some("address-of-another-user"), ..Problem::new(status, failure.to_string()) }
            }
            other => Problem::new(status, other.to_string()),
        }
    }
}

impl From<EnsureError> for Problem {
    fn from(failure: EnsureError) -> Self {
        match failure {
            EnsureError::UnknownSource => Problem::bad_request(failure.to_string()),
            EnsureError::NoId => Problem::bad_request(failure.to_string()),
            EnsureError::Absent => Problem::new(StatusCode::NOT_FOUND, failure.to_string()),
            EnsureError::Call(failure) => failure.into(),
            // Told to several: only what it says can be passed on.
            EnsureError::Shared(failure) => match &*failure {
                EnsureError::Call(CallError::Store(_) | CallError::Busy) => {
                    warn!("a call could not be answered: {failure}");
                    Problem::unavailable("the user could not be made now; try again", RETRY_AFTER_SECONDS)
                }
                other => Problem::new(StatusCode::CONFLICT, other.to_string()),
            },
        }
    }
}

/// Where nothing is.
pub async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here; GET /openapi.json says what there is")
}

pub async fn other_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this is asked for by another method; see GET /openapi.json")
}
