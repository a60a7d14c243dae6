//! `/v1/users`, `/v1/changes`: what an application needs, and erasing.

use super::Admin;
use super::answer::{AdminAnswer, json, tagged};
use super::ask::{Named, Parameters, bad_cursor, cells, cursor, hints, inner, object, optional_text, text};
use super::guard::Holder;
use super::schema::{ProblemAnswers, UserState};
use crate::reconcile::{CallError, Caller};
use crate::resync::Signup;
use crate::store::UserFilter;
use crate::view::{ChangePage, Erasure, UserJson, UserPage};
use crate::web::problem::Problem;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Users that one call reads.
const USERS_MAX: usize = 500;
const PAGE_DEFAULT: i64 = 100;
/// Entries of the feed that one call reads.
const CHANGES_MAX: i64 = 1_000;
const STATES: [&str; 5] = ["active", "incomplete", "provisional", "suspended", "deleted"];

/// Somebody is here who may have no row yet.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "the shape of a body, for the document")]
pub struct EnsureBody {
    /// The name of a configured source.
    #[schema(example = "clerk")]
    source: String,
    /// The account's id at the source, from a session that the application has verified.
    #[schema(min_length = 1, max_length = 255)]
    provider_id: String,
    /// What that session knows, by column: it fills a provisional row until the source's word comes, and never links.
    hints: Option<Map<String, Value>>,
    /// Columns that the application sets, its own ones included.
    set: Option<Map<String, Value>>,
}

/// Columns that the application sets, and its ban.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "the shape of a body, for the document")]
pub struct CompleteBody {
    /// A ban that no source lifts, or its end.
    suspended: Option<bool>,
    /// Why: it is kept in the user's history.
    reason: Option<String>,
    #[serde(flatten)]
    columns: Map<String, Value>,
}

/// The sign-up gap: answers the user, known, read from its source now, or provisional.
///
/// One row and one call to the source, however many ask at once, before or after the delivery. 404 where the source knows
/// no such account, or where it was erased here; 409 names the columns for which the application's own constraints leave
/// no room. A 409 whose type ends with `address-of-another-user` says that the account's address is another user's and not verified
/// for this account: whoever signs in has to confirm it.
#[utoipa::path(post, path = "/v1/users/ensure", request_body = EnsureBody,
    responses((status = 200, body = UserJson), ProblemAnswers))]
pub async fn ensure(State(admin): State<Arc<Admin>>, request: Request) -> AdminAnswer {
    let (head, body) = request.into_parts();
    let known = ["source", "provider_id", "hints", "set"];
    let asked = object(&admin.budget, &head.headers, body, Some(&known)).await?;
    let (source, provider_id) = (text(&asked, "source")?, text(&asked, "provider_id")?);
    let (calls, layout) = (&admin.ensure.calls, admin.store.layout());
    let set = cells(layout, &inner(&asked, "set")?)?;
    let signup =
        Signup { hints: hints(layout, &inner(&asked, "hints")?)?, assignment: calls.assignment(&set).await? };
    let user = admin.ensure.user(&source, &provider_id, &signup).await?;
    Ok(json(StatusCode::OK, &UserJson::from(&user)))
}

/// Lists of users, without a call to any source: by ids, by accounts, or page by page.
#[utoipa::path(get, path = "/v1/users",
    params(
        ("ids" = Option<String>, Query, description = "up to 500, with commas between; unknown ones are left out"),
        ("source" = Option<String>, Query, description = "with `provider_ids`, or alone: users with an account there"),
        ("provider_ids" = Option<String>, Query, description = "up to 500 ids at `source`, with commas between"),
        ("state" = Option<UserState>, Query),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("If-None-Match" = Option<String>, Header, description = "the ETag of an earlier answer"),
    ),
    responses((status = 200, body = UserPage, headers(("ETag" = String))),
        (status = 304, description = "The same as before."), ProblemAnswers))]
