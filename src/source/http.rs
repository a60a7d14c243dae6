//! One request to a provider's API, and what its answer means. The only place that sends one.

use super::Source;
use super::directory::{Answer, Directory, Malformed};
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

/// A provider's API.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    authorization: HeaderValue,
    directory: &'static dyn Directory,
}

impl Api {
    /// `None` where the source has no key, or one that no header can hold.
    pub fn of(source: &Source) -> Option<Self> {
        let access = source.api.as_ref()?;
        let directory = source.provider.directory()?;
        let mut headers = HeaderMap::new();
        for (name, value) in directory.headers() {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", access.key.expose_secret())).ok()?;
        authorization.set_sensitive(true);
        if let Some(name) = directory.key_header() {
            let mut key = HeaderValue::from_str(access.key.expose_secret()).ok()?;
            key.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), key);
        }
        let client = Client::builder()
            .user_agent(concat!("headcount/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .ok()?;
        let base = access.url.as_str().trim_end_matches('/').to_owned();
        Some(Self { client, base, authorization, directory })
    }

    pub fn directory(&self) -> &'static dyn Directory {
        self.directory
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
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    ApiError::Unreachable(cause.to_string())
}
