//! The API of Better Auth's admin plugin: users by page and by id, for a session whose role may list and get them. The
//! application's own `user` table answers the same questions, and some more.
//!
//! Source: better-auth 1.7.25 as it was run with Kysely, Drizzle and Prisma. The list is asked for behind an id, in the
//! order of ids: offsets skip people, and times of creation tie. Where its query fails, the answer is 200 with nobody in
//! it and without the `limit` that a good answer repeats.

use super::snapshot;
use crate::core::layout::Layout;
use crate::core::rate::RateLimit;
use crate::core::timestamp::Timestamp;
use crate::source::Kept;
use crate::source::directory::{
    Answer, Directory, Entry, Instance, ListOrder, Listed, Malformed, More, Newest, PageRequest, Position,
};
use crate::source::json::text;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::Serializer;

pub(super) static API: BetterAuthDirectory = BetterAuthDirectory { is_table: false };
pub(super) static TABLE: BetterAuthDirectory = BetterAuthDirectory { is_table: true };

pub(super) struct BetterAuthDirectory {
    is_table: bool,
}

/// Where Better Auth is unless `basePath` says otherwise.
const BASE_PATH: &str = "/api/auth";
const USERS: &str = "/admin/list-users?";
const USER: &str = "/admin/get-user?";
/// Its server sets no limit. A page of so many stays below a megabyte, columns of the application's own included.
const PAGE_SIZE: usize = 500;
/// Of the table: a page is one statement.
const SLICE_SIZE: usize = 2_000;
/// Nobody publishes one for a table: this leaves the application its database.
const TABLE_LIMIT: RateLimit = RateLimit { requests: 500, window_ms: 1_000 };
/// Clocks differ, and a statement may wait for its lock, or its transaction for its end: five minutes, in microseconds.
const OVERLAP_US: i64 = 300_000_000;

#[derive(Deserialize)]
struct UsersPage<'a> {
    #[serde(borrow)]
    users: Vec<&'a RawValue>,
    total: u64,
    #[serde(default)]
    limit: Option<u64>,
}

impl UsersPage<'_> {
    fn read(body: &str) -> Result<UsersPage<'_>, Malformed> {
        let page: UsersPage = serde_json::from_str(body)?;
        match page.limit {
            Some(1..) => Ok(page),
            _ => Err(Malformed("it repeats no limit: the query failed there".into())),
        }
    }
}

impl Directory for BetterAuthDirectory {
    fn default_url(&self) -> Option<&'static str> {
        None
    }

    /// As Better Auth itself has it: an address without a path is that of the application.
    fn base(&self, url: &Url) -> String {
        let base = url.as_str().trim_end_matches('/');
        match url.path() {
            "" | "/" => format!("{base}{BASE_PATH}"),
            _ => base.to_owned(),
        }
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("accept", "application/json")]
    }

    /// "100 requests in 10 seconds" in production, unless the application says otherwise.
    fn rate_limit(&self, _key: &str) -> RateLimit {
        if self.is_table { TABLE_LIMIT } else { RateLimit { requests: 100, window_ms: 10_000 } }
    }

    fn reads_the_row(&self) -> bool {
        self.is_table
    }

    fn list_order(&self) -> ListOrder {
        ListOrder::Id
    }

    fn page(&self, position: &Position) -> PageRequest {
        let mut query = Serializer::for_suffix(String::from(USERS), USERS.len());
        let size = if self.is_table { SLICE_SIZE } else { PAGE_SIZE };
        query.append_pair("limit", &size.to_string());
        query.append_pair("sortBy", "id").append_pair("sortDirection", "asc");
        if let Position::After { provider_id: Some(id), .. } = position {
            query.append_pair("filterField", "id").append_pair("filterOperator", "gt");
            query.append_pair("filterValue", id);
        }
        PageRequest { path: query.finish(), start: 0, size }
    }

    fn lists_since(&self) -> bool {
        false
    }

    /// A filter by `updatedAt` fails with some adapters, and so does the order of changes: sign-ups alone.
    fn newest(&self) -> Newest {
        match self.is_table {
            true => Newest::ByUpdate { page: last_changed, overlap: OVERLAP_US },
            false => Newest::ByCreation { page: newest, at_once: 100 },
        }
    }

    fn count(&self) -> Option<String> {
        Some(format!("{USERS}limit=1"))
    }

    /// The API lists sessions of one person at a time.
    fn active_since(&self, since: Timestamp) -> Option<String> {
        self.is_table.then(|| format!("{USERS}limit=1&activeSince={}", since.ms()))
    }

    fn one(&self, provider_id: &str) -> String {
        let mut query = Serializer::for_suffix(String::from(USER), USER.len());
        query.append_pair("id", provider_id).finish()
    }

    /// A database may move to another host, and is the same: an account that is known must be there.
    fn instance(&self) -> Instance {
        if self.is_table { Instance::Accounts } else { Instance::Address }
    }

    fn read_page(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Listed, Malformed> {
        let UsersPage { users, total, .. } = UsersPage::read(body)?;
        // Behind an id, `total` is what is left.
        let more = if total > users.len() as u64 && !users.is_empty() { More::Yes } else { More::No };
        Ok(Listed { entries: users.into_iter().map(|user| entry(user, layout, keep)).collect(), more })
    }

    fn read_one(&self, body: &str, layout: &Layout, keep: &Kept) -> Result<Entry, Malformed> {
        Ok(entry(serde_json::from_str::<&RawValue>(body)?, layout, keep))
    }

    fn read_count(&self, answer: &Answer) -> Result<u64, Malformed> {
        UsersPage::read(&answer.body).map(|page| page.total)
    }

    fn error_code(&self, body: &str) -> Option<String> {
        let failure: Map<String, Value> = serde_json::from_str(body).ok()?;
        text(failure.get("code"))
    }

    fn means_absent(&self, code: &str) -> bool {
        code == "USER_NOT_FOUND"
    }
}