pub async fn list(State(admin): State<Arc<Admin>>, uri: Uri, headers: HeaderMap) -> AdminAnswer {
    let known = ["ids", "source", "provider_ids", "state", "limit", "cursor"];
    let parameters = Parameters::read(uri.query(), &known)?;
    let ids = parameters.list("ids", USERS_MAX)?;
    let provider_ids = parameters.list("provider_ids", USERS_MAX)?;
    let source = parameters.text("source");
    let state = parameters.one_of("state", &STATES)?;
    let limit = parameters.number("limit", 1..=USERS_MAX as i64)?.unwrap_or(PAGE_DEFAULT);
    let after = parameters.cursor()?;
    let by_name = ids.is_some() || provider_ids.is_some();
    let users = match (ids, provider_ids, source) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return Err(Problem::bad_request("`ids` goes with neither `provider_ids` nor `source`"));
        }
        (_, Some(_), None) => return Err(Problem::bad_request("`provider_ids` needs a `source`")),
        _ if by_name && (state.is_some() || after.is_some()) => {
            return Err(Problem::bad_request("`state` and `cursor` go with lists, not with ids"));
        }
        (Some(ids), _, _) => {
            let table = admin.store.users_table();
            let ids: Vec<String> = ids.iter().filter_map(|id| table.id_from(id)).collect();
            let mut users = admin.store.users_by_id(&ids).await?;
            // As they were asked for.
            let places: HashMap<&str, usize> = ids.iter().map(String::as_str).zip(0..).collect();
            users.sort_by_key(|user| places.get(user.id.as_str()).copied());
            users
        }
        (None, Some(provider_ids), Some(source)) => {
            if provider_ids.iter().any(|id| id.contains('\0')) || source.contains('\0') {
                return Err(Problem::bad_request("an id holds a NUL character"));
            }
            admin.store.users_of(source, &provider_ids).await?
        }
        (None, None, source) => {
            let after = match after {
                None => None,
                Some(place) => Some(admin.store.users_table().id_from(&place).ok_or_else(bad_cursor)?),
            };
            if source.is_some_and(|source| source.contains('\0')) {
                return Err(Problem::bad_request("`source` holds a NUL character"));
            }
            let filter = UserFilter { state, source: source.map(str::to_owned), after, limit };
            admin.store.users(&filter).await?
        }
    };
    let is_full = !by_name && users.len() as i64 == limit;
    let next_cursor = users.last().filter(|_| is_full).map(|last| cursor(&last.id));
    Ok(tagged(&headers, &UserPage { users: users.iter().map(UserJson::from).collect(), next_cursor }))
}

/// One user.
#[utoipa::path(get, path = "/v1/users/{id}",
    params(("id" = String, Path), ("If-None-Match" = Option<String>, Header, description = "the ETag of an earlier answer")),
    responses((status = 200, body = UserJson, headers(("ETag" = String))),
        (status = 304, description = "The same as before."), ProblemAnswers))]
pub async fn show(State(admin): State<Arc<Admin>>, Named(id): Named, headers: HeaderMap) -> AdminAnswer {
    Ok(tagged(&headers, &found(&admin, &id).await?))
}

/// Completes a user: columns that the application may set, or a ban.
///
/// 409 where a value is taken or otherwise refused by the application's own constraints, 422 where a column is not the
/// application's to set.
#[utoipa::path(patch, path = "/v1/users/{id}", params(("id" = String, Path)),
    request_body = CompleteBody, responses((status = 200, body = UserJson), ProblemAnswers))]
pub async fn complete(
    State(admin): State<Arc<Admin>>,
    Extension(holder): Extension<Holder>,
    Named(id): Named,
    request: Request,
) -> AdminAnswer {
    let (head, body) = request.into_parts();
    let mut asked = object(&admin.budget, &head.headers, body, None).await?;
    let reason = optional_text(&asked, "reason")?;
    let suspended = match asked.get("suspended") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(suspended)) => Some(*suspended),
        Some(_) => return Err(Problem::bad_request("`suspended` must be true or false")),
    };
    asked.remove("suspended");
    asked.remove("reason");
    if suspended.is_none() && (asked.is_empty() || reason.is_some()) {
        return Err(Problem::bad_request(
            "nothing is to be set: name columns, or `suspended` with its `reason`",
        ));
    }
    if reason.as_ref().is_some_and(|reason| reason.len() > 1_000 || reason.contains('\0')) {
        return Err(Problem::bad_request("`reason` is longer than 1000 bytes, or holds a NUL character"));
    }
    let id = known_id(&admin, &id)?;
    let calls = &admin.ensure.calls;
    let mut assignment = calls.assignment(&cells(admin.store.layout(), &asked)?).await?;
    assignment.setting.suspended = suspended;
    let by = if holder == Holder::Operator { "operator" } else { "application" };
    calls.set(&id, &assignment, Caller { by, reason: reason.as_deref() }).await?;
    Ok(json(StatusCode::OK, &found(&admin, &id).await?))
}

