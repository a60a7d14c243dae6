//! Is this body what the holder of the secret sent, and just now? Three ways to say so; which ones a source takes
//! follows from its keys.
//!
//! Time is a parameter. Everything is compared in constant time.

mod bearer;
mod standard;
mod timed;

use crate::core::timestamp::Timestamp;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretSlice};
use thiserror::Error;

/// The longest message id that is taken for one.
pub const MESSAGE_ID_BYTES_MAX: usize = 255;
const MAC_BYTES: usize = 32;
/// What is kept of a bearer's header.
const BEARER: &str = "bearer";

/// How a delivery shows where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Standard Webhooks and its ancestor Svix: id, time and body are signed.
    Standard,
    /// WorkOS: time and body are signed.
    Timed,
    /// A secret in a header; nothing is signed.
    Bearer,
}

impl Scheme {
    /// What a message calls the headers of a delivery.
    pub fn headers(self) -> &'static str {
        match self {
            Scheme::Standard => standard::HEADERS_CALLED,
            Scheme::Timed => timed::HEADER,
            Scheme::Bearer => bearer::HEADER,
        }
    }
}

/// In the order in which they are looked for.
const SCHEMES: [Scheme; 3] = [Scheme::Standard, Scheme::Timed, Scheme::Bearer];

/// Bytes of a key: a shorter one can be found by trying.
pub const KEY_BYTES_MIN: usize = 16;

/// How far the time of a delivery may lie from ours, on either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tolerance {
    /// As the scheme's official libraries have it.
    #[default]
    OfTheScheme,
    /// Where a relay in between takes its time.
    Ms(i64),
}

impl Tolerance {
    fn ms(self, of_the_scheme_ms: i64) -> i64 {
        match self {
            Tolerance::OfTheScheme => of_the_scheme_ms,
            Tolerance::Ms(ms) => ms,
        }
    }
}

/// The secrets of a text: several during a rotation, separated by commas, or by `|` as Supabase writes them. The comma of
/// `v1,whsec_…` separates nothing.
pub fn secrets(text: &str) -> Result<Vec<&str>, KeyError> {
    let parts: Vec<&str> = text.split([',', '|']).map(str::trim).filter(|part| !part.is_empty()).collect();
    let is_prefix = |part: &str| part == "v1";
    let alone = |(n, part): (usize, &&str)| {
        is_prefix(part) && !parts.get(n + 1).is_some_and(|next| next.starts_with("whsec_"))
    };
    if parts.iter().enumerate().any(alone) {
        return Err(KeyError::PrefixAlone);
    }
    Ok(parts.into_iter().filter(|part| !is_prefix(part)).collect())
}

/// The shared secret of an endpoint.
#[derive(Clone)]
pub struct SigningKey {
    pub scheme: Scheme,
    bytes: SecretSlice<u8>,
}

/// Why a text is no signing secret. Says nothing of the text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("it is empty")]
    Empty,
    #[error("it is not `whsec_` followed by base64")]
    NotBase64,
    #[error("it has `v1` without `,whsec_…` right after it")]
    PrefixAlone,
}

impl SigningKey {
    /// Reads `whsec_<base64>`, of Standard Webhooks; the prefix may be absent.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::of(Scheme::Standard, standard::key_bytes(text)?)
    }

    /// A secret whose text is the key.
    pub fn plain(scheme: Scheme, text: &str) -> Result<Self, KeyError> {
        Self::of(scheme, text.trim().as_bytes().to_vec())
    }

    /// Reads the secret as the scheme has it.
    pub fn read(scheme: Scheme, text: &str) -> Result<Self, KeyError> {
        match scheme {
            Scheme::Standard => Self::parse(text),
            Scheme::Timed | Scheme::Bearer => Self::plain(scheme, text),
        }
    }

    /// The secret itself, for whoever has asked to see it.
    pub fn reveal(&self) -> String {
        String::from_utf8_lossy(self.bytes.expose_secret()).into_owned()
    }

    /// Whether it can be found by trying.
    pub fn is_weak(&self) -> bool {
        self.bytes.expose_secret().len() < KEY_BYTES_MIN
    }

    /// Whether the two are one and the same.
    pub fn is(&self, other: &SigningKey) -> bool {
        self.scheme == other.scheme && self.bytes.expose_secret() == other.bytes.expose_secret()
    }

    fn of(scheme: Scheme, bytes: Vec<u8>) -> Result<Self, KeyError> {
        if bytes.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self { scheme, bytes: bytes.into() })
    }

    /// The headers of a delivery as they are sent, the secret of a bearer among them.
    pub fn headers(&self, id: &str, at: Timestamp, body: &[u8]) -> Vec<(&'static str, String)> {
        match self.scheme {
            Scheme::Bearer => vec![bearer::line(self)],
            Scheme::Standard | Scheme::Timed => self.sign(id, at, body).lines(),
        }
    }

    /// What the headers of a delivery of this body, sent at `at`, are read as.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> SignedHeaders {
        match self.scheme {
            Scheme::Standard => standard::sign(self, id, at, body),
            Scheme::Timed => timed::sign(self, at, body),
            Scheme::Bearer => bearer::sign(self),
        }
    }
}

/// What the headers of a delivery say of it. Nothing of it is believed before [`SignedHeaders::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeaders {
    pub scheme: Scheme,
    /// The message id; empty where the headers have none.
    pub id: String,
    /// As received; empty where nothing says when it was sent.
    pub timestamp: String,
    /// Never the secret of a [`Scheme::Bearer`], but what is made of it.
    pub signature: String,
}

