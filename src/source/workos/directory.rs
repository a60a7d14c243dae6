//! WorkOS' API: users by page and by id. It counts nobody, and does not say which environment a key is of.
//!
//! Source: `@workos-inc/node` 11.0.0, and WorkOS' page on rate limits.

use super::events::WorkOsEvents;
use super::{ListMetadata, PAGE_SIZE, instant, snapshot};
use crate::core::layout::Layout;
use crate::core::rate::RateLimit;
use crate::source::Kept;
use crate::source::directory::{
    Answer, Directory, Entry, Instance, Listed, Malformed, More, Newest, PageRequest, Position,
};
use crate::source::json::segment;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;

pub(super) struct WorkOsApi;

const USERS: &str = "/user_management/users?";

#[derive(Deserialize)]
struct UserList<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(default)]
    list_metadata: Option<ListMetadata>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
}

impl Directory for WorkOsApi {
    fn default_url(&self) -> Option<&'static str> {
        Some("https://api.workos.com")
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("accept", "application/json")]
    }

    /// "/user_management/* reads: 1,000 in 10 seconds per environment", under 6,000 a minute for everything.
    fn rate_limit(&self, _key: &str) -> RateLimit {
        RateLimit { requests: 1_000, window_ms: 10_000 }
    }

    fn page(&self, position: &Position) -> PageRequest {
        let mut query = Serializer::for_suffix(String::from(USERS), USERS.len());
        query.append_pair("limit", &PAGE_SIZE.to_string()).append_pair("order", "asc");
        match position {
            Position::After { provider_id: Some(id), .. } | Position::Cursor(id) => {
                query.append_pair("after", id);
            }
            Position::After { provider_id: None, .. } | Position::Offset(_) => {}
        }
        PageRequest { path: query.finish(), start: 0, size: PAGE_SIZE }
    }

    fn lists_since(&self) -> bool {
        false
    }

    fn newest(&self) -> Newest {
        Newest::Events(&WorkOsEvents)
    }

    fn count(&self) -> Option<String> {
        None
    }

    fn one(&self, provider_id: &str) -> String {
        format!("/user_management/users/{}", segment(provider_id))
    }

    fn instance(&self) -> Instance {
        Instance::Accounts
    }

    fn read_page(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Listed, Malformed> {
        // Raw first: a user with, say, half of a surrogate pair in a name is odd alone.
        let UserList { data, list_metadata } = serde_json::from_str(body)?;
        let entries: Vec<Entry> = data.into_iter().map(|user| entry(user, layout, keep)).collect();
        let last = entries.last().and_then(|entry| entry.provider_id.as_ref());
        let more = match list_metadata.map(|metadata| metadata.after) {
            None => More::IfFull,
            Some(Some(after)) if last == Some(&after) => More::Yes,
            Some(Some(after)) if !entries.is_empty() => More::Cursor(after),
            Some(_) => More::No,
        };
        Ok(Listed { entries, more })
    }

    fn read_one(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Entry, Malformed> {
        Ok(entry(serde_json::from_str::<&RawValue>(body)?, layout, keep))
    }

    fn read_count(&self, _answer: &Answer) -> Result<u64, Malformed> {
        Err(Malformed("it counts nobody".into()))
    }

    fn error_code(&self, body: &str) -> Option<String> {
        serde_json::from_str::<Failure>(body).ok().map(|failure| failure.code)
    }

    /// The SDK knows the answer by its status and passes the code on; codes of this form name an entity.
    fn means_absent(&self, code: &str) -> bool {
        matches!(code, "entity_not_found" | "user_not_found" | "not_found")
    }
}

fn entry(raw: &RawValue, layout: &Layout, keep: &Kept) -> Entry {
    Entry::read(raw, keep, |user| Ok((instant(user.get("created_at")), snapshot(user, layout)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_how_it_goes_on() {
        let more = |metadata: &str| {
            let body =
                format!(r#"{{"data":[{{"id":"user_1","updated_at":"2026-01-01T00:00:00Z"}}]{metadata}}}"#);
            WorkOsApi.read_page(&body, &Layout::default(), &Kept::default()).map(|listed| listed.more)
        };
        assert_eq!(more(r#","list_metadata":{"after":"user_1"}"#), Ok(More::Yes));
        assert_eq!(more(r#","list_metadata":{"after":"opaque"}"#), Ok(More::Cursor("opaque".into())));
        assert_eq!(more(r#","list_metadata":{"after":null}"#), Ok(More::No));
        assert_eq!(more(""), Ok(More::IfFull));
        for body in ["[]", "<html>", r#"{"data":{}}"#, ""] {
            assert!(WorkOsApi.read_page(body, &Layout::default(), &Kept::default()).is_err(), "{body}");
        }
    }

    #[test]
    fn absence_is_the_providers_own_code() {
        let code = |body: &str| WorkOsApi.error_code(body);
        assert!(
            code(r#"{"message":"m","code":"entity_not_found"}"#)
                .is_some_and(|code| WorkOsApi.means_absent(&code))
        );
        assert_eq!(code("<html>404</html>"), None);
        assert_eq!(WorkOsApi.one("../x"), "/user_management/users/..%2Fx");
    }
}
