//! One request to a provider's API, and what its answer means. The only place that sends one.

use super::Source;
use super::api_error::{ANSWER_BYTES_MAX, ApiError, Malformed, READ_TIMEOUT};
use super::directory::{Answer, Directory, Transport, Unreadable};
use crate::core::rate::RateLimit;
use crate::live::Live;
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::sync::{Arc, Once};
use std::time::Duration;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tracing::info;
use url::Url;

/// How a source's API is reached.
#[derive(Clone)]
pub struct ApiAccess {
    /// https, or http where nobody of the public internet can be meant.
    pub url: Url,
    pub key: Live<SecretString>,
}

/// How many there are in all, where a list says so.
const TOTAL: &str = "x-total-count";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_AFTER_SECONDS_MAX: i64 = 86_400;
/// Of what an error says.
const WORDS_CHARS_MAX: usize = 200;

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

/// Where a source's accounts are read, and what it is asked.
#[derive(Clone)]
pub struct Api {
    transport: Arc<dyn Transport>,
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
        let rate_limit = directory.rate_limit(access.key.get().expose_secret());
        let transport = Arc::new(Http::of(source, access, directory)?);
        Ok(Self { transport, directory, rate_limit })
    }

    /// The same questions, answered by something else than the provider's API.
    pub fn over(transport: Arc<dyn Transport>, directory: &'static dyn Directory) -> Self {
        Self { transport, directory, rate_limit: directory.rate_limit("") }
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
        self.transport.get(path).await
    }
}

/// A provider's API over HTTP.
struct Http {
    client: Client,
    base: String,
    key: Live<SecretString>,
    key_name: String,
    directory: &'static dyn Directory,
}

impl Http {
    fn of(
        source: &Source,
        access: &ApiAccess,
        directory: &'static dyn Directory,
    ) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        for (name, value) in directory.headers() {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let builder = || {
            let builder = Client::builder()
                .user_agent(concat!("headcount/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers.clone())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .timeout(REQUEST_TIMEOUT)
                .redirect(redirect::Policy::none());
            // A proxy on the way would be shown the key.
            if access.url.scheme() == "http" { builder.no_proxy() } else { builder }
        };
        let client = trusting(builder).map_err(|error| ClientError::Client(deepest(&error)))?;
        let base = directory.base(&access.url);
        let (key, key_name) = (access.key.clone(), source.key_name());
        let http = Self { client, base, key, key_name, directory };
        http.secrets().map(|_| http)
    }

    /// The headers that carry the key as it is now.
    fn secrets(&self) -> Result<HeaderMap, ClientError> {
        let key = self.key.get();
        let secret = |text: &str| -> Result<HeaderValue, ClientError> {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| ClientError::Key { key_name: self.key_name.clone() })?;
            value.set_sensitive(true);
            Ok(value)
        };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", key.expose_secret()))?);
        if let Some(name) = self.directory.key_header() {
            headers.insert(HeaderName::from_static(name), secret(key.expose_secret())?);
        }
        Ok(headers)
    }
}

#[async_trait]
impl Transport for Http {
    async fn get(&self, path: &str) -> Result<Option<Answer>, ApiError> {
        let secrets = self.secrets().map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let request = self.client.get(format!("{}{path}", self.base)).headers(secrets);
        let answer = request.send().await.map_err(failure)?;
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ApiError::Throttled { retry_after_ms: retry_after_ms(answer.headers()) });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            // What the body says is of use to a person, and nothing more.
            let words = read(answer).await.ok().and_then(|body| words(&body));
            return Err(ApiError::Failing { status, words });
        }
        let total = answer.headers().get(TOTAL).and_then(|total| total.to_str().ok()?.trim().parse().ok());
        let body = read(answer).await?;
        if status == StatusCode::OK {
            let body = String::from_utf8(body).map_err(|_| Malformed("not UTF-8".into()))?;
            if body.trim_start().starts_with('<') {
                return Err(Malformed(
                    "a web page and no JSON: is the source's API URL the address of the API itself?".into(),
                )
                .into());
            }
            return Ok(Some(Answer { body, total }));
        }
        let code = std::str::from_utf8(&body).ok().and_then(|body| self.directory.error_code(body));
        let code = code.map(|code| printable(&code));
        match status {
            StatusCode::NOT_FOUND if code.as_ref().is_some_and(|code| self.directory.means_absent(code)) => {
                Ok(None)
            }
            StatusCode::FORBIDDEN if serde_json::from_slice::<IgnoredAny>(&body).is_err() => {
                Err(ApiError::Intercepted { status, words: words(&body) })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ApiError::Refused { status, code }),
            _ => Err(ApiError::Unexpected { status, code }),
        }
    }
}

