//! Digests as text.

use sha2::{Digest, Sha256};

/// Two lower-case hexadecimal digits for each byte.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Enough of a SHA-256 digest to tell contents apart: 32 hexadecimal digits.
pub fn short_digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..16])
}
