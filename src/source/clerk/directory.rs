//! Clerk's Backend API (version 2026-05-12): users by page, by count and by id.
//!
//! Source: Clerk's OpenAPI specification of the Backend API, and its page on system limits.

use super::snapshot;
use crate::core::layout::Layout;
use crate::core::rate::RateLimit;
use crate::core::timestamp::Timestamp;
use crate::source::Kept;
use crate::source::directory::{
    Answer, Directory, Entry, Instance, Listed, Malformed, More, Newest, PageRequest, Position,
};
use crate::source::json::segment;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;

pub(super) struct ClerkApi;

/// "limit: 1..500". One more is not an error but silently ten.
const PAGE_SIZE: usize = 500;
const USERS: &str = "/v1/users?";

#[derive(Deserialize)]
struct Count {
    total_count: u64,
}

#[derive(Deserialize)]
struct InstanceId {
    id: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
}

impl Directory for ClerkApi {
    fn default_url(&self) -> Option<&'static str> {
        Some("https://api.clerk.com")
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("clerk-api-version", "2026-05-12"), ("accept", "application/json")]
    }

    fn mistaken_key(&self, key: &str) -> Option<&'static str> {
        key.starts_with("pk_").then_some("the publishable key; the secret key begins with sk_")
    }

    /// Per instance: 1,000 requests in 10 seconds in production, 100 in development.
    fn rate_limit(&self, key: &str) -> RateLimit {
        let requests = if key.starts_with("sk_live_") { 1_000 } else { 100 };
        RateLimit { requests, window_ms: 10_000 }
    }

    fn page(&self, position: &Position) -> PageRequest {
        let mut query = Serializer::for_suffix(String::from(USERS), USERS.len());
        query.append_pair("limit", &PAGE_SIZE.to_string()).append_pair("order_by", "+created_at");
        match position {
            Position::After { provider_id, since } => {
                if let Some(since) = since {
                    // "created after the given date": one before, so that none of that moment is left out.
                    query.append_pair("created_at_after", &since.ms().saturating_sub(1).to_string());
                }
                if let Some(id) = provider_id {
                    query.append_pair("starting_after", id);
                }
            }
            // It has no words of its own for places.
            Position::Cursor(id) => {
                query.append_pair("starting_after", id);
            }
            Position::Offset(offset) => {
                query.append_pair("offset", &offset.to_string());
            }
        }
        let start = if let Position::Offset(offset) = position { *offset } else { 0 };
        PageRequest { path: query.finish(), start, size: PAGE_SIZE }
    }

    fn slice(&self, start: usize, size: usize) -> Option<String> {
        let mut query = Serializer::for_suffix(String::from(USERS), USERS.len());
        query.append_pair("limit", &size.to_string()).append_pair("order_by", "+created_at");
        query.append_pair("offset", &start.to_string());
        Some(query.finish())
    }

    fn lists_since(&self) -> bool {
        true
    }

    fn newest(&self) -> Newest {
        Newest::ByUpdate { page: newest, overlap: 0 }
    }

    fn count(&self) -> Option<String> {
        Some("/v1/users/count".into())
    }

    fn active_since(&self, since: Timestamp) -> Option<String> {
        Some(format!("/v1/users/count?last_active_at_after={}", since.ms()))
    }

    fn one(&self, provider_id: &str) -> String {
        format!("/v1/users/{}", segment(provider_id))
    }

    fn instance(&self) -> Instance {
        Instance::Asked("/v1/instance", |body| {
            serde_json::from_str::<InstanceId>(body).map(|instance| instance.id).map_err(Malformed::from)
        })
    }

    fn read_page(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Listed, Malformed> {
        // Raw first: a user with, say, half of a surrogate pair in a name is odd alone.
        let users: Vec<&RawValue> = serde_json::from_str(body)?;
        let entries = users.into_iter().map(|user| entry(user, layout, keep)).collect();
        Ok(Listed { entries, more: More::IfFull })
    }

    fn read_one(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Entry, Malformed> {
        Ok(entry(serde_json::from_str::<&RawValue>(body)?, layout, keep))
    }

    fn read_count(&self, answer: &Answer) -> Result<u64, Malformed> {
        Ok(serde_json::from_str::<Count>(&answer.body)?.total_count)
    }

    fn error_code(&self, body: &str) -> Option<String> {
        serde_json::from_str::<Errors>(body).ok()?.errors.into_iter().next().map(|error| error.code)
    }

    fn means_absent(&self, code: &str) -> bool {
        code == "resource_not_found"
    }
}

fn entry(raw: &RawValue, layout: &Layout, keep: &Kept) -> Entry {
    Entry::read(raw, keep, |user| {
        let created_at = user.get("created_at").and_then(Value::as_i64).and_then(Timestamp::from_ms);
        Ok((created_at, snapshot(user, layout)?))
    })
}

fn newest(offset: usize, limit: usize) -> String {
    let mut query = Serializer::for_suffix(String::from(USERS), USERS.len());
    query.append_pair("limit", &limit.min(PAGE_SIZE).to_string());
    query.append_pair("order_by", "-updated_at").append_pair("offset", &offset.to_string());
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Provider;
    use crate::source::clerk::Clerk;

    #[test]
    fn the_query_is_encoded_as_the_specification_wants_it() {
        assert_eq!(ClerkApi.page(&Position::START).path, "/v1/users?limit=500&order_by=%2Bcreated_at");
        let since = Timestamp::from_ms(1_000);
        let after = Position::After { provider_id: Some("user_1".into()), since };
        assert!(ClerkApi.page(&after).path.ends_with("&created_at_after=999&starting_after=user_1"));
        assert_eq!(ClerkApi.one("../count?x"), "/v1/users/..%2Fcount%3Fx");
        assert!(newest(0, 9_999).contains("limit=500&order_by=-updated_at&offset=0"));
    }

    #[test]
    fn one_odd_user_is_one_odd_entry() {
        let body = r#"[{"id":"user_1","updated_at":5,"created_at":3},{"id":"user_2","first_name":"\ud800","updated_at":5},
            {"id":7},[],{"id":"user_3","updated_at":1e999},{"id":"user_4","updated_at":6,"created_at":null}]"#;
        let entries = ClerkApi.read_page(body, &Layout::default(), &Clerk.keeps()).unwrap().entries;
        let outline: Vec<_> =
            entries.iter().map(|entry| (entry.provider_id.as_deref(), entry.snapshot.is_ok())).collect();
        let odd = [(Some("user_2"), true), (None, false), (None, false), (Some("user_3"), false)];
        assert_eq!(outline[0], (Some("user_1"), true));
        assert_eq!(outline[1..5], odd);
        assert_eq!(outline[5], (Some("user_4"), true));
    }

    #[test]
    fn what_is_no_list_is_malformed() {
        for body in ["<html>", "{\"data\":[]}", "[{\"id\":\"user_1\"", "null", ""] {
            assert!(ClerkApi.read_page(body, &Layout::default(), &Clerk.keeps()).is_err(), "{body}");
        }
        assert!(ClerkApi.read_count(&Answer { body: "{\"total_count\":-1}".into(), total: None }).is_err());
    }

    #[test]
    fn absence_is_the_providers_own_code() {
        let own = r#"{"errors":[{"message":"m","long_message":"l","code":"resource_not_found"}]}"#;
        assert!(ClerkApi.error_code(own).is_some_and(|code| ClerkApi.means_absent(&code)));
        assert_eq!(ClerkApi.error_code("<html>404</html>"), None);
    }

    #[test]
    fn the_limit_is_that_of_the_kind_of_key() {
        assert_eq!(ClerkApi.rate_limit("sk_live_x").requests, 1_000);
        assert_eq!(ClerkApi.rate_limit("sk_test_x").requests, 100);
    }
}
