//! Supabase's admin API: users by page, by cursor where the server offers it, and by id.
//!
//! Source: supabase/auth (the admin API's handlers) and `@supabase/auth-js`. The list is in the order of creation, the
//! newest first. Its pages shift as people sign up and go, so they overlap; an opaque cursor comes with `pagination`.

use super::snapshot;
use crate::core::layout::Layout;
use crate::core::rate::RateLimit;
use crate::source::Kept;
use crate::source::directory::{
    Answer, Directory, Entry, Instance, Listed, Malformed, More, Newest, PageRequest, Position,
};
use crate::source::json::{segment, text, time_us};
use crate::source::moment::instant_us;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

pub(super) struct SupabaseApi;

const USERS: &str = "/auth/v1/admin/users?";
/// "limit: 50 unless named, at most 1,000."
const PAGE_SIZE: usize = 1_000;
/// What a page of another size wastes is less than half.
const PAGE_SIZE_MIN: usize = PAGE_SIZE / 2;

#[derive(Deserialize)]
struct ListedUsers<'a> {
    #[serde(borrow)]
    users: Vec<&'a RawValue>,
    #[serde(default)]
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Pagination {
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    has_more: bool,
}

impl Directory for SupabaseApi {
    fn default_url(&self) -> Option<&'static str> {
        None
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("accept", "application/json")]
    }

    fn key_header(&self) -> Option<&'static str> {
        Some("apikey")
    }

    /// Supabase publishes none for the admin API: this is modest.
    fn rate_limit(&self, _key: &str) -> RateLimit {
        RateLimit { requests: 200, window_ms: 10_000 }
    }

    fn page(&self, position: &Position) -> PageRequest {
        let mut query = Serializer::for_suffix(String::from(USERS), USERS.len());
        let (mut start, mut size) = (0, PAGE_SIZE);
        match position {
            // Neither `page` nor `per_page`: only then does a server that can answer by cursor.
            Position::After { .. } => {
                query.append_pair("limit", &PAGE_SIZE.to_string());
            }
            Position::Cursor(cursor) => {
                query.append_pair("limit", &PAGE_SIZE.to_string()).append_pair("cursor", cursor);
            }
            Position::Offset(offset) => {
                size = fitting_size(*offset);
                start = offset / size * size;
                query.append_pair("page", &(offset / size + 1).to_string());
                query.append_pair("per_page", &size.to_string());
            }
        }
        PageRequest { path: query.finish(), start, size }
    }

    fn slice(&self, start: usize, size: usize) -> Option<String> {
        Some(newest(start, size))
    }

    fn newest_first(&self) -> bool {
        true
    }

    fn lists_since(&self) -> bool {
        false
    }

    fn newest(&self) -> Newest {
        Newest::ByCreation { page: newest, at_once: PAGE_SIZE }
    }

    /// The answer's header counts them.
    fn count(&self) -> Option<String> {
        Some(format!("{USERS}page=1&per_page=1"))
    }

    fn count_otherwise(&self) -> Option<String> {
        Some(format!("{USERS}page=2&per_page=1"))
    }

    fn one(&self, provider_id: &str) -> String {
        format!("/auth/v1/admin/users/{}", segment(provider_id))
    }

    fn instance(&self) -> Instance {
        Instance::Address
    }

    fn read_page(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Listed, Malformed> {
        let ListedUsers { users, pagination } = serde_json::from_str(body)?;
        let entries: Vec<Entry> = users.into_iter().map(|user| entry(user, layout, keep)).collect();
        let more = match pagination {
            Some(Pagination { next_cursor: Some(cursor), has_more: true }) => More::Cursor(cursor),
            Some(_) => More::No,
            None => More::NoCursor,
        };
        Ok(Listed { entries, more })
    }

    fn read_one(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Entry, Malformed> {
        Ok(entry(serde_json::from_str::<&RawValue>(body)?, layout, keep))
    }

    fn read_count(&self, answer: &Answer) -> Result<u64, Malformed> {
        answer.total.ok_or_else(|| Malformed("it has no X-Total-Count".into()))
    }

    /// `error_code`; `code` is the status in older versions, and the code in newer ones.
    fn error_code(&self, body: &str) -> Option<String> {
        let failure: Map<String, Value> = serde_json::from_str(body).ok()?;
        text(failure.get("error_code")).or_else(|| text(failure.get("code")))
    }

    fn means_absent(&self, code: &str) -> bool {
        code == "user_not_found"
    }
}

fn newest(offset: usize, limit: usize) -> String {
    let page = offset / limit.max(1) + 1;
    format!("{USERS}page={page}&per_page={}", limit.max(1))
}

/// Pages begin at multiples of their size: the size with which one begins just before `offset`, and is large.
fn fitting_size(offset: usize) -> usize {
    (PAGE_SIZE_MIN..=PAGE_SIZE).max_by_key(|size| size - offset % size).unwrap_or(PAGE_SIZE)
}

fn entry(raw: &RawValue, layout: &Layout, keep: &Kept) -> Entry {
    Entry::read(raw, keep, |user| {
        let created_at = text(user.get("created_at")).and_then(|at| time_us(&at)).and_then(instant_us);
        Ok((created_at, snapshot(user, layout)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_at_its_offset_or_a_little_before() {
        for offset in [0, 1, 50, 499, 950, 1_000, 12_345, 99_950, 1_234_567] {
            let PageRequest { path, start, size } = SupabaseApi.page(&Position::Offset(offset));
            assert!(start <= offset && offset < start + size, "{offset}: {start} and {size}");
            assert!(size <= PAGE_SIZE && start + size - offset >= PAGE_SIZE_MIN / 2, "{offset}: {path}");
            assert!(path.ends_with(&format!("page={}&per_page={size}", start / size + 1)), "{path}");
        }
    }

    #[test]
    fn both_ways_of_listing_are_told_apart() {
        let more = |body: &str| {
            SupabaseApi.read_page(body, &Layout::default(), &Kept::default()).map(|listed| listed.more)
        };
        assert_eq!(more(r#"{"users":[],"aud":"authenticated"}"#), Ok(More::NoCursor));
        let cursor = r#"{"users":[],"pagination":{"next_cursor":"abc","has_more":true}}"#;
        assert_eq!(more(cursor), Ok(More::Cursor("abc".into())));
        assert_eq!(more(r#"{"users":[],"pagination":{"next_cursor":null,"has_more":false}}"#), Ok(More::No));
        assert!(more("[]").is_err() && more(r#"{"users":{}}"#).is_err() && more("<html>").is_err());
    }

    #[test]
    fn absence_is_the_servers_own_code() {
        for own in [
            r#"{"code":404,"error_code":"user_not_found","msg":"User not found"}"#,
            r#"{"code":"user_not_found","message":"User not found"}"#,
        ] {
            assert!(SupabaseApi.error_code(own).is_some_and(|code| SupabaseApi.means_absent(&code)), "{own}");
        }
        assert_eq!(SupabaseApi.error_code(r#"{"message":"no Route matched with those values"}"#), None);
    }
}
