//! What stands before every API: faults, the limit, the key.

use super::shared::{ApiState, lock};
use super::vendor::Vendor;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use tokio::time::Instant;

pub(super) async fn guard(State(shared): ApiState, request: Request, next: Next) -> Response {
    let (faults, vendor) = (shared.faults(), shared.vendor);
    if faults.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.latency_ms)).await;
    }
    if faults.hang {
        std::future::pending::<()>().await;
    }
    let crowded = lock(&shared.window).ask(Instant::now());
    *lock(&shared.asked).entry(request.uri().to_string()).or_default() += 1;
    if faults.outage {
        return (StatusCode::SERVICE_UNAVAILABLE, "upstream connect error").into_response();
    }
    let crowded = crowded.or_else(|| shared.chance(faults.throttled).then_some(1));
    if let Some(seconds) = crowded {
        let mut response =
            vendor.refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests");
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        return response;
    }
    if faults.revoked || !vendor.has_key(request.headers(), &shared.secret_key) {
        return vendor.refuse_key();
    }
    if shared.chance(faults.errors) {
        return vendor.refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Oops");
    }
    if shared.chance(faults.html) {
        return ([(header::CONTENT_TYPE, "text/html")], "<!doctype html><title>Wait</title>").into_response();
    }
    let response = next.run(request).await;
    let response = if faults.broken.is_empty() {
        response
    } else {
        unless_broken(response, &faults.broken, vendor).await
    };
    if shared.chance(faults.cut) { cut_off(response).await } else { response }
}

/// The answer, or 500 where it would hold one of these users.
async fn unless_broken(response: Response, broken: &[String], vendor: &dyn Vendor) -> Response {
    let (head, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let text = String::from_utf8_lossy(&bytes);
    if broken.iter().any(|id| text.contains(&format!("\"{id}\""))) {
        let words = "Database error finding users";
        return vendor.refuse(StatusCode::INTERNAL_SERVER_ERROR, "unexpected_failure", words);
    }
    Response::from_parts(head, Body::from(bytes))
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
