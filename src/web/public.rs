//! `POST /webhooks/{source}`, `GET /healthz`, `GET /readyz`.

use super::body::BodyBudget;
use super::problem::Problem;
use crate::clock::Clock;
use crate::intake::verified;
use crate::intake::{Ingest, IngestError, WriteHealth};
use crate::source::Source;
use crate::source::signature::{Refused, SignedHeaders};
use crate::store::{Acceptance, Store};
use crate::worker::{Refusals, Retired};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// A schema that was current is taken to be so for a while, where writing tells that the database is there.
const SCHEMA_KNOWN_FOR: Duration = Duration::from_secs(60);
/// What a provider is told when the inbox cannot be written.
const RETRY_AFTER_SECONDS: u32 = 5;

/// What the public listener works with.
#[derive(Clone)]
pub struct Public {
    pub sources: Arc<Vec<Source>>,
    pub ingest: Option<Ingest>,
    /// Absent in a process that only answers.
    pub writing: Option<Arc<WriteHealth>>,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub refusals: Arc<Refusals>,
    pub retired: Retired,
    pub budget: BodyBudget,
    schema: Arc<SchemaCheck>,
}

impl Public {
    /// `ingest` is absent in a process that takes no deliveries.
    pub fn new(
        sources: Arc<Vec<Source>>,
        ingest: Option<Ingest>,
        store: Store,
        clock: Arc<dyn Clock>,
        refusals: Arc<Refusals>,
        retired: Retired,
        body_bytes_max: usize,
    ) -> Self {
        let (budget, schema) = (BodyBudget::new(body_bytes_max), Arc::default());
        Self { sources, ingest, writing: None, store, clock, refusals, retired, budget, schema }
    }
}

pub fn public_router(public: Public) -> Router {
    let mut router = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    if public.ingest.is_some() {
        // Some dashboards and proxies put a slash at the end.
        router =
            router.route("/webhooks/{source}", post(receive)).route("/webhooks/{source}/", post(receive));
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "deliveries come by POST; health is asked by GET")
        })
        .with_state(Arc::new(public))
}

async fn healthz() -> Response {
    json(StatusCode::OK, "alive")
}

/// When the schema was last found to be current.
#[derive(Default)]
struct SchemaCheck(Mutex<Option<Instant>>);

impl SchemaCheck {
    fn is_fresh(&self) -> bool {
        let checked = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checked.is_some_and(|checked| checked.elapsed() < SCHEMA_KNOWN_FOR)
    }