/// Why a delivery is refused. What the sender is told is the same for all but [`Refused::MissingHeaders`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    #[error("the signature headers are missing")]
    MissingHeaders,
    #[error("a signature header is repeated or malformed")]
    BadHeaders,
    #[error("the timestamp is too old")]
    TooOld,
    #[error("the timestamp lies in the future")]
    TooNew,
    #[error("no signature matches")]
    NoMatch,
}

impl SignedHeaders {
    /// Reads the headers of the first scheme that one of the keys is for.
    pub fn read(headers: &HeaderMap, keys: &[SigningKey]) -> Result<Self, Refused> {
        let wanted = |scheme: &Scheme| keys.iter().any(|key| key.scheme == *scheme);
        Self::of_schemes(headers, SCHEMES.into_iter().filter(wanted))
    }

    /// Reads recorded headers, of whichever scheme they are.
    pub fn of_lines(lines: &[(&str, &str)]) -> Result<Self, Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::try_from(name.to_ascii_lowercase()).map_err(|_| Refused::BadHeaders)?;
            headers.append(name, HeaderValue::try_from(*value).map_err(|_| Refused::BadHeaders)?);
        }
        Self::of_schemes(&headers, SCHEMES)
    }

    /// Reads the headers of the first of these schemes that they are of.
    fn of_schemes(headers: &HeaderMap, schemes: impl IntoIterator<Item = Scheme>) -> Result<Self, Refused> {
        for scheme in schemes {
            let read = match scheme {
                Scheme::Standard => standard::read(headers),
                Scheme::Timed => timed::read(headers),
                Scheme::Bearer => bearer::read(headers),
            };
            if read != Err(Refused::MissingHeaders) {
                return read;
            }
        }
        Err(Refused::MissingHeaders)
    }

    /// The time of the attempt, where it lies within the tolerance of `now`. Cheap: nothing is hashed yet.
    pub fn check_time(&self, now: Timestamp, tolerance: Tolerance) -> Result<Timestamp, Refused> {
        match self.scheme {
            Scheme::Standard => standard::check_time(self, now, tolerance),
            Scheme::Timed => timed::check_time(self, now, tolerance),
            Scheme::Bearer => Ok(now),
        }
    }

    /// Whether one of the keys signed `body`, at a time near `now`.
    pub fn verify(&self, keys: &[SigningKey], body: &[u8], now: Timestamp) -> Result<Timestamp, Refused> {
        self.verify_within(Tolerance::OfTheScheme, keys, body, now)
    }

    /// The same, with a word on what is near.
    pub fn verify_within(
        &self,
        tolerance: Tolerance,
        keys: &[SigningKey],
        body: &[u8],
        now: Timestamp,
    ) -> Result<Timestamp, Refused> {
        let signed_at = self.check_time(now, tolerance)?;
        let mut keys = keys.iter().filter(|key| key.scheme == self.scheme);
        let matches = match self.scheme {
            Scheme::Standard => standard::matches(self, keys, body),
            Scheme::Timed => timed::matches(self, keys, body),
            Scheme::Bearer => keys.any(|key| bearer::matches(self, key)),
        };
        if matches { Ok(signed_at) } else { Err(Refused::NoMatch) }
    }

    /// When it was sent, by its own word.
    pub fn sent_at(&self) -> Option<Timestamp> {
        let number: i64 = self.timestamp.parse().ok()?;
        match self.scheme {
            Scheme::Standard => Timestamp::from_ms(number.checked_mul(1000)?),
            Scheme::Timed => Timestamp::from_ms(number),
            Scheme::Bearer => None,
        }
    }

    /// What the inbox keeps: enough to write the headers anew, and nothing secret.
    pub fn recorded(&self) -> String {
        match self.scheme {
            Scheme::Standard => self.signature.clone(),
            Scheme::Timed => timed::line(self),
            Scheme::Bearer => BEARER.to_owned(),
        }
    }

    /// The headers of a delivery that the inbox has.
    pub fn from_record(id: &str, signed_at: Timestamp, recorded: &str) -> Self {
        if recorded == BEARER {
            let (id, timestamp, signature) = (String::new(), String::new(), String::new());
            return Self { scheme: Scheme::Bearer, id, timestamp, signature };
        }
        timed::parse(recorded).unwrap_or_else(|_| Self {
            scheme: Scheme::Standard,
            id: id.to_owned(),
            timestamp: signed_at.seconds().to_string(),
            signature: recorded.to_owned(),
        })
    }

    /// Names and values, as they are sent. A bearer's secret cannot be told from what was made of it.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        match self.scheme {
            Scheme::Standard => vec![
                ("svix-id", self.id.clone()),
                ("svix-timestamp", self.timestamp.clone()),
                ("svix-signature", self.signature.clone()),
            ],
            Scheme::Timed => vec![(timed::HEADER, timed::line(self))],
            Scheme::Bearer => Vec::new(),
        }
    }
}

/// How far a timestamp lies behind our clock is within `tolerance_ms`, on either side.
fn is_near(at: Timestamp, now: Timestamp, tolerance_ms: i64) -> Result<Timestamp, Refused> {
    let age_ms = now.ms().saturating_sub(at.ms());
    if age_ms > tolerance_ms {
        return Err(Refused::TooOld);
    }
    if age_ms < -tolerance_ms {
        return Err(Refused::TooNew);
    }
    Ok(at)
}

fn only(headers: &HeaderMap, name: &str) -> Result<String, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.to_str().map_err(|_| Refused::BadHeaders)?.trim().to_owned()),
        (None, _) => Err(Refused::MissingHeaders),
        _ => Err(Refused::BadHeaders),
    }
}

/// A whole number without sign or blanks.
fn digits(text: &str) -> Result<i64, Refused> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or(Refused::BadHeaders)
}

#[cfg(test)]
mod tests;
