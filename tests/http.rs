//! The server over loopback, with the scripted model: what it says does not depend on weights.

mod clients;
mod errors;
mod openai;
mod page;
mod wire;

use serde_json::{Value, json};

use crate::program::{Server, root};

/// What the model of these tests says.
fn script() -> String {
    let path = root().join("tests/fixtures/script.json");
    path.to_str().expect("the path is UTF-8").to_owned()
}

/// A server whose model follows `fixtures/script.json`.
fn scripted(args: &[&str]) -> Server {
    Server::start(&[&["--scripted", &script()], args].concat())
}

/// One tool, as a client declares it.
fn weather_tool() -> Value {
    json!({"type": "function", "function": {
        "name": "get_weather",
        "description": "Current weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }})
}

/// A request with one user message.
fn ask(text: &str) -> Value {
    json!({"model": "scripted", "messages": [{"role": "user", "content": text}]})
}

/// Runs a future on a small runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Posts JSON, returns status and JSON.
pub(crate) async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let response = reqwest::Client::new()
        .post(format!("{}{path}", server.url))
        .json(body)
        .send()
        .await
        .expect("the server answers");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// Posts a streaming request, returns the JSON of every event but `[DONE]`, which must come last.
pub(crate) async fn post_stream(server: &Server, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let response = reqwest::Client::new()
        .post(format!("{}/v1/chat/completions", server.url))
        .json(&body)
        .send()
        .await
        .expect("the server answers");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.expect("a body");
    let mut events: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    assert_eq!(events.pop(), Some("[DONE]"), "{text}");
    events
        .into_iter()
        .map(|event| serde_json::from_str(event).expect("events are JSON"))
        .collect()
}