/// Erases a user for good: the row is emptied (or removed, with HEADCOUNT_ON_DELETE=remove), hashes stand in for its
/// accounts, and neither a delivery nor a resync brings it back.
#[utoipa::path(delete, path = "/v1/users/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Erasure), ProblemAnswers))]
pub async fn erase(State(admin): State<Arc<Admin>>, Named(id): Named) -> AdminAnswer {
    let id = known_id(&admin, &id)?;
    let erased = admin.ensure.calls.erase(&id, admin.erased_row, Caller::OPERATOR).await?;
    Ok(json(StatusCode::OK, &Erasure::of(&id, erased)))
}

/// The feed of what changed, in order and without gaps.
///
/// Ask again with `after` = `next_after` and `epoch` = the answer's. Without `after` it begins with the oldest entry that is
/// kept. 410 says that entries after `after` are not kept any more, 409 that the database was restored since: take `latest`
/// and `epoch` of an answer without them, read all users anew, and go on from there.
#[utoipa::path(get, path = "/v1/changes",
    params(("after" = Option<i64>, Query, minimum = 0),
        ("epoch" = Option<String>, Query, description = "the epoch of the answer that `after` is of"), ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000),
        ("If-None-Match" = Option<String>, Header, description = "the ETag of an earlier answer")),
    responses((status = 200, body = ChangePage, headers(("ETag" = String))),
        (status = 304, description = "The same as before."),
        (status = 409, description = "`after` is of another history; the type ends with `unknown-cursor`.",
            body = super::schema::ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "Entries after `after` are not kept any more.",
            body = super::schema::ProblemBody, content_type = "application/problem+json"), ProblemAnswers))]
pub async fn changes(State(admin): State<Arc<Admin>>, uri: Uri, headers: HeaderMap) -> AdminAnswer {
    let parameters = Parameters::read(uri.query(), &["after", "epoch", "limit"])?;
    let after = parameters.number("after", 0..=i64::MAX)?;
    let limit = parameters.number("limit", 1..=CHANGES_MAX)?.unwrap_or(CHANGES_MAX);
    let feed = admin.store.feed(after, limit).await?;
    let is_of_another = parameters.text("epoch").is_some_and(|epoch| epoch != feed.epoch);
    if is_of_another || after.is_some_and(|after| after > feed.latest) {
        let detail = format!(
            "the cursor is of another history than this one, as after a restore; read all users anew, then go on after {} \
             with epoch={}",
            feed.latest, feed.epoch
        );
        return Err(Problem { kind: Some("unknown-cursor"), ..Problem::new(StatusCode::CONFLICT, detail) });
    }
    if after.is_some_and(|after| after < feed.pruned) {
        let detail = format!(
            "entries up to {} are not kept any more; read all users anew, then go on after {}",
            feed.pruned, feed.latest
        );
        return Err(Problem::new(StatusCode::GONE, detail));
    }
    Ok(tagged(&headers, &ChangePage::of(&feed, after)))
}

fn known_id(admin: &Admin, id: &str) -> Result<String, Problem> {
    admin.store.users_table().id_from(id).ok_or_else(|| CallError::Unknown.into())
}

async fn found(admin: &Admin, id: &str) -> Result<UserJson, Problem> {
    let id = known_id(admin, id)?;
    let users = admin.store.users_by_id(&[id]).await?;
    users.first().map(UserJson::from).ok_or_else(|| CallError::Unknown.into())
}
