//! `/v1/status`, `/v1/runs`, `/v1/resync`, `/v1/events`: for operators.

use super::Admin;
use super::answer::{AdminAnswer, json, tagged};
use super::ask::{Named, Parameters, bad_cursor, cursor, object, optional_text, text};
use super::schema::{EventStatus, ProblemAnswers, ResyncMode, RunStatus};
use crate::resync::ResyncError;
use crate::store::{DeliveryFilter, Selection};
use crate::view::{EventJson, EventPage, RunJson, RunPage, StatusJson};
use crate::web::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;
use tracing::{error, info};
use utoipa::ToSchema;

/// How long a yes holds: 24 hours.
pub const APPROVAL_MS: i64 = 24 * 3_600_000;
const PAGE_DEFAULT: i64 = 50;
const PAGE_MAX: i64 = 500;
const RUN_STATUSES: [&str; 8] =
    ["running", "succeeded", "partial", "failed", "held", "rejected", "interrupted", "cancelled"];
const EVENT_STATUSES: [&str; 6] = ["pending", "applied", "stale", "ignored", "held", "dead"];
const MODES: [&str; 4] = ["full", "incremental", "dry-run", "user"];

/// Which source to read, and how.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a body, for the document")]
pub struct ResyncBody {
    #[schema(example = "clerk")]
    source: String,
    /// `full` is the default.
    mode: Option<ResyncMode>,
    /// The account to read, with mode `user`.
    provider_id: Option<String>,
}

/// A read has begun; `GET /v1/runs` shows how it goes.
#[derive(Serialize, ToSchema)]
pub struct Begun {
    source: String,
    mode: String,
    status: String,
}

/// Users by state, the incomplete by missing field and age, the inbox, sources, what is held back.
#[utoipa::path(get, path = "/v1/status",
    params(("If-None-Match" = Option<String>, Header, description = "the ETag of an earlier answer")),
    responses((status = 200, body = StatusJson, headers(("ETag" = String))),
        (status = 304, description = "The same as before."), ProblemAnswers))]
pub async fn status(State(admin): State<Arc<Admin>>, uri: Uri, headers: HeaderMap) -> AdminAnswer {
    Parameters::read(uri.query(), &[])?;
    let status =
        crate::view::status(&admin.store, &admin.ensure.calls.sources, &admin.silence_after_ms).await?;
    Ok(tagged(&headers, &status))
}

/// Reads of sources, the newest first.
#[utoipa::path(get, path = "/v1/runs",
    params(("source" = Option<String>, Query), ("status" = Option<RunStatus>, Query),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 500),
        ("If-None-Match" = Option<String>, Header, description = "the ETag of an earlier answer")),
    responses((status = 200, body = RunPage, headers(("ETag" = String))),
        (status = 304, description = "The same as before."), ProblemAnswers))]
pub async fn runs(State(admin): State<Arc<Admin>>, uri: Uri, headers: HeaderMap) -> AdminAnswer {
    let parameters = Parameters::read(uri.query(), &["source", "status", "limit"])?;
    let status = parameters.one_of("status", &RUN_STATUSES)?.unwrap_or_default();
    let source = plain(parameters.text("source"))?.unwrap_or_default();
    let limit = parameters.number("limit", 1..=PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
    let runs = admin.store.runs(&source, &status, limit).await?;
    Ok(tagged(&headers, &RunPage { runs: runs.iter().map(RunJson::from).collect() }))
}

/// Reads a source now, in the background.
#[utoipa::path(post, path = "/v1/resync", request_body = ResyncBody,
    responses((status = 202, body = Begun), ProblemAnswers))]
pub async fn resync(State(admin): State<Arc<Admin>>, request: Request) -> AdminAnswer {
    let (head, body) = request.into_parts();
    let asked = object(&admin.budget, &head.headers, body, Some(&["source", "mode", "provider_id"])).await?;
    let source = text(&asked, "source")?;
    let mode = optional_text(&asked, "mode")?.unwrap_or_else(|| "full".to_owned());
    let provider_id = optional_text(&asked, "provider_id")?;
    if !MODES.contains(&&*mode) {
        return Err(Problem::bad_request(format!("`mode` must be one of {}", MODES.join(", "))));
    }
    if (mode == "user") != provider_id.as_ref().is_some_and(|id| !id.is_empty() && !id.contains('\0')) {
        return Err(Problem::bad_request("mode `user` goes with a `provider_id`, and no other does"));
    }
    let Some(resync) = admin.reading.get(&source).cloned() else {
        return Err(Problem::bad_request("there is no source of that name here with an API key"));
    };
    if mode == "full" || mode == "dry-run" {
        let last = admin.store.last_full_run(&source).await?;
        if last.is_some_and(|run| run.status == "running") {
            return Err(Problem::new(StatusCode::CONFLICT, "a full run of this source is under way"));
        }
    }
    let answer = Begun { source: source.clone(), mode: mode.clone(), status: "begun".to_owned() };
    tokio::spawn(async move {
        let ended = match (mode.as_str(), provider_id) {
            ("user", Some(id)) => resync.user(&id).await,
            ("incremental", _) => resync.incremental("api").await,
            ("dry-run", _) => resync.dry_run().await,
            _ => resync.full("api", false).await,
        };
        match ended {
            Ok(report) => info!(
                source.name = source,
                run.id = report.run.id,
                "a run that was asked for ended as {}",
                report.run.status
            ),
            Err(ResyncError::Stopped) => {}
            Err(failure) => error!(source.name = source, "a run that was asked for failed: {failure}"),
        }
    });
    Ok(json(StatusCode::ACCEPTED, &answer))
}

