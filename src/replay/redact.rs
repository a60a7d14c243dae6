//! Made-up people for real ones: every text of a body that is not known to be a plain word of the provider's is
//! replaced, the same one by the same one, in the form that it had.

use crate::digest::hex;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

/// Keys whose texts are words of the provider's own, and say nothing of a person.
const PLAIN: [&str; 8] =
    ["type", "object", "status", "strategy", "provider", "protocol", "channel", "environment_type"];
/// Left out altogether.
const REMOVED: [&str; 2] = ["private_metadata", "backup_codes"];

/// Replaces consistently for as long as it lives. Without its key nobody can try names until one fits.
pub struct Redactor(Hmac<Sha256>);

impl Redactor {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    pub fn redact(&self, value: &mut Value) {
        self.walk(value, false);
    }

    /// In metadata, which is the application's own, numbers are replaced as well.
    fn walk(&self, value: &mut Value, metadata: bool) {
        match value {
            Value::Object(fields) => self.walk_fields(fields, metadata),
            Value::Array(entries) => entries.iter_mut().for_each(|entry| self.walk(entry, metadata)),
            Value::String(text) => *text = self.made_up(text),
            Value::Number(_) if metadata => *value = Value::from(0),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn walk_fields(&self, fields: &mut Map<String, Value>, metadata: bool) {
        for key in REMOVED {
            fields.remove(key);
        }
        for (key, value) in fields.iter_mut() {
            if metadata || !(PLAIN.contains(&&**key) && value.is_string()) {
                self.walk(value, metadata || key.ends_with("_metadata"));
            }
        }
    }

    /// A text of the same kind: an address for an address, an id with its prefix for an id, a name for a name.
    pub fn made_up(&self, text: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        let hash = hex(mac.finalize().into_bytes());
        let digits: String = hash.bytes().take(4).map(|b| char::from(b'0' + b % 10)).collect();
        match text {
            "" => String::new(),
            _ if text.contains('@') => format!("person-{}@example.com", &hash[..10]),
            _ if text.starts_with('+') => format!("+1555555{digits}"),
            _ if text.contains("://") => format!("https://example.com/{}", &hash[..10]),
            _ => match id_prefix(text) {
                Some(prefix) => format!("{prefix}_{}", &hash[..24]),
                None => format!("Name{}", &hash[..8]),
            },
        }
    }
}

/// `user` of `user_2g7np…`.
fn id_prefix(text: &str) -> Option<&str> {
    let (prefix, rest) = text.split_once('_')?;
    let plain = !prefix.is_empty() && prefix.len() <= 8 && prefix.bytes().all(|b| b.is_ascii_lowercase());
    (plain && rest.len() >= 8 && rest.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_person_is_left_and_references_still_fit() {
        let original = include_str!("../../tests/vectors/clerk-user-created.json");
        let mut body: Value = serde_json::from_str(original).unwrap();
        body["data"]["private_metadata"] = serde_json::json!({"note": "secret"});
        body["data"]["public_metadata"] = serde_json::json!({"city": "London", "salary": 31_000});
        Redactor::new(&[7; 32]).redact(&mut body);
        let text = body.to_string();
        let personal = [
            "ada@",
            "Ada",
            "Lovelace",
            "5555550100",
            "192.0.2.10",
            "Mozilla",
            "user_2g7np",
            "London",
            "31000",
            "secret",
            "googleusercontent",
            "123456789",
        ];
        for personal in personal {
            assert!(!text.contains(personal), "{personal} is left in {text}");
        }
        let user = &body["data"];
        assert_eq!(user["primary_email_address_id"], user["email_addresses"][0]["id"]);
        assert_eq!(
            user["email_addresses"][0]["email_address"],
            user["external_accounts"][0]["email_address"]
        );
        assert_eq!(user["email_addresses"][0]["verification"]["status"], "verified");
        assert_eq!(body["type"], "user.created");
        assert_eq!(user["updated_at"], 1_716_883_200_000_i64);
    }
}
