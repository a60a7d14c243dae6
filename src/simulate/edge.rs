//! What stands before every API: faults, the limit, the key.

use super::Shared;
use super::kind::Kind;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (faults, kind) = (shared.faults(), shared.options.kind);
    if faults.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.latency_ms)).await;
    }
    if faults.hang {
        std::future::pending::<()>().await;
    }
    let crowded = shared.window.lock().unwrap_or_else(PoisonError::into_inner).ask(Instant::now());
    if faults.outage {
        return (StatusCode::SERVICE_UNAVAILABLE, "upstream connect error").into_response();
    }
    let crowded = crowded.or_else(|| shared.chance(faults.throttled).then_some(1));
    if let Some(seconds) = crowded {
        let mut response =
            kind.refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests");
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        return response;
    }
    if faults.revoked || !has_key(&shared, request.headers()) {
        let (code, refused) = match kind {
            Kind::Clerk => ("clerk_key_invalid", "The provided Clerk Secret Key is invalid."),
            Kind::WorkOs => ("unauthorized", "Unauthorized"),
            Kind::Supabase => ("bad_jwt", "invalid JWT"),
        };
        return kind.refuse(StatusCode::UNAUTHORIZED, code, refused);
    }
    if shared.chance(faults.errors) {
        return kind.refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Oops");
    }
    if shared.chance(faults.html) {
        return ([(header::CONTENT_TYPE, "text/html")], "<!doctype html><title>Wait</title>").into_response();
    }
    let response = next.run(request).await;
    if shared.chance(faults.cut) { cut_off(response).await } else { response }
}

fn has_key(shared: &Shared, headers: &HeaderMap) -> bool {
    let given = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let key = Some(shared.options.secret_key.as_str());
    let bearer = given(header::AUTHORIZATION).and_then(|given| given.strip_prefix("Bearer "));
    // Supabase's gateway looks for a header of its own before its API is asked.
    let gateway = given(header::HeaderName::from_static("apikey"));
    bearer == key && (shared.options.kind != Kind::Supabase || gateway.is_none() || gateway == key)
}

/// The head promises more than comes.
async fn cut_off(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(bytes.slice(..bytes.len() / 2)))
}
