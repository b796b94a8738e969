//! Errors: status, shape, and what they name.

use serde_json::{Value, json};

use super::{ask, block_on, post, scripted};

fn check(error: &Value, status: u16, expected_status: u16, kind: &str, param: Value) {
    assert_eq!(status, expected_status, "{error}");
    assert_eq!(error["error"]["type"], kind, "{error}");
    assert_eq!(error["error"]["param"], param, "{error}");
    assert!(
        error["error"]["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{error}"
    );
}

#[test]
fn a_bad_request_names_the_field() {
    let server = scripted(&[]);
    let cases = [
        (json!({"messages": "hi"}), "messages"),
        (json!({"messages": []}), "messages"),
        (
            json!({"messages": [{"role": "robot", "content": "hi"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": 7}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}),
            "messages[0].content[0].type",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "temperature": -1}),
            "temperature",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "n": 99}),
            "n",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "top_logprobs": 21}),
            "top_logprobs",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "logit_bias": {"x": 1}}),
            "logit_bias",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]}),
            "tools[0].function.name",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            "tool_choice",
        ),
    ];
    for (request, param) in cases {
        let (status, body) = block_on(post(&server, "/v1/chat/completions", &request));
        check(&body, status, 400, "invalid_request_error", json!(param));
    }
}

#[test]
fn what_this_build_does_not_do_is_501() {
    let server = scripted(&[]);
    let mut request = ask("x");
    request["response_format"] = json!({"type": "json_object"});
    let (status, body) = block_on(post(&server, "/v1/chat/completions", &request));
    check(
        &body,
        status,
        501,
        "not_supported_error",
        json!("response_format"),
    );
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]);
    let (status, body) = block_on(post(
        &server,
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": image}]}),
    ));
    check(
        &body,
        status,
        501,
        "not_supported_error",
        json!("messages[0].content[0]"),
    );
}

#[test]
fn a_prompt_beyond_the_context_says_so_in_words_that_agents_match() {
    let server = scripted(&["--ctx-size", "256"]);
    let (status, body) = block_on(post(
        &server,
        "/v1/chat/completions",
        &ask(&"word ".repeat(2_000)),
    ));
    check(
        &body,
        status,
        400,
        "exceed_context_size_error",
        json!("messages"),
    );
    assert_eq!(body["error"]["code"], "context_length_exceeded");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("maximum context length is 256 tokens"),
        "{body}"
    );
}

#[test]
fn keys_are_demanded_where_they_are_set() {
    let server = scripted(&["--api-key", "secret"]);
    block_on(async {
        let client = reqwest::Client::new();
        let url = format!("{}/v1/chat/completions", server.url);
        let none = client
            .post(&url)
            .json(&ask("Say hello"))
            .send()
            .await
            .unwrap();
        assert_eq!(none.status(), 401);
        let body: Value = none.json().await.unwrap();
        assert_eq!(body["error"]["code"], "invalid_api_key");
        for (name, value) in [("authorization", "Bearer secret"), ("x-api-key", "secret")] {
            let ok = client
                .post(&url)
                .header(name, value)
                .json(&ask("Say hello"))
                .send()
                .await
                .unwrap();
            assert_eq!(ok.status(), 200, "{name}");
        }
        let wrong = client
            .post(&url)
            .bearer_auth("Secret")
            .json(&ask("Say hello"))
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401);
        for path in ["/health", "/v1/models", "/"] {
            let open = client
                .get(format!("{}{path}", server.url))
                .send()
                .await
                .unwrap();
            assert_eq!(open.status(), 200, "{path}");
        }
    });
}

#[test]
fn unknown_paths_methods_and_large_bodies_have_the_same_shape() {
    let server = scripted(&["--max-body-mib", "1"]);
    block_on(async {
        let client = reqwest::Client::new();
        let missing = client
            .get(format!("{}/v1/nothing", server.url))
            .send()
            .await
            .unwrap();
        assert_eq!(missing.status(), 404);
        let body: Value = missing.json().await.unwrap();
        assert_eq!(body["error"]["type"], "not_found_error");
        let method = client
            .get(format!("{}/v1/chat/completions", server.url))
            .send()
            .await
            .unwrap();
        assert_eq!(method.status(), 405);
        let body: Value = method.json().await.unwrap();
        assert_eq!(body["error"]["type"], "invalid_request_error");
    });
    let (status, body) = block_on(post(
        &server,
        "/v1/chat/completions",
        &ask(&"x".repeat(2 << 20)),
    ));
    assert_eq!(status, 413, "{body}");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("--max-body-mib"),
        "{body}"
    );
}

#[test]
fn careless_spellings_are_accepted() {
    let server = scripted(&[]);
    let mut request = ask("Say hello");
    request["temperature"] = json!("0.5");
    request["max_tokens"] = json!("100");
    request["tools"] = Value::Null;
    request["tool_choice"] = json!("");
    request["stop"] = Value::Null;
    request["unknown_field"] = json!({"anything": [1, 2]});
    for path in [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/chat/completions/",
    ] {
        let (status, body) = block_on(post(&server, path, &request));
        assert_eq!(status, 200, "{path}: {body}");
    }
}
