//! Standard Webhooks and its ancestor Svix: is this body what the holder of the secret sent, and just now?
//!
//! Source: the Standard Webhooks specification 1.0.0 and Svix' "Verifying webhooks manually". The signed bytes are
//! `{id}.{timestamp}.{body}`, the MAC is HMAC-SHA256, the header a list of `v1,<base64>`. Entries of other versions
//! (`v1a`) are passed over. Time is a parameter.

use crate::core::timestamp::Timestamp;
use axum::http::HeaderMap;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use thiserror::Error;

/// How far a delivery's timestamp may lie from our clock, on either side. Every official library has this number.
pub const TOLERANCE_SECONDS: i64 = 300;
/// The longest message id that is taken for one.
pub const MESSAGE_ID_BYTES_MAX: usize = 255;
/// A sender that rotates signs with every key that has not expired; Svix keeps ten.
const SIGNATURES_MAX: usize = 32;
const MAC_BYTES: usize = 32;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The shared secret of an endpoint.
#[derive(Clone)]
pub struct SigningKey(SecretSlice<u8>);

/// Why a text is no signing secret. Says nothing of the text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("it is empty")]
    Empty,
    #[error("it is not `whsec_` followed by base64")]
    NotBase64,
}

impl SigningKey {
    /// Reads `whsec_<base64>`; the prefix may be absent.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let encoded = text.strip_prefix("whsec_").unwrap_or(text);
        let bytes = BASE64.decode(encoded).map_err(|_| KeyError::NotBase64)?;
        if bytes.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self(bytes.into()))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }

    /// The signature header for a delivery sent at `timestamp` (unix seconds).
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mac = self.mac(id, &timestamp.to_string(), body).finalize();
        format!("v1,{}", BASE64.encode(mac.into_bytes()))
    }
}

/// The three headers of a signed delivery, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeaders {
    pub id: String,
    pub timestamp: String,
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
    /// Reads `svix-*`, or else `webhook-*`. A set must be whole: the two are never mixed.
    pub fn read(headers: &HeaderMap) -> Result<Self, Refused> {
        let set = ["svix", "webhook"]
            .map(|prefix| ["id", "timestamp", "signature"].map(|part| format!("{prefix}-{part}")))
            .into_iter()
            .find(|names| names.iter().all(|name| headers.contains_key(name)))
            .ok_or(Refused::MissingHeaders)?;
        let [id, timestamp, signature] = set.map(|name| only(headers, &name));
        Ok(Self { id: id?, timestamp: timestamp?, signature: signature? })
    }

    /// The time of the attempt, where it lies within the tolerance of `now`. Cheap: nothing is hashed yet.
    pub fn check_time(&self, now: Timestamp) -> Result<Timestamp, Refused> {
        let digits = !self.timestamp.is_empty() && self.timestamp.bytes().all(|b| b.is_ascii_digit());
        let id_is_unambiguous =
            !self.id.is_empty() && self.id.len() <= MESSAGE_ID_BYTES_MAX && !self.id.contains('.');
        if !digits || !id_is_unambiguous {
            return Err(Refused::BadHeaders);
        }
        let seconds: i64 = self.timestamp.parse().map_err(|_| Refused::BadHeaders)?;
        let age = now.seconds().saturating_sub(seconds);
        if age > TOLERANCE_SECONDS {
            return Err(Refused::TooOld);
        }
        if age < -TOLERANCE_SECONDS {
            return Err(Refused::TooNew);
        }
        Ok(Timestamp::clamped(seconds.saturating_mul(1000)))
    }

    /// Whether one of the keys signed `body`, at a time near `now`.
    pub fn verify(&self, keys: &[SigningKey], body: &[u8], now: Timestamp) -> Result<Timestamp, Refused> {
        let signed_at = self.check_time(now)?;
        let signatures: Vec<Vec<u8>> =
            self.signature.split([' ', '\t']).filter_map(decode_v1).take(SIGNATURES_MAX).collect();
        for key in keys {
            let mac = key.mac(&self.id, &self.timestamp, body);
            // `verify_slice` compares in constant time.
            if signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()) {
                return Ok(signed_at);
            }
        }
        Err(Refused::NoMatch)
    }
}

fn only(headers: &HeaderMap, name: &str) -> Result<String, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.to_str().map_err(|_| Refused::BadHeaders)?.trim().to_owned()),
        _ => Err(Refused::BadHeaders),
    }
}

