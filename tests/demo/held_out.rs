//! The held-out requests, scored as `crates/demo/train/evaluate.py` does.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::kit;
use crate::http::{block_on, post};
use crate::program::Server;

/// Requests at a time: as many as the server takes at once.
const AT_ONCE: usize = 4;

#[test]
fn as_many_held_out_requests_are_answered_as_published() {
    let text = fs::read_to_string(kit("heldout.jsonl")).unwrap();
    let requests: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let published = fs::read_to_string(kit("published.json")).unwrap();
    let published: BTreeMap<String, usize> = serde_json::from_str(&published).unwrap();

    let server = Arc::new(Server::start(&["--demo", "--deterministic"]));
    let mut scores: BTreeMap<String, usize> = BTreeMap::new();
    for (category, is_right) in block_on(score(&server, requests)) {
        *scores.entry(category).or_default() += usize::from(is_right);
    }
    // The arithmetic is the same everywhere, and so are the answers.
    assert_eq!(scores, published, "right answers of each category");
}

/// Category of each request, and whether its answer is the expected one.
async fn score(server: &Arc<Server>, requests: Vec<Value>) -> Vec<(String, bool)> {
    let mut requests = requests.into_iter();
    let mut running = JoinSet::new();
    let mut scored = Vec::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(request) = requests.next()
        {
            let server = Arc::clone(server);
            running.spawn(async move {
                let category = request["category"].as_str().unwrap().to_owned();
                let is_right = is_right(&server, &request).await;
                (category, is_right)
            });
        }
        match running.join_next().await {
            Some(result) => scored.push(result.unwrap()),
            None => return scored,
        }
    }
}

/// Whether the answer is exactly the expected text, or exactly the expected calls without text.
async fn is_right(server: &Server, request: &Value) -> bool {
    // Arguments of earlier calls are objects here; the server writes them as the model does.
    let mut body = json!({
        "messages": request["messages"],
        "temperature": 0,
        "max_tokens": 200,
        "chat_template_kwargs": {"thinking": request["thinking"]},
    });
    if request["tools"]
        .as_array()
        .is_some_and(|tools| !tools.is_empty())
    {
        body["tools"] = request["tools"].clone();
    }
    let (status, answer) = post(server, "/v1/chat/completions", &body).await;
    assert_eq!(status, 200, "{answer}");
    let message = &answer["choices"][0]["message"];
    let content = message["content"].as_str().unwrap_or_default().trim();
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let calls: Vec<Value> = calls.map(|call| plain_call(&call["function"])).collect();
    match request["expected"]["calls"].as_array() {
        Some(expected) => content.is_empty() && calls == *expected,
        None => calls.is_empty() && request["expected"]["content"] == content,
    }
}

/// A call with its arguments as an object; broken ones stay text.
fn plain_call(function: &Value) -> Value {
    let arguments = function["arguments"].as_str().unwrap_or_default();
    let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments));
    json!({"name": function["name"], "arguments": arguments})
}
