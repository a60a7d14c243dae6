//! Standard Webhooks and its ancestor Svix.
//!
//! Source: the Standard Webhooks specification 1.0.0 and Svix' "Verifying webhooks manually". The signed bytes are
//! `{id}.{timestamp}.{body}`, the MAC is HMAC-SHA256, the header a list of `v1,<base64>`. Entries of other versions
//! (`v1a`) are passed over.

use super::{
    KeyError, MAC_BYTES, MESSAGE_ID_BYTES_MAX, Refused, Scheme, SignedHeaders, SigningKey, Tolerance, digits,
    only,
};
use crate::core::timestamp::Timestamp;
use axum::http::HeaderMap;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

/// How far a delivery's timestamp may lie from our clock, on either side. Every official library has this number.
const TOLERANCE_SECONDS: i64 = 300;
/// What a message calls the two sets of [`HEADERS`].
pub(super) const HEADERS_CALLED: &str = "svix-* or webhook-*";
/// What Svix' ancestors and the specification call them.
const HEADERS: [[&str; 3]; 2] = [
    ["svix-id", "svix-timestamp", "svix-signature"],
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
];
/// A sender that rotates signs with every key that has not expired; Svix keeps ten.
const SIGNATURES_MAX: usize = 32;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn key_bytes(text: &str) -> Result<Vec<u8>, KeyError> {
    let text = text.trim();
    BASE64.decode(text.strip_prefix("whsec_").unwrap_or(text)).map_err(|_| KeyError::NotBase64)
}

/// Reads `svix-*`, or else `webhook-*`. A set must be whole: the two are never mixed.
pub(super) fn read(headers: &HeaderMap) -> Result<SignedHeaders, Refused> {
    let set = HEADERS
        .into_iter()
        .find(|names| names.iter().all(|name| headers.contains_key(*name)))
        .ok_or(Refused::MissingHeaders)?;
    let [id, timestamp, signature] = set.map(|name| only(headers, name));
    Ok(SignedHeaders { scheme: Scheme::Standard, id: id?, timestamp: timestamp?, signature: signature? })
}

pub(super) fn check_time(
    headers: &SignedHeaders,
    now: Timestamp,
    tolerance: Tolerance,
) -> Result<Timestamp, Refused> {
    let id = &headers.id;
    // A dot could move the border between id and time.
    if id.is_empty() || id.len() > MESSAGE_ID_BYTES_MAX || id.contains('.') {
        return Err(Refused::BadHeaders);
    }
    let seconds = digits(&headers.timestamp)?;
    let age = now.seconds().saturating_sub(seconds);
    // The header has whole seconds.
    let tolerance_seconds = tolerance.ms(TOLERANCE_SECONDS * 1000).saturating_add(999) / 1000;
    if age > tolerance_seconds {
        return Err(Refused::TooOld);
    }
    if age < -tolerance_seconds {
        return Err(Refused::TooNew);
    }
    Ok(Timestamp::clamped(seconds.saturating_mul(1000)))
}

pub(super) fn matches<'a>(
    headers: &SignedHeaders,
    mut keys: impl Iterator<Item = &'a SigningKey>,
    body: &[u8],
) -> bool {
    let entries = headers.signature.split([' ', '\t']);
    let signatures: Vec<Vec<u8>> = entries.filter_map(decode_v1).take(SIGNATURES_MAX).collect();
    keys.any(|key| {
        let mac = mac(key, &headers.id, &headers.timestamp, body);
        // `verify_slice` compares in constant time.
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    })
}

pub(super) fn sign(key: &SigningKey, id: &str, at: Timestamp, body: &[u8]) -> SignedHeaders {
    let timestamp = at.seconds().to_string();
    let mac = mac(key, id, &timestamp, body).finalize();
    let signature = format!("v1,{}", BASE64.encode(mac.into_bytes()));
    SignedHeaders { scheme: Scheme::Standard, id: id.to_owned(), timestamp, signature }
}

fn mac(key: &SigningKey, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.bytes.expose_secret()).expect("HMAC takes keys of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

/// The MAC of a `v1` entry. Supabase joins its list with a comma and a space, so one may trail. An entry of any
/// other length than a whole MAC is none (RUSTSEC-2024-0010 was a comparison that stopped at the shorter side).
fn decode_v1(entry: &str) -> Option<Vec<u8>> {
    let encoded = entry.trim_end_matches(',').strip_prefix("v1,")?;
    let mac = BASE64.decode(encoded).ok()?;
    (mac.len() == MAC_BYTES).then_some(mac)
}
