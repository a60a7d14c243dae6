//! The admin listener: what applications and operators ask for, behind two tokens.

mod answer;
mod ask;
mod doc;
mod guard;
mod operate;
mod users;

pub use doc::document;
pub use guard::Tokens;
pub use operate::APPROVAL_MS;

use super::body::BodyBudget;
use crate::reconcile::ErasedRow;
use crate::resync::{Ensure, Resync};
use crate::store::Store;
use axum::Router;
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, patch, post};
use std::collections::HashMap;
use std::sync::Arc;

/// Of a body: a call sets some columns.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the admin listener works with.
pub struct Admin {
    pub store: Store,
    pub ensure: Arc<Ensure>,
    /// Those of the sources that can be read, by name: apart from `ensure`, which must not wait for a run.
    pub reading: HashMap<String, Arc<Resync>>,
    pub tokens: Tokens,
    /// Further names that this listener is asked for by.
    pub hosts: Vec<String>,
    /// What becomes of the row of somebody who is erased.
    pub erased_row: ErasedRow,
    /// By source: after how long its silence is alarming.
    pub silence_after_ms: HashMap<String, i64>,
    pub budget: BodyBudget,
}

pub fn admin_router(admin: Arc<Admin>) -> Router {
    let operations = Router::new()
        .route("/v1/users/{id}", axum::routing::delete(users::erase))
        .route("/v1/status", get(operate::status))
        .route("/v1/runs", get(operate::runs))
        .route("/v1/resync", post(operate::resync))
        .route("/v1/runs/{id}/approve", post(operate::approve))
        .route("/v1/runs/{id}/reject", post(operate::reject))
        .route("/v1/events", get(operate::events))
        .route("/v1/events/{seq}/retry", post(operate::retry))
        .route("/v1/events/{seq}/discard", post(operate::discard))
        .route_layer(from_fn(guard::operators_only));
    let application = Router::new()
        .route("/openapi.json", get(openapi))
        .route("/v1/users/ensure", post(users::ensure))
        .route("/v1/users", get(users::list))
        .route("/v1/users/{id}", get(users::show))
        .route("/v1/users/{id}", patch(users::complete))
        .route("/v1/changes", get(users::changes));
    application
        .merge(operations)
        .fallback(answer::nothing_here)
        .method_not_allowed_fallback(answer::other_method)
        .layer(from_fn_with_state(admin.clone(), guard::guard))
        .with_state(admin)
}

async fn openapi() -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}
