//! One request to a provider's API, and what its answer means. The only place that sends one.

use super::Source;
use super::directory::{Answer, Directory, Malformed};
use super::setup::Unreadable;
use crate::core::rate::RateLimit;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use thiserror::Error;
use url::Url;

/// How a source's API is reached.
#[derive(Clone)]
pub struct ApiAccess {
    /// https, or http on loopback.
    pub url: Url,
    pub key: SecretString,
}

/// How many there are in all, where a list says so.
const TOTAL: &str = "x-total-count";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From one piece of an answer to the next.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Five hundred users with all the metadata that they may have are about 16 MiB.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Why there is no answer. Never quotes a body or a key.
#[derive(Debug, Error)]
pub enum ApiError {
    #[error("the API cannot be reached: {0}")]
    Unreachable(String),
    #[error("the API does not answer within {} s", READ_TIMEOUT.as_secs())]
    Hangs,
    #[error("the API answers {0}")]
    Failing(StatusCode),
    #[error(transparent)]
    Malformed(#[from] Malformed),
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
    #[error("the answer is larger than {} MiB", ANSWER_BYTES_MAX >> 20)]
    TooLarge,
}

impl ApiError {
    /// Whether the same request may succeed in a while.
    pub fn is_transient(&self) -> bool {
        use ApiError::{Failing, Hangs, Malformed, Throttled, Unreachable};
        matches!(self, Unreachable(_) | Hangs | Failing(_) | Malformed(_) | Throttled { .. })
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

/// Why no client of a source's API can be built. Never quotes a key.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(
        "{key_name} has a character that no HTTP header can hold; copy it once more from the provider's dashboard"
    )]
    Key { key_name: String },
    #[error("no HTTP client can be built: {0}")]
    Client(String),
}

/// A provider's API.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    authorization: HeaderValue,
    directory: &'static dyn Directory,
    rate_limit: RateLimit,
}

impl Api {
    /// The client of the source's API.
    ///
    /// # Errors
    ///
    /// Where the source has no key or its kind no API, where no header can hold the key, and where this machine cannot
    /// make an HTTP client, as without any certificate to trust.
    pub fn of(source: &Source) -> Result<Self, ClientError> {
        let (access, directory) = source.access()?;
        let secret = |text: &str| -> Result<HeaderValue, ClientError> {
            let mut value =
                HeaderValue::from_str(text).map_err(|_| ClientError::Key { key_name: source.key_name() })?;
            value.set_sensitive(true);
            Ok(value)
        };
        let key = access.key.expose_secret();
        let mut headers = HeaderMap::new();
        for (name, value) in directory.headers() {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let authorization = secret(&format!("Bearer {key}"))?;
        if let Some(name) = directory.key_header() {
            headers.insert(HeaderName::from_static(name), secret(key)?);
        }
        let client = Client::builder()
            .user_agent(concat!("headcount/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| ClientError::Client(deepest(&error)))?;
        let base = access.url.as_str().trim_end_matches('/').to_owned();
        let rate_limit = directory.rate_limit(key);
        Ok(Self { client, base, authorization, directory, rate_limit })
    }

    pub fn directory(&self) -> &'static dyn Directory {
        self.directory
    }

    /// The limit that the provider publishes for the source's kind of key.
    pub fn rate_limit(&self) -> RateLimit {
        self.rate_limit
    }

    /// The answer; `None` where the provider says, by its own code, that there is no such account.
    pub async fn get(&self, path: &str) -> Result<Option<Answer>, ApiError> {
        let request = self.client.get(format!("{}{path}", self.base));
        let answer =
            request.header(AUTHORIZATION, self.authorization.clone()).send().await.map_err(failure)?;
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ApiError::Throttled { retry_after_ms: retry_after_ms(answer.headers()) });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Err(ApiError::Failing(status));
        }
        let total = answer.headers().get(TOTAL).and_then(|total| total.to_str().ok()?.trim().parse().ok());
        let body = read(answer).await?;
        if status == StatusCode::OK {
            let body = String::from_utf8(body).map_err(|_| Malformed("not UTF-8".into()))?;
            return Ok(Some(Answer { body, total }));
        }
        let code = std::str::from_utf8(&body).ok().and_then(|body| self.directory.error_code(body));
        match status {
            StatusCode::NOT_FOUND if code.as_ref().is_some_and(|code| self.directory.means_absent(code)) => {
                Ok(None)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ApiError::Refused { status, code }),
            _ => Err(ApiError::Unexpected { status, code }),
        }
    }
}

async fn read(mut answer: Response) -> Result<Vec<u8>, ApiError> {
    let expected = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(ANSWER_BYTES_MAX));
    while let Some(piece) = answer.chunk().await.map_err(failure)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Seconds, as the providers send it.
fn retry_after_ms(headers: &HeaderMap) -> Option<i64> {
    let seconds: i64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.clamp(0, 86_400) * 1_000)
}

/// Without the URL, which may be long.
fn failure(error: reqwest::Error) -> ApiError {
    if error.is_timeout() {
        return ApiError::Hangs;
    }
    ApiError::Unreachable(deepest(&error.without_url()))
}

/// The first cause, which says the most.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
