//! The admin listener: what applications and operators ask for, behind two tokens.

mod answer;
mod ask;
mod endpoints;
mod guard;
mod operate;
mod schema;
mod users;

pub use guard::Tokens;
pub use operate::APPROVAL_MS;

use super::body::BodyBudget;
use crate::live::Live;
use crate::reconcile::ErasedRow;
use crate::resync::{Ensure, Resync};
use crate::store::Store;
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use endpoints::endpoints;
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
    pub tokens: Live<Tokens>,
    /// Further names that this listener is asked for by.
    pub hosts: Vec<String>,
    /// What becomes of the row of somebody who is erased.
    pub erased_row: ErasedRow,
    /// By source: after how long its silence is alarming.
    pub silence_after_ms: HashMap<String, i64>,
    pub budget: BodyBudget,
}

/// Serves every endpoint of `endpoints.rs`, and the document that was made of them.
pub fn admin_router(admin: Arc<Admin>) -> Router {
    let (endpoints, document) = endpoints().split_for_parts();
    let document = Bytes::from(document.to_json().unwrap_or_default());
    let openapi = || async { ([(header::CONTENT_TYPE, "application/json")], document) };
    endpoints
        .route("/openapi.json", get(openapi))
        .fallback(answer::nothing_here)
        .method_not_allowed_fallback(answer::other_method)
        .layer(from_fn_with_state(admin.clone(), guard::guard))
        .with_state(admin)
}

/// The OpenAPI document, as `GET /openapi.json` answers it.
pub fn document() -> String {
    endpoints().into_openapi().to_json().unwrap_or_default()
}
