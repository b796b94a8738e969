//! What a server without a model answers; with one it is tested over loopback.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request as HttpRequest;
use serde_json::{Map, Value};
use tower::ServiceExt as _;

use super::*;
use crate::{SamplingDefaults, ServerOptions};

fn loading() -> Router {
    let state = ServerState::new(ServerOptions {
        aliases: vec!["kimi-k2.6".to_owned()],
        api_keys: Vec::new(),
        max_body_bytes: 1 << 20,
        ping_interval: Duration::from_secs(15),
        cors: false,
        sampling: SamplingDefaults::default(),
        template_kwargs: Map::new(),
    });
    state.set_progress(115, 460);
    router(state)
}

async fn ask(method: &str, path: &str) -> (u16, Option<String>, Value) {
    let request = HttpRequest::builder()
        .method(method)
        .uri(path)
        .body(Body::from("{}"))
        .unwrap();
    let response = loading().oneshot(request).await.unwrap();
    let retry_after = response
        .headers()
        .get("retry-after")
        .map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, retry_after, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn while_it_loads_health_says_how_far_it_has_come() {
    let (status, retry_after, body) = ask("GET", "/health").await;
    assert_eq!((status, retry_after.as_deref()), (503, Some("5")));
    assert_eq!(body["error"]["message"], "Loading model");
    assert_eq!(body["error"]["progress"], 0.25);
}

#[tokio::test]
async fn while_it_loads_completions_are_unavailable_and_models_are_listed() {
    let (status, retry_after, body) = ask("POST", "/v1/chat/completions").await;
    assert_eq!((status, retry_after.is_some()), (503, true));
    assert_eq!(body["error"]["type"], "unavailable_error");
    let (status, _, body) = ask("GET", "/v1/models").await;
    assert_eq!(
        (status, &body["data"][0]["id"]),
        (200, &Value::from("kimi-k2.6"))
    );
}