/// A client that trusts what this machine trusts; where it trusts nobody, as in an image of nothing but a program, the
/// public authorities as Mozilla lists them.
fn trusting(builder: impl Fn() -> ClientBuilder) -> Result<Client, reqwest::Error> {
    builder().build().or_else(|error| {
        // Whoever has said whom to trust is not overruled.
        if ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some()) {
            return Err(error);
        }
        let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        let roots = built_in.iter().map(|root| Certificate::from_der(root)).collect::<Result<Vec<_>, _>>()?;
        let client = builder().tls_certs_only(roots).build().map_err(|_| error)?;
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            info!("this machine has no certificates of public authorities; headcount's own list is used");
        });
        Ok(client)
    })
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

/// Better Auth's name for it.
const X_RETRY_AFTER: HeaderName = HeaderName::from_static("x-retry-after");

/// Seconds, or a date, which is compared with the answer's own.
fn retry_after_ms(headers: &HeaderMap) -> Option<i64> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(RETRY_AFTER).or_else(|| text(X_RETRY_AFTER))?;
    let seconds = match after.parse::<f64>() {
        Ok(seconds) => seconds.ceil() as i64,
        Err(_) => {
            let at = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
            (at(after)? - at(text(DATE)?)?).whole_seconds()
        }
    };
    Some(seconds.clamp(0, RETRY_AFTER_SECONDS_MAX) * 1_000)
}

/// What an answer that is an error says to people, where it does: the usual fields of the providers' errors.
fn words(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let Ok(error) = serde_json::from_str::<Value>(&text) else {
        let is_html = text.trim_start().get(..1) == Some("<");
        return is_html.then(|| "an HTML page, which is no answer of the API's".to_owned());
    };
    let first = error.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&error);
    let fields = ["long_message", "msg", "message", "error_description", "error"];
    let words = fields.into_iter().find_map(|field| first.get(field)?.as_str())?;
    Some(printable(words)).filter(|words| !words.is_empty())
}

/// Words of a provider's as they may stand in a log: short, without control characters.
fn printable(words: &str) -> String {
    words.chars().take(WORDS_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_understood() {
        let after = |retry_after: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after_ms(&headers)
        };
        assert_eq!(after("7", None), Some(7_000));
        assert_eq!(after("0.2", None), Some(1_000));
        let date = Some("Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(after("Wed, 21 Oct 2026 07:28:30 GMT", date), Some(30_000));
        assert_eq!(after("Wed, 21 Oct 2026 07:27:30 GMT", date), Some(0));
        assert_eq!(after("soon", date), None);
        assert_eq!(after("99999999", None), Some(86_400_000));
    }

    #[test]
    fn the_providers_words_are_short_and_printable() {
        assert_eq!(
            words(br#"{"code":500,"error_code":"unexpected_failure","msg":"Database error finding users"}"#),
            Some("Database error finding users".into())
        );
        assert_eq!(
            words(br#"{"errors":[{"message":"a\u001b[31m\nb"}]}"#),
            Some("a\u{fffd}[31m\u{fffd}b".into())
        );
        assert_eq!(words(b"<html>502</html>"), Some("an HTML page, which is no answer of the API's".into()));
        assert_eq!(words(b""), None);
        assert_eq!(words(format!("{{\"msg\":\"{}\"}}", "x".repeat(9_000)).as_bytes()).unwrap().len(), 200);
    }
}
