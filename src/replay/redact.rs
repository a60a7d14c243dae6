//! Made-up people for real ones. Whatever is not known to say nothing of a person is replaced: texts, numbers and names of
//! fields, the same one by the same one, in the form that it had.

use crate::digest::hex;
use crate::source::is_time;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Number, Value};
use sha2::Sha256;
use std::collections::BTreeSet;

/// Fields of a delivery around its user.
const ENVELOPE: [&str; 16] = [
    "type",
    "event",
    "object",
    "data",
    "id",
    "timestamp",
    "instance_id",
    "created_at",
    "record",
    "old_record",
    "table",
    "schema",
    "context",
    "event_attributes",
    "deleted",
    "headcount_mended",
];
/// Fields whose texts are words of a provider's own, where they are among [`WORDS`].
const PLAIN: [&str; 11] = [
    "type",
    "event",
    "object",
    "status",
    "strategy",
    "provider",
    "protocol",
    "channel",
    "environment_type",
    "table",
    "schema",
];
/// Words that say nothing of a person: kinds of objects, states and ways to sign in that every customer of a provider has.
const WORDS: [&str; 61] = [
    "event",
    "user",
    "email",
    "phone",
    "email_address",
    "phone_number",
    "web3_wallet",
    "external_account",
    "google_account",
    "github_account",
    "facebook_account",
    "organization_membership",
    "connection",
    "verified",
    "unverified",
    "expired",
    "failed",
    "transferable",
    "pending",
    "active",
    "inactive",
    "suspended",
    "admin",
    "ticket",
    "password",
    "passkey",
    "totp",
    "sso",
    "saml",
    "email_code",
    "email_link",
    "phone_code",
    "web3_metamask_signature",
    "from_oauth_google",
    "from_oauth_github",
    "from_oauth_apple",
    "from_oauth_microsoft",
    "from_oauth_facebook",
    "oauth_google",
    "oauth_github",
    "oauth_apple",
    "oauth_microsoft",
    "oauth_facebook",
    "oauth_discord",
    "oauth_linkedin",
    "oauth_linkedin_oidc",
    "google",
    "github",
    "apple",
    "microsoft",
    "facebook",
    "discord",
    "linkedin",
    "production",
    "development",
    "INSERT",
    "UPDATE",
    "DELETE",
    "users",
    "auth",
    "public",
];
/// Ends of names of fields that hold times or versions.
const TIMES: [&str; 8] = ["_at", "At", "until", "Until", "timestamp", "version", "updated", "created"];
/// Ends of names of fields that hold what the application or the person has written.
const FREE: [&str; 5] = ["metadata", "meta_data", "attributes", "identity_data", "claims"];
/// A longer name of an event is no name.
const EVENT_TYPE_CHARS_MAX: usize = 60;

/// Replaces consistently for as long as it lives. Without its key nobody can try names until one fits.
pub struct Redactor {
    mac: Hmac<Sha256>,
    /// Names of fields that a provider or the configuration has given.
    fields: BTreeSet<String>,
}

/// Where in a body a value lies.
#[derive(Clone, Copy)]
struct At<'a> {
    field: &'a str,
    depth: usize,
    /// Within what the application or the person has written.
    is_free: bool,
}

impl Redactor {
    /// `fields` are the names that may stay, besides those around a user.
    pub fn new(key: &[u8; 32], fields: impl IntoIterator<Item = String>) -> Self {
        let mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        let fields = fields.into_iter().chain(ENVELOPE.map(str::to_owned)).collect();
        Self { mac, fields }
    }

    pub fn redact(&self, value: &mut Value) {
        self.walk(value, At { field: "", depth: 0, is_free: false });
    }

