//! A secret in the `Authorization` header, as Supabase's database webhooks send it: who knows it is believed.
//!
//! Nothing is signed, so nothing says when it was sent, nor that it was not sent before.

use super::{MAC_BYTES, Refused, Scheme, SignedHeaders, SigningKey, only};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

pub(super) const HEADER: &str = "authorization";
const SCHEME: &str = "bearer ";

/// Keeps what follows from the secret, and not the secret.
pub(super) fn read(headers: &HeaderMap) -> Result<SignedHeaders, Refused> {
    let line = only(headers, HEADER)?;
    let is_bearer = line.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let token = line.get(SCHEME.len()..).map(str::trim).filter(|token| is_bearer && !token.is_empty());
    Ok(shown(token.ok_or(Refused::BadHeaders)?.as_bytes()))
}

pub(super) fn matches(headers: &SignedHeaders, key: &SigningKey) -> bool {
    let shown = STANDARD.decode(&headers.signature).unwrap_or_default();
    shown.len() == MAC_BYTES && mac(key.bytes.expose_secret()).verify_slice(&shown).is_ok()
}

/// The header as it is sent.
pub(super) fn line(key: &SigningKey) -> (&'static str, String) {
    (HEADER, format!("Bearer {}", String::from_utf8_lossy(key.bytes.expose_secret())))
}

pub(super) fn sign(key: &SigningKey) -> SignedHeaders {
    shown(key.bytes.expose_secret())
}

fn shown(secret: &[u8]) -> SignedHeaders {
    let signature = STANDARD.encode(mac(secret).finalize().into_bytes());
    SignedHeaders { scheme: Scheme::Bearer, id: String::new(), timestamp: String::new(), signature }
}

fn mac(secret: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(b"headcount bearer");
    mac
}
