//! Errors as RFC 9457 has them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An `application/problem+json` answer. `detail` is a fixed sentence: nothing of the request is repeated.
pub struct Problem {
    pub status: StatusCode,
    pub detail: &'static str,
    /// For 503: in how many seconds to come again.
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: &'static str) -> Self {
        Self { status, detail, retry_after_seconds: None }
    }

    pub fn unavailable(detail: &'static str, retry_after_seconds: u32) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail,
            retry_after_seconds: Some(retry_after_seconds),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string())
                .into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        // The rest of the body stays unread and the connection ends with it: said, so that nobody sends the next
        // delivery on it.
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        response
    }
}
