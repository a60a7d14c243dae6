//! What a server could do that stores nothing: signature verified, JSON read, answered. The most that any way of
//! storing can reach on a machine.

use crate::clock::{Clock, SystemClock};
use crate::source::signature::{SignedHeaders, SigningKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde::de::IgnoredAny;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, key: SigningKey) -> std::io::Result<()> {
    let keys: Arc<[SigningKey]> = Arc::from([key]);
    let router = Router::new()
        .route("/readyz", get(|| async {}))
        .route("/webhooks/{source}", post(verify))
        .with_state(keys);
    axum::serve(listener, router).await
}

async fn verify(State(keys): State<Arc<[SigningKey]>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now = SystemClock.now();
    let signed = SignedHeaders::read(&headers, &keys).and_then(|signed| signed.verify(&keys, &body, now));
    match (signed, serde_json::from_slice::<IgnoredAny>(&body)) {
        (Ok(_), Ok(_)) => StatusCode::ACCEPTED,
        _ => StatusCode::UNAUTHORIZED,
    }
}
