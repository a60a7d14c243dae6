//! What a test asks of the simulator itself: `GET /simulate`, `PUT /simulate/faults`, `POST /simulate/changes`,
//! `PUT /simulate/deliver`.

use super::answers::json_text;
use super::faults::Faults;
use super::shared::{ApiState, Shared, lock};
use super::traffic;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use url::Url;

const CHANGES_MAX: u64 = 100_000;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/simulate", get(state))
        .route("/simulate/faults", put(set_faults))
        .route("/simulate/changes", post(change))
        .route("/simulate/deliver", put(deliver))
}

async fn state(State(shared): ApiState) -> Response {
    let users = shared.world().count();
    let (window_max, requests) = lock(&shared.window).measured();
    let state = json!({
        "users": users,
        "requests": requests,
        "requests_in_ten_seconds_max": window_max,
        "deliveries": shared.outbox.tally(),
        "faults": shared.faults(),
    });
    json_text(state.to_string())
}

/// All faults anew: what is not named does not happen.
async fn set_faults(State(shared): ApiState, body: Bytes) -> Result<Response, Response> {
    let faults: Faults = serde_json::from_slice(&body).map_err(|error| wrong(&shared, &error))?;
    *lock(&shared.faults) = faults.clone();
    Ok(json_text(json!(faults).to_string()))
}

#[derive(Deserialize)]
struct Changes {
    count: u64,
}

async fn change(State(shared): ApiState, body: Bytes) -> Result<Response, Response> {
    let Changes { count } = serde_json::from_slice(&body).map_err(|error| wrong(&shared, &error))?;
    for _ in 0..count.min(CHANGES_MAX) {
        traffic::change(&shared);
    }
    Ok(json_text(json!({"changed": count.min(CHANGES_MAX)}).to_string()))
}

#[derive(Deserialize)]
struct Deliver {
    to: Url,
}

/// Deliveries go there from now on.
async fn deliver(State(shared): ApiState, body: Bytes) -> Result<Response, Response> {
    let Deliver { to } = serde_json::from_slice(&body).map_err(|error| wrong(&shared, &error))?;
    let told = json!({"to": to.as_str()}).to_string();
    shared.outbox.deliver_to(to);
    Ok(json_text(told))
}

fn wrong(shared: &Shared, error: &serde_json::Error) -> Response {
    shared.vendor.refuse(StatusCode::BAD_REQUEST, "request_body_invalid", &error.to_string())
}
