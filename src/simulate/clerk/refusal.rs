//! Errors as Clerk's Backend API has them.

use crate::simulate::acts::Unchanged;
use crate::simulate::answers::json_with;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error of the Backend API.
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

impl From<Unchanged> for Refusal {
    fn from(unchanged: Unchanged) -> Self {
        match unchanged {
            Unchanged::NoSuchUser => Self::not_found("User"),
            Unchanged::Taken(what) => {
                Self::unprocessable("form_identifier_exists", format!("That {what} is taken."))
            }
            Unchanged::NotText(name) => {
                Self::unprocessable("form_param_format_invalid", format!("{name} must be a text"))
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        error(self.status, self.code, &self.message)
    }
}

/// An error's answer.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let error = json!({"message": message, "long_message": message, "code": code});
    json_with(status, &json!({"errors": [error], "clerk_trace_id": "simulated"}))
}
