//! One file per group of endpoints.

pub(crate) mod chat;
pub(crate) mod health;
pub(crate) mod models;
pub(crate) mod page;
pub(crate) mod tokenize;

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;

use crate::error::ApiError;
use crate::state::{Ready, ServerState};

/// The model, or 503 with the progress of its loading.
fn ready(state: &ServerState) -> Result<Arc<Ready>, ApiError> {
    state
        .ready()
        .ok_or_else(|| ApiError::loading(state.progress()))
}

/// A JSON body, whatever content type the client named.
fn parse_json(body: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request("", format!("the body is not JSON: {error}")))
}
