//! WorkOS: `WorkOS-Signature: t=<milliseconds>, v1=<hex>`.
//!
//! Source: WorkOS' guide on webhooks and `@workos-inc/node` 11.0.0. The signed bytes are `{t}.{body}`, the MAC is
//! HMAC-SHA256 under the secret's text as it is. The SDK lets a time of the future pass; here it is refused.

use super::{MAC_BYTES, Refused, Scheme, SignedHeaders, SigningKey, Tolerance, digits, is_near, only};
use crate::core::timestamp::Timestamp;
use crate::digest::hex;
use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

pub(super) const HEADER: &str = "workos-signature";
/// As the official libraries have it for the past.
const TOLERANCE_MS: i64 = 180_000;
const SIGNATURES_MAX: usize = 8;

pub(super) fn read(headers: &HeaderMap) -> Result<SignedHeaders, Refused> {
    parse(&only(headers, HEADER)?)
}

pub(super) fn parse(line: &str) -> Result<SignedHeaders, Refused> {
    let (mut timestamp, mut signatures) = (None, Vec::new());
    for part in line.split(',') {
        match part.trim().split_once('=') {
            Some(("t", _)) if timestamp.is_some() => return Err(Refused::BadHeaders),
            Some(("t", at)) => timestamp = Some(at.to_owned()),
            Some(("v1", signature)) if signatures.len() < SIGNATURES_MAX => signatures.push(signature),
            _ => {}
        }
    }
    let timestamp = timestamp.ok_or(Refused::BadHeaders)?;
    Ok(SignedHeaders { scheme: Scheme::Timed, id: String::new(), timestamp, signature: signatures.join(",") })
}

/// The header's value.
pub(super) fn line(headers: &SignedHeaders) -> String {
    let signatures: Vec<String> =
        headers.signature.split(',').map(|signature| format!("v1={signature}")).collect();
    format!("t={}, {}", headers.timestamp, signatures.join(", "))
}

pub(super) fn check_time(
    headers: &SignedHeaders,
    now: Timestamp,
    tolerance: Tolerance,
) -> Result<Timestamp, Refused> {
    is_near(Timestamp::clamped(digits(&headers.timestamp)?), now, tolerance.ms(TOLERANCE_MS))
}

pub(super) fn matches<'a>(
    headers: &SignedHeaders,
    mut keys: impl Iterator<Item = &'a SigningKey>,
    body: &[u8],
) -> bool {
    let signatures: Vec<Vec<u8>> = headers.signature.split(',').filter_map(decode).collect();
    keys.any(|key| {
        let mac = mac(key, &headers.timestamp, body);
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    })
}

pub(super) fn sign(key: &SigningKey, at: Timestamp, body: &[u8]) -> SignedHeaders {
    let timestamp = at.ms().to_string();
    let mac = mac(key, &timestamp, body).finalize().into_bytes();
    let signature = hex(mac);
    SignedHeaders { scheme: Scheme::Timed, id: String::new(), timestamp, signature }
}

fn mac(key: &SigningKey, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.bytes.expose_secret()).expect("HMAC takes keys of any length");
    for part in [timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 2 * MAC_BYTES || !hex.is_ascii() {
        return None;
    }
    (0..MAC_BYTES).map(|n| u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()).collect()
}
