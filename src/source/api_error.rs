//! Why an API, or a table in its place, has given no answer, and whether asking again helps.

use super::json::place_of;
use reqwest::StatusCode;
use std::time::Duration;
use thiserror::Error;

/// From one piece of an answer to the next.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Five hundred users with all the metadata that they may have are about 16 MiB.
pub(super) const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Why there is no answer. Never quotes a body or a key.
#[derive(Debug, Error)]
pub enum ApiError {
    #[error("the API cannot be reached: {0}")]
    Unreachable(String),
    #[error("the API does not answer within {} s", READ_TIMEOUT.as_secs())]
    Hangs,
    #[error("the API answers {status}{}", told(words))]
    Failing { status: StatusCode, words: Option<String> },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Not the provider's own answer: a page of something that stands in between, such as a content delivery network.
    #[error("something between here and the API answers {status}{}; the key is not to blame", told(words))]
    Intercepted { status: StatusCode, words: Option<String> },
    /// 429
    #[error("the API asks for patience (429)")]
    Throttled { retry_after_ms: Option<i64> },
    #[error(
        "the API refuses the key ({status}{}); is it revoked, or another instance's? Set the source's API key anew",
        code.as_ref().map(|code| format!(" {code}")).unwrap_or_default()
    )]
    Refused { status: StatusCode, code: Option<String> },
    #[error(
        "the API answers {status}{}, which no request of headcount's should get; check the source's API URL",
        code.as_ref().map(|code| format!(" {code}")).unwrap_or_default()
    )]
    Unexpected { status: StatusCode, code: Option<String> },
    /// A database in the place of an API: it is set up otherwise than the source is.
    #[error("the provider's database cannot be read: {0}")]
    Database(String),
    /// What it says of one account may be over already.
    #[error(
        "the provider's database is a replica, which cannot decide what an account holds; name its primary"
    )]
    Replica,
    #[error("the answer is larger than {} MiB", ANSWER_BYTES_MAX >> 20)]
    TooLarge,
}

impl ApiError {
    /// Whether the same request may succeed in a while.
    pub fn is_transient(&self) -> bool {
        use ApiError::{Failing, Hangs, Intercepted, Malformed, Throttled, Unreachable};
        matches!(
            self,
            Unreachable(_) | Hangs | Failing { .. } | Intercepted { .. } | Malformed(_) | Throttled { .. }
        )
    }

    /// Whether it may be the content of this one answer that is to blame, and not the API as a whole.
    pub fn is_of_content(&self) -> bool {
        use ApiError::{Failing, Malformed, TooLarge};
        matches!(self, Failing { .. } | Malformed(_) | TooLarge)
    }

    /// 502, 503 or 504: whoever should answer is not there.
    pub fn is_unavailable(&self) -> bool {
        let away = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        matches!(self, ApiError::Failing { status, .. } if away.contains(status))
    }

    /// 400 or 422: the API does not know what was asked for.
    pub fn is_unprocessable(&self) -> bool {
        let refused = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::BAD_REQUEST];
        matches!(self, ApiError::Unexpected { status, .. } if refused.contains(status))
    }

    /// 404 of any kind: there is no such place, or the page's cursor is gone.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ApiError::Unexpected { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

/// An answer that is none: not JSON, cut off, or of another shape. Never quotes the body.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the answer is not what the API's specification says ({0})")]
pub struct Malformed(pub String);

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self(place_of(&error))
    }
}

fn told(words: &Option<String>) -> String {
    words.as_ref().map(|words| format!(": {words}")).unwrap_or_default()
}
