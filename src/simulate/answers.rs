//! Answers in JSON: the exact content type.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Compared for strict equality by Clerk's own client.
pub(super) const JSON: &str = "application/json";

pub(super) fn json_text(body: String) -> Response {
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// An answer with this status.
pub(super) fn json_with(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}
