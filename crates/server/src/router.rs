//! Paths, methods and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

use crate::auth;
use crate::error::ApiError;
use crate::routes::{chat, health, models, page, tokenize};
use crate::state::ServerState;

/// Base URLs that clients are configured with, doubled ones included.
const PREFIXES: [&str; 4] = ["", "/v1", "/v1/v1", "/api/v1"];

type Routes = Router<Arc<ServerState>>;

/// The whole HTTP surface over `state`.
pub fn router(state: Arc<ServerState>) -> Router {
    let mut routes = Router::new();
    for prefix in PREFIXES {
        routes = add(routes, prefix, "/chat/completions", || {
            post(chat::completions)
        });
        routes = add(routes, prefix, "/models", || get(models::list));
        routes = routes.route(&format!("{prefix}/models/{{*id}}"), get(models::one));
        routes = add(routes, prefix, "/health", || get(health::health));
        routes = add(routes, prefix, "/tokenize", || post(tokenize::tokenize));
        routes = add(routes, prefix, "/detokenize", || post(tokenize::detokenize));
        routes = add(routes, prefix, "/apply-template", || {
            post(tokenize::apply_template)
        });
    }
    routes = add(routes, "", "/healthz", || get(health::health));
    if state.options.page {
        routes = routes.route("/page/{name}", get(page::part));
    }
    let limit = state.options.max_body_bytes;
    let cors = state.options.cors;
    let app = routes
        .route("/", get(page::index))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            name_body_limit,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            auth::require_key,
        ))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::internal("internal error; the log has the reason").into_response()
        }))
        .with_state(state);
    if cors {
        app.layer(CorsLayer::very_permissive())
    } else {
        app
    }
}

/// One endpoint, with and without a trailing slash.
fn add(
    routes: Routes,
    prefix: &str,
    path: &str,
    methods: impl Fn() -> MethodRouter<Arc<ServerState>>,
) -> Routes {
    routes
        .route(&format!("{prefix}{path}"), methods())
        .route(&format!("{prefix}{path}/"), methods())
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::not_found(format!(
        "no endpoint {} {}",
        request.method(),
        request.uri().path()
    ))
}

async fn wrong_method() -> ApiError {
    ApiError::wrong_method()
}

/// Gives axum's plain-text 413 the shape that clients parse.
async fn name_body_limit(
    State(state): State<Arc<ServerState>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::too_large(state.options.max_body_bytes).into_response();
    }
    response
}

#[cfg(test)]
mod tests;