/// The MAC of a `v1` entry. Supabase joins its list with a comma and a space, so one may trail. An entry of any
/// other length than a whole MAC is none (RUSTSEC-2024-0010 was a comparison that stopped at the shorter side).
fn decode_v1(entry: &str) -> Option<Vec<u8>> {
    let encoded = entry.trim_end_matches(',').strip_prefix("v1,")?;
    let mac = BASE64.decode(encoded).ok()?;
    (mac.len() == MAC_BYTES).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NOW_SECONDS: i64 = 1_763_877_506;

    fn now() -> Timestamp {
        Timestamp::clamped(NOW_SECONDS * 1000)
    }

    fn signed(id: &str, timestamp: &str, signature: &str) -> SignedHeaders {
        SignedHeaders { id: id.into(), timestamp: timestamp.into(), signature: signature.into() }
    }

    fn check(timestamp: &str, signature: &str) -> Result<(), Refused> {
        let keys = [SigningKey::parse(SECRET).unwrap()];
        signed("msg_1", timestamp, signature).verify(&keys, b"{}", now()).map(|_| ())
    }

    fn good() -> String {
        SigningKey::parse(SECRET).unwrap().sign("msg_1", NOW_SECONDS, b"{}")
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    /// The vectors of several official libraries, generated and hard-coded ones alike.
    #[test]
    fn official_vectors_are_accepted() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap();
        let mut count = 0;
        for group in ["hard_coded_in_library_tests", "generated"] {
            for vector in vectors[group].as_array().unwrap() {
                let text = |key: &str| vector[key].as_str().unwrap();
                let seconds = vector["timestamp"].as_i64().unwrap();
                let at = Timestamp::clamped(seconds * 1000);
                let given = signed(text("id"), &seconds.to_string(), text("signature"));
                let body = text("body").as_bytes();
                let key = SigningKey::parse(text("secret")).unwrap();
                assert_eq!(given.verify(&[key], body, at), Ok(at), "{vector}");
                if let Some(old) = vector["old_secret"].as_str() {
                    let key = SigningKey::parse(old).unwrap();
                    assert_eq!(given.verify(&[key], body, at), Ok(at), "{vector}");
                }
                let other = SigningKey::parse("whsec_AAAA").unwrap();
                assert_eq!(given.verify(&[other], body, at), Err(Refused::NoMatch));
                count += 1;
            }
        }
        assert_eq!(count, 9);
    }

    #[test]
    fn asymmetric_signatures_are_passed_over() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap();
        for vector in vectors["v1a"].as_array().unwrap() {
            let v1a = vector["signature"].as_str().unwrap();
            let now = NOW_SECONDS.to_string();
            assert_eq!(check(&now, v1a), Err(Refused::NoMatch));
            assert_eq!(check(&now, &format!("{v1a} {}", good())), Ok(()));
        }
    }

    /// The cases that the official libraries refuse, and those that they accept and should not.
    #[test]
    fn negative_vectors() {
        let sign_at = |seconds: i64| SigningKey::parse(SECRET).unwrap().sign("msg_1", seconds, b"{}");
        for (offset, expected) in [
            (0, Ok(())),
            (-300, Ok(())),
            (-301, Err(Refused::TooOld)),
            (300, Ok(())),
            (302, Err(Refused::TooNew)),
        ] {
            let seconds = NOW_SECONDS + offset;
            assert_eq!(check(&seconds.to_string(), &sign_at(seconds)), expected, "{offset}");
        }
        for odd in
            ["1763abc", "1763877506abc", "-5", "+1763877506", "", "1763877506.0", "99999999999999999999"]
        {
            assert_eq!(check(odd, &good()), Err(Refused::BadHeaders), "{odd}");
        }
        assert_eq!(SigningKey::parse("v1,whsec_AAAA").err(), Some(KeyError::NotBase64));
        assert_eq!(SigningKey::parse("whsec_").err(), Some(KeyError::Empty));
    }

    #[test]
    fn empty_and_truncated_signatures_match_nothing() {
        let now = NOW_SECONDS.to_string();
        let good = good();
        let mut short = vec!["", "v1", "v1,", ",", " ", "v2,AAAA"];
        short.extend((3..good.len() - 1).map(|end| &good[..end]));
        for signature in short {
            assert_eq!(check(&now, signature), Err(Refused::NoMatch), "{signature}");
        }
        let longer = format!("{}AAAA", good.trim_end_matches('='));
        assert_eq!(check(&now, &longer), Err(Refused::NoMatch));
        assert_eq!(check(&now, &format!("v1,AAAA {good}")), Ok(()));
    }

    #[test]
    fn an_id_with_a_dot_could_move_the_border_between_id_and_time() {
        let key = SigningKey::parse(SECRET).unwrap();
        let seconds = NOW_SECONDS.to_string();
        let dotted = format!("msg.{seconds}");
        let signature = key.sign(&dotted, NOW_SECONDS, b"{}");
        let result = signed(&dotted, &seconds, &signature).verify(&[key], b"{}", now());
        assert_eq!(result, Err(Refused::BadHeaders));
    }

    #[test]
    fn header_sets_are_whole_unmixed_and_unrepeated() {
        let whole = [("svix-id", "a"), ("svix-timestamp", "1"), ("svix-signature", "v1,x")];
        assert_eq!(SignedHeaders::read(&headers(&whole)).unwrap().id, "a");
        let standard = [("webhook-id", "b"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,x")];
        assert_eq!(SignedHeaders::read(&headers(&standard)).unwrap().id, "b");
        let mixed = [("svix-id", "a"), ("webhook-timestamp", "1"), ("svix-signature", "v1,x")];
        assert_eq!(SignedHeaders::read(&headers(&mixed)), Err(Refused::MissingHeaders));
        assert_eq!(SignedHeaders::read(&headers(&[])), Err(Refused::MissingHeaders));
        for name in ["svix-id", "svix-timestamp", "svix-signature"] {
            let mut repeated = whole.to_vec();
            repeated.push((name, "1"));
            assert_eq!(SignedHeaders::read(&headers(&repeated)), Err(Refused::BadHeaders));
        }
    }

    #[test]
    fn any_of_several_keys_may_have_signed() {
        let keys = ["whsec_AAAA", SECRET].map(|text| SigningKey::parse(text).unwrap());
        let given = signed("msg_1", &NOW_SECONDS.to_string(), &good());
        assert!(given.verify(&keys, b"{}", now()).is_ok());
        assert_eq!(given.verify(&[], b"{}", now()), Err(Refused::NoMatch));
        assert_eq!(given.verify(&keys, b"{ }", now()), Err(Refused::NoMatch));
    }
}