fn newest(offset: usize, limit: usize) -> String {
    format!("{USERS}limit={limit}&offset={offset}&sortBy=createdAt&sortDirection=desc")
}

fn last_changed(offset: usize, limit: usize) -> String {
    format!("{USERS}limit={limit}&offset={offset}&sortBy=updatedAt&sortDirection=desc")
}

/// Without a time of creation: the list is in the order of ids.
fn entry(raw: &RawValue, layout: &Layout, keep: &Kept) -> Entry {
    Entry::read(raw, keep, |user| Ok((None, snapshot(user, layout)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn more(body: &str) -> Result<More, Malformed> {
        API.read_page(body, &Layout::default(), &Kept::default()).map(|listed| listed.more)
    }

    #[test]
    fn an_answer_without_a_limit_is_a_query_that_failed() {
        assert_eq!(more(r#"{"users":[],"total":0,"limit":500}"#), Ok(More::No));
        assert_eq!(more(r#"{"users":[{"id":"a"}],"total":1,"limit":500}"#), Ok(More::No));
        assert_eq!(more(r#"{"users":[{"id":"a"}],"total":2,"limit":500}"#), Ok(More::Yes));
        for failed in [r#"{"users":[],"total":0}"#, r#"{"users":[],"total":0,"limit":0}"#, "{}", "[]"] {
            assert!(more(failed).is_err(), "{failed}");
        }
        let count = |body: &str| API.read_count(&Answer { body: body.into(), total: None });
        assert_eq!(count(r#"{"users":[{"id":"a"}],"total":7,"limit":1}"#), Ok(7));
        assert!(count(r#"{"users":[],"total":0}"#).is_err());
    }

    #[test]
    fn the_list_goes_on_behind_an_id() {
        let after = |id: &str| Position::After { provider_id: Some(id.into()), since: None };
        assert_eq!(
            API.page(&Position::START).path,
            "/admin/list-users?limit=500&sortBy=id&sortDirection=asc"
        );
        assert!(
            API.page(&after("a&b")).path.ends_with("&filterField=id&filterOperator=gt&filterValue=a%26b")
        );
        assert_eq!(API.one("a/b"), "/admin/get-user?id=a%2Fb");
    }

    #[test]
    fn an_address_without_a_path_is_the_applications() {
        for (url, base) in [
            ("https://app.example.com", "https://app.example.com/api/auth"),
            ("https://app.example.com/", "https://app.example.com/api/auth"),
            ("https://app.example.com/auth/", "https://app.example.com/auth"),
        ] {
            assert_eq!(API.base(&Url::parse(url).unwrap()), base);
        }
    }
}