    fn passed(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Whether this process can do what it is there for: write, for most; read, for one that only answers.
async fn readyz(State(public): State<Arc<Public>>) -> Response {
    if let Some(writing) = &public.writing {
        if let Err(why) = writing.can_write() {
            let detail = format!("{why}; headcount's log says more");
            return Problem::unavailable(detail, RETRY_AFTER_SECONDS).into_response();
        }
        if public.schema.is_fresh() {
            return json(StatusCode::OK, "ready");
        }
    }
    match tokio::time::timeout(READY_TIMEOUT, public.store.check_schema()).await {
        Ok(Ok(())) => {
            public.schema.passed();
            json(StatusCode::OK, "ready")
        }
        Ok(Err(error)) if !error.is_transient() => {
            Problem::unavailable("the schema is not current; run `headcount migrate`", RETRY_AFTER_SECONDS)
                .into_response()
        }
        Ok(Err(_)) | Err(_) => {
            Problem::unavailable("the database cannot be reached", RETRY_AFTER_SECONDS).into_response()
        }
    }
}

/// A delivery that was sent past its path is counted, under the source whose name is in the path it was sent to.
async fn nothing_here(State(public): State<Arc<Public>>, request: Request) -> Problem {
    if request.method() == Method::POST && public.ingest.is_some() {
        let segments: Vec<&str> = request.uri().path().split('/').collect();
        let is_named = |source: &&Source| segments.iter().any(|part| part.eq_ignore_ascii_case(&source.name));
        let meant = public.sources.iter().find(is_named);
        public.refusals.count(meant.map_or("", |source| &source.name), "wrong_path");
    }
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here; deliveries come to /webhooks/SOURCE")
}

async fn receive(
    State(public): State<Arc<Public>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // A path that is no text names no source.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    match verify_and_store(&public, &name, &head.headers, body).await {
        Ok(Acceptance::Accepted) => json(StatusCode::ACCEPTED, "accepted"),
        Ok(Acceptance::Duplicate) => json(StatusCode::OK, "duplicate"),
        Err(problem) => problem.into_response(),
    }
}

/// Cheap checks first: nothing is read of a body that cannot be accepted, and nothing is hashed of one too large.
async fn verify_and_store(
    public: &Public,
    name: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Acceptance, Problem> {
    let refuse = |reason: &'static str, problem: Problem| {
        public.refusals.count(name, reason);
        problem
    };
    let source = public.sources.iter().find(|source| source.name == name && source.takes_deliveries());
    let Some((source, ingest)) = source.zip(public.ingest.as_ref()) else {
        // Not under the name: anybody can make names up.
        public.refusals.count("", "unknown_source");
        return Err(Problem::new(StatusCode::NOT_FOUND, "no such source takes deliveries here"));
    };
    if public.retired.has(name) {
        let retired = Problem::new(StatusCode::NOT_FOUND, "the source is retired and takes no deliveries");
        return Err(refuse("retired", retired));
    }
    let now = public.clock.now();
    let keys = source.webhook_keys.get();
    let signed = SignedHeaders::read(headers, &keys)
        .and_then(|signed| signed.check_time(now, source.tolerance).map(|_| signed))
        .map_err(|refused| refuse(reason(refused), refusal(refused, source)))?;
    let read = public.budget.read(headers, body).await;
    let body = read.map_err(|error| refuse(error.reason(), error.into()))?;
    let signed_at = signed
        .verify_within(source.tolerance, &keys, &body.bytes, public.clock.now())
        .map_err(|refused| refuse(reason(refused), refusal(refused, source)))?;
    let not_json = || refuse("not_json", Problem::new(StatusCode::BAD_REQUEST, "the body is not JSON"));
    let (text, _share) = body.into_text().map_err(|_| not_json())?;
    let fresh_id = || format!("post_{}", public.clock.fresh_id());
    let delivery = verified(source, &signed, signed_at, text, fresh_id).ok_or_else(not_json)?;
    ingest.accept(delivery).await.map_err(|error| {
        let (reason, detail) = match error {
            IngestError::Full => ("overloaded", "too many deliveries are waiting; deliver this one again"),
            IngestError::Unavailable { .. } => {
                ("unavailable", "the inbox cannot be written now; deliver this one again")
            }
        };
        refuse(reason, Problem::unavailable(detail, RETRY_AFTER_SECONDS))
    })
}

/// For the operator's counts only.
fn reason(refused: Refused) -> &'static str {
    match refused {
        Refused::MissingHeaders => "missing_headers",
        Refused::BadHeaders => "bad_headers",
        Refused::TooOld => "too_old",
        Refused::TooNew => "too_new",
        Refused::NoMatch => "bad_signature",
    }
}

/// One message for every cause but absent headers: a forger learns nothing.
fn refusal(refused: Refused, source: &Source) -> Problem {
    match refused {
        Refused::MissingHeaders => {
            let headers = source.signature_headers();
            let detail = format!("the headers that say who sent it ({headers}) are missing");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        }
        _ => {
            Problem::new(StatusCode::UNAUTHORIZED, "the signature, its secret or its timestamp is not valid")
        }
    }
}

fn json(status: StatusCode, word: &str) -> Response {
    let body = format!("{{\"status\":\"{word}\"}}");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