    fn walk(&self, value: &mut Value, at: At<'_>) {
        match value {
            Value::Object(fields) => self.walk_fields(fields, at),
            Value::Array(entries) => entries.iter_mut().for_each(|entry| self.walk(entry, at)),
            Value::String(text) if !may_stay(text, at) => *text = self.made_up(text),
            Value::Number(number) if at.is_free || !is_named(at.field, &TIMES) => *number = Number::from(0),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn walk_fields(&self, fields: &mut Map<String, Value>, at: At<'_>) {
        for (name, mut value) in std::mem::take(fields) {
            let is_free = at.is_free || is_named(&name, &FREE);
            self.walk(&mut value, At { field: &name, depth: at.depth + 1, is_free });
            let is_known = !at.is_free && self.fields.contains(&name);
            let name = if is_known { name } else { format!("field_{}", &self.hash(&name)[..8]) };
            fields.insert(name, value);
        }
    }

    fn hash(&self, text: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        hex(mac.finalize().into_bytes())
    }

    /// A text of the same kind: an address for an address, an id with its prefix for an id, a name for a name.
    pub fn made_up(&self, text: &str) -> String {
        let hash = self.hash(text);
        let digits: String = hash.bytes().take(4).map(|b| char::from(b'0' + b % 10)).collect();
        match text {
            "" => String::new(),
            _ if text.contains('@') => format!("person-{}@example.com", &hash[..10]),
            _ if text.starts_with('+') => format!("+1555555{digits}"),
            _ if is_uuid(text) => {
                format!(
                    "{}-{}-4{}-8{}-{}",
                    &hash[..8],
                    &hash[8..12],
                    &hash[13..16],
                    &hash[17..20],
                    &hash[20..32]
                )
            }
            _ if text.contains("://") => format!("https://example.com/{}", &hash[..10]),
            _ => match id_prefix(text) {
                Some(prefix) => format!("{prefix}_{}", &hash[..24]),
                None => format!("Name{}", &hash[..8]),
            },
        }
    }
}

fn is_named(field: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| field.ends_with(end))
}

/// Whether a text says nothing of a person: a time, a word of the provider's, or the name of an event.
fn may_stay(text: &str, at: At<'_>) -> bool {
    let is_event_type = |text: &str| {
        let words = text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_' | b'-'));
        words && text.contains('.') && text.len() <= EVENT_TYPE_CHARS_MAX
    };
    let is_plain = PLAIN.contains(&at.field) && WORDS.contains(&text);
    let is_event = at.depth == 1 && matches!(at.field, "type" | "event") && is_event_type(text);
    !at.is_free && (is_plain || is_event || (is_named(at.field, &TIMES) && is_time(text)))
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
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
        let fields = crate::source::provider("clerk").unwrap().keeps().names();
        Redactor::new(&[7; 32], fields).redact(&mut body);
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
    #[test]
    fn whatever_is_not_known_to_be_harmless_is_replaced() {
        let mut body = serde_json::json!({
            "event": "user.updated", "id": "event_01H5JQDV7R7ATEYZDEG0W5PRYT", "created_at": "2023-07-18T02:07:19.911Z",
            "data": {
                "object": "user", "id": "7c6b3c1e-0000-4000-8000-00000000000a", "updated_at": "2023-07-18T02:07:19.911Z",
                "status": "HIV positive", "type": "ada@example.com", "provider": "acme-internal-sso", "birthday": "1815-12-10",
                "metadata": {"Ada's note": {"salary": 31_000, "created_at": "1815-12-10T00:00:00Z", "type": "verified"}},
                "Lovelace": 7, "count": 42, "raw_user_meta_data": {"full_name": "Ada", "age": 36},
            },
        });
        let fields = crate::source::provider("workos").unwrap().keeps().names();
        Redactor::new(&[7; 32], fields).redact(&mut body);
        let text = body.to_string();
        for personal in [
            "HIV",
            "ada@",
            "acme",
            "1815",
            "Ada",
            "salary",
            "31000",
            "Lovelace",
            ":42",
            ":36",
            "full_name",
            "7c6b3c1e",
        ] {
            assert!(!text.contains(personal), "{personal} is left in {text}");
        }
        assert_eq!(body["event"], "user.updated");
        assert_eq!(body["data"]["object"], "user");
        assert_eq!(body["data"]["updated_at"], "2023-07-18T02:07:19.911Z", "order is kept");
        assert!(is_uuid(body["data"]["id"].as_str().unwrap()), "{text}");
    }
}