/// A yes to a held run: exactly whom it names, each asked for once more. It holds for 24 hours.
#[utoipa::path(post, path = "/v1/runs/{id}/approve", params(("id" = String, Path)),
    responses((status = 202, body = RunJson), ProblemAnswers))]
pub async fn approve(State(admin): State<Arc<Admin>>, Named(id): Named) -> AdminAnswer {
    let approved = admin.store.approve_run(&plain(Some(&id))?.unwrap_or_default(), APPROVAL_MS).await?;
    decided(&admin, &id, approved, StatusCode::ACCEPTED).await
}

/// A no to a held run: nobody is deleted or created.
#[utoipa::path(post, path = "/v1/runs/{id}/reject", params(("id" = String, Path)),
    responses((status = 200, body = RunJson), ProblemAnswers))]
pub async fn reject(State(admin): State<Arc<Admin>>, Named(id): Named) -> AdminAnswer {
    let rejected =
        admin.store.reject_run(&plain(Some(&id))?.unwrap_or_default(), "rejected by a person").await?;
    decided(&admin, &id, rejected, StatusCode::OK).await
}

async fn decided(admin: &Admin, id: &str, done: bool, status: StatusCode) -> AdminAnswer {
    let run = admin.store.run(id).await?;
    match run {
        None => Err(Problem::new(StatusCode::NOT_FOUND, "there is no such run; GET /v1/runs lists them")),
        Some(run) if !done => {
            Err(Problem::new(StatusCode::CONFLICT, format!("the run is not held but {}", run.status)))
        }
        Some(run) => Ok(json(status, &RunJson::from(&run))),
    }
}

/// Deliveries in the inbox, the newest first.
#[utoipa::path(get, path = "/v1/events",
    params(("status" = Option<EventStatus>, Query), ("source" = Option<String>, Query),
        ("provider_id" = Option<String>, Query), ("limit" = Option<i64>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("If-None-Match" = Option<String>, Header, description = "the ETag of an earlier answer")),
    responses((status = 200, body = EventPage, headers(("ETag" = String))),
        (status = 304, description = "The same as before."), ProblemAnswers))]
pub async fn events(State(admin): State<Arc<Admin>>, uri: Uri, headers: HeaderMap) -> AdminAnswer {
    let known = ["status", "source", "provider_id", "limit", "cursor"];
    let parameters = Parameters::read(uri.query(), &known)?;
    let limit = parameters.number("limit", 1..=PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
    let beyond = match parameters.cursor()? {
        None => None,
        Some(place) => Some(place.parse::<i64>().ok().filter(|seq| *seq > 0).ok_or_else(bad_cursor)?),
    };
    let filter = DeliveryFilter {
        status: parameters.one_of("status", &EVENT_STATUSES)?,
        source: plain(parameters.text("source"))?,
        provider_id: plain(parameters.text("provider_id"))?,
        beyond,
        oldest_first: false,
        limit,
    };
    let deliveries = admin.store.deliveries(&filter, false).await?;
    let last = deliveries.last().filter(|_| deliveries.len() as i64 == limit);
    let next_cursor = last.map(|last| cursor(&last.seq.to_string()));
    Ok(tagged(&headers, &EventPage { events: deliveries.iter().map(EventJson::from).collect(), next_cursor }))
}

/// Tries a dead letter again, or lets a held deletion through.
#[utoipa::path(post, path = "/v1/events/{seq}/retry", params(("seq" = i64, Path)),
    responses((status = 200, body = EventJson), ProblemAnswers))]
pub async fn retry(State(admin): State<Arc<Admin>>, Named(seq): Named) -> AdminAnswer {
    let seq = number(&seq)?;
    let done = admin.store.retry(&Selection::Seqs(vec![seq])).await?;
    acted(&admin, seq, done).await
}

/// Gives a dead letter or a held deletion up, body and all.
#[utoipa::path(post, path = "/v1/events/{seq}/discard", params(("seq" = i64, Path)),
    responses((status = 200, body = EventJson), ProblemAnswers))]
pub async fn discard(State(admin): State<Arc<Admin>>, Named(seq): Named) -> AdminAnswer {
    let seq = number(&seq)?;
    let done = admin.store.discard(&Selection::Seqs(vec![seq])).await?;
    acted(&admin, seq, done).await
}

async fn acted(admin: &Admin, seq: i64, done: u64) -> AdminAnswer {
    match admin.store.delivery(seq).await? {
        None => {
            Err(Problem::new(StatusCode::NOT_FOUND, "there is no such delivery; GET /v1/events lists them"))
        }
        Some(delivery) if done == 0 => {
            let detail =
                format!("only what is dead or held is decided about; this one is {}", delivery.status);
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        Some(delivery) => Ok(json(StatusCode::OK, &EventJson::from(&delivery))),
    }
}

fn number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::bad_request("the number of a delivery is a whole number"))
}

fn plain(text: Option<&str>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.contains('\0') => Err(Problem::bad_request("a NUL character is in no name")),
        text => Ok(text.map(str::to_owned)),
    }
}
