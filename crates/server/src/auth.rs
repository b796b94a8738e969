//! API keys.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::state::ServerState;

/// Refuses requests without a configured key, but for public paths and CORS preflights.
pub(crate) async fn require_key(
    State(state): State<Arc<ServerState>>,
    request: Request,
    next: Next,
) -> Response {
    let keys = &state.options.api_keys;
    let open = keys.is_empty()
        || request.method() == Method::OPTIONS
        || is_public(request.uri().path())
        || key_of(request.headers())
            .is_some_and(|key| keys.iter().any(|known| same(known.as_bytes(), key)));
    if open {
        next.run(request).await
    } else {
        ApiError::unauthorized().into_response()
    }
}

/// Orchestrators, model pickers and the page, which asks for the key, come before anybody has
/// typed one.
fn is_public(path: &str) -> bool {
    if let Some(part) = path.strip_prefix("/page/") {
        return !part.contains('/');
    }
    let path = path.trim_end_matches('/');
    matches!(
        path.rsplit('/').next(),
        Some("" | "health" | "healthz" | "models")
    ) && !path.contains("/models/")
}

fn key_of(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let value = value.as_bytes();
        let (scheme, key) = value.split_at_checked(7)?;
        scheme
            .eq_ignore_ascii_case(b"bearer ")
            .then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()))
}

/// Compares in time that depends on the lengths only.
fn same(known: &[u8], given: &[u8]) -> bool {
    known.len() == given.len()
        && known
            .iter()
            .zip(given)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
