//! From the inbox to fixtures.

use super::fixture::{FIXTURE_KEY, Fixture};
use super::redact::Redactor;
use crate::core::timestamp::Timestamp;
use crate::source::signature::{SignedHeaders, SigningKey};
use crate::store::{DeliveryFilter, Store, StoredDelivery};
use anyhow::Context;
use serde_json::Value;
use std::path::PathBuf;

/// Deliveries that are read at once.
const PAGE: i64 = 200;

/// What to record and how.
pub struct Recording {
    pub filter: DeliveryFilter,
    pub folder: PathBuf,
    /// Bodies as they are stored; otherwise personal data is replaced. Either way they are signed anew: what was signed had
    /// more than may be kept.
    pub raw: bool,
    /// For the replacement; made at random for each recording.
    pub redaction_key: [u8; 32],
    /// Names of fields that may stay: those that the sources' lists of what is kept have.
    pub fields: Vec<String>,
}

/// Writes the deliveries that have a body, oldest first: `(written, without a body)`.
pub async fn record(store: &Store, recording: &Recording) -> anyhow::Result<(u64, u64)> {
    std::fs::create_dir_all(&recording.folder)
        .with_context(|| format!("{} cannot be made", recording.folder.display()))?;
    let redactor = Redactor::new(&recording.redaction_key, recording.fields.iter().cloned());
    let (mut written, mut without_body) = (0, 0);
    let mut filter = DeliveryFilter { oldest_first: true, ..recording.filter.clone() };
    let mut left = recording.filter.limit;
    while left > 0 {
        filter.limit = left.min(PAGE);
        let page = store.deliveries(&filter, true).await?;
        let Some(last) = page.last() else { break };
        filter.beyond = Some(last.seq);
        left -= page.len() as i64;
        for delivery in page {
            let name = format!("{:08}-{}.http", delivery.seq, file_name(&delivery.event_type));
            let Some(fixture) = to_fixture(delivery, recording.raw, &redactor)? else {
                without_body += 1;
                continue;
            };
            let path = recording.folder.join(name);
            std::fs::write(&path, fixture.render())
                .with_context(|| format!("{} cannot be written", path.display()))?;
            written += 1;
        }
    }
    Ok((written, without_body))
}

fn to_fixture(delivery: StoredDelivery, raw: bool, redactor: &Redactor) -> anyhow::Result<Option<Fixture>> {
    // What a read left as a dead letter was never signed.
    let Some(body) = delivery.body.filter(|_| !delivery.signature.is_empty()) else { return Ok(None) };
    let signed_at = Timestamp::parse(&delivery.signed_at).unwrap_or(Timestamp::clamped(0));
    let about = format!("{}, received {}", delivery.event_type, delivery.received_at);
    let headers = SignedHeaders::from_record(&delivery.message_id, signed_at, &delivery.signature);
    let scheme = headers.scheme;
    let (about, body) = match raw {
        true => (about, body),
        false => {
            // What cannot be read cannot be redacted, so it is not written.
            let Ok(mut value) = serde_json::from_str::<Value>(&body) else { return Ok(None) };
            redactor.redact(&mut value);
            (format!("{about}; personal data replaced"), format!("{value:#}\n"))
        }
    };
    let key = Some(FIXTURE_KEY.to_owned());
    let fixture = Fixture { about, source: delivery.source, headers, key, body };
    Ok(Some(fixture.signed(&SigningKey::read(scheme, FIXTURE_KEY)?, signed_at)))
}

fn file_name(event_type: &str) -> String {
    event_type.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect()
}
