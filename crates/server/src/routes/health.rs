//! `GET /health`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::ApiError;
use crate::state::ServerState;

/// 200 with the load of the engine, or 503 with the progress of loading.
pub(crate) async fn health(State(state): State<Arc<ServerState>>) -> Response {
    let Some(ready) = state.ready() else {
        return ApiError::loading(state.progress()).into_response();
    };
    let stats = ready.engine.stats();
    Json(json!({"status": "ok", "requests_processing": stats.running, "requests_deferred": stats.waiting}))
        .into_response()
}
