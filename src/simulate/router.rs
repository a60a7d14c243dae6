//! The simulator's HTTP: the API of the provider, behind what stands before every API, and what a test asks of the
//! simulator itself.

use super::shared::Shared;
use super::{control, edge};
use axum::{Router, middleware};
use std::sync::Arc;

pub(super) fn router(api: Router<Arc<Shared>>, shared: Arc<Shared>) -> Router {
    let api = api.layer(middleware::from_fn_with_state(shared.clone(), edge::guard));
    api.merge(control::router()).with_state(shared)
}
