//! WorkOS' Events API, which it recommends over webhooks: the same events under the same ids.
//!
//! Source: WorkOS' guide on events, and `@workos-inc/node` 11.0.0. An event may appear behind one that is younger (it is
//! held back for some seconds), so a cursor alone would lose it: what is read overlaps, and the inbox knows what it has.

use super::{DELETE, ListMetadata, PAGE_SIZE, UPSERTS};
use crate::core::timestamp::Timestamp;
use crate::source::directory::{EventLog, Logged, LoggedEvent, Malformed};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;

pub(super) struct WorkOsEvents;

const EVENTS: &str = "/events?";

#[derive(Deserialize)]
struct EventList<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(default)]
    list_metadata: ListMetadata,
}

#[derive(Deserialize)]
struct When {
    #[serde(default)]
    created_at: Option<String>,
}

impl EventLog for WorkOsEvents {
    /// "after xor range_start": the events behind one are asked for by its id alone.
    fn page(&self, since: Timestamp, after: Option<&str>) -> String {
        let mut query = Serializer::for_suffix(String::from(EVENTS), EVENTS.len());
        for event in UPSERTS.into_iter().chain([DELETE]) {
            query.append_pair("events[]", event);
        }
        query.append_pair("limit", &PAGE_SIZE.to_string());
        match after {
            Some(after) => query.append_pair("after", after),
            None => query.append_pair("range_start", &since.to_string()),
        };
        query.finish()
    }

    fn read(&self, body: &str) -> Result<Logged, Malformed> {
        let EventList { data, list_metadata } = serde_json::from_str(body)?;
        let event = |raw: &RawValue| {
            let when = serde_json::from_str::<When>(raw.get()).ok().and_then(|when| when.created_at);
            LoggedEvent {
                body: raw.get().to_owned(),
                created_at: when.and_then(|when| Timestamp::parse(&when)),
            }
        };
        let events: Vec<LoggedEvent> = data.into_iter().map(event).collect();
        let after = list_metadata.after.filter(|_| !events.is_empty());
        Ok(Logged { events, after })
    }
}
