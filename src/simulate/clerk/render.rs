//! A person as Clerk's JSON, field by field as the specification lists them.

use crate::simulate::people::Details;
use crate::simulate::world::{Person, World};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Appends the user object.
pub(super) fn render(world: &World, out: &mut String, person: &Person) {
    let details = world.details(person);
    let id = world.id(person.number);
    let (created, updated) = (person.created_ms, person.updated_ms);
    let number = person.number;
    // Writing to a string cannot fail.
    let _ = write!(out, r#"{{"id":"{id}","object":"user","username":"#);
    text(out, details.username.as_deref());
    out.push_str(r#","first_name":"#);
    text(out, details.first_name.as_deref());
    out.push_str(r#","last_name":"#);
    text(out, details.last_name.as_deref());
    out.push_str(r#","external_id":"#);
    text(out, details.external_id.as_deref());
    addresses(out, number, &details, created);
    let _ = write!(
        out,
        r#","locale":"en-US","image_url":"https://img.example.com/{number}","profile_image_url":"https://img.example.com/{number}","has_image":{},"primary_web3_wallet_id":null,"web3_wallets":[],"passkeys":[],"password_enabled":true,"two_factor_enabled":false,"totp_enabled":false,"backup_code_enabled":false,"mfa_enabled_at":null,"mfa_disabled_at":null,"password_last_updated_at":{created},"external_accounts":[],"saml_accounts":[],"enterprise_accounts":[]"#,
        number.is_multiple_of(2)
    );
    metadata(out, "public_metadata", &details.public_metadata);
    metadata(out, "private_metadata", &details.private_metadata);
    metadata(out, "unsafe_metadata", &details.unsafe_metadata);
    let _ = write!(
        out,
        r#","banned":{},"locked":{},"deprovisioned":false,"lockout_expires_in_seconds":null,"verification_attempts_remaining":100,"last_sign_in_at":{updated},"last_active_at":{updated},"delete_self_enabled":true,"create_organization_enabled":true,"create_organizations_limit":null,"legal_accepted_at":null,"bypass_client_trust":false,"created_at":{created},"updated_at":{updated}}}"#,
        person.banned, person.locked
    );
}

pub(super) fn rendered(world: &World, person: &Person) -> String {
    let mut out = String::with_capacity(2_048);
    render(world, &mut out, person);
    out
}

fn addresses(out: &mut String, number: u64, details: &Details, created: i64) {
    let primary = |out: &mut String, kind: &str, there: bool| {
        let _ = match there {
            true => write!(out, r#""idn_{kind}{number}_0""#),
            false => write!(out, "null"),
        };
    };
    out.push_str(r#","primary_email_address_id":"#);
    primary(out, "e", !details.emails.is_empty());
    out.push_str(r#","primary_phone_number_id":"#);
    primary(out, "p", !details.phones.is_empty());
    for (list, field, kind, strategy, values) in [
        ("email_addresses", "email_address", "e", "email_code", &details.emails),
        ("phone_numbers", "phone_number", "p", "phone_code", &details.phones),
    ] {
        let _ = write!(out, r#","{list}":["#);
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            let _ = write!(out, r#"{{"id":"idn_{kind}{number}_{n}","object":"{field}","{field}":"#);
            text(out, Some(value));
            let _ = write!(
                out,
                r#","reserved":false,"verification":{{"object":"verification_otp","status":"verified","strategy":"{strategy}","attempts":1,"expire_at":{created}}},"linked_to":[],"matches_sso_connection":false,"created_at":{created},"updated_at":{created}}}"#
            );
        }
        out.push(']');
    }
}

fn metadata(out: &mut String, name: &str, values: &Map<String, Value>) {
    let _ = write!(out, r#","{name}":"#);
    match values.is_empty() {
        true => out.push_str("{}"),
        false => out.push_str(&Value::Object(values.clone()).to_string()),
    }
}

/// Plain texts, which nearly all are, are copied.
fn text(out: &mut String, text: Option<&str>) {
    match text {
        None => out.push_str("null"),
        Some(text) if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') => {
            out.push('"');
            out.push_str(text);
            out.push('"');
        }
        Some(text) => out.push_str(&Value::from(text).to_string()),
    }
}
