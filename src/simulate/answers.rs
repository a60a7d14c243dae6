//! Clerk's answers: exact content type, and errors in its form.

use super::kind::Kind;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Compared for strict equality by Clerk's own client.
pub(super) const JSON: &str = "application/json";

pub(super) fn json_text(body: String) -> Response {
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// An error as the Backend API has it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "resource_not_found", format!("{what} was not found"))
    }

    pub(super) fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Kind::Clerk.refuse(self.status, self.code, &self.message)
    }
}
