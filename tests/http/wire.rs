//! The bytes on the wire: order of chunks, members, usage, timings, cancellation.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use super::{ask, block_on, post, post_stream, scripted, weather_tool};
use crate::program::Server;

/// Concatenates a delta member over all chunks.
fn joined(chunks: &[Value], member: &str) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"][member].as_str())
        .collect()
}

#[test]
fn a_text_answer_has_every_member_that_clients_read() {
    let server = scripted(&[]);
    let (status, body) = block_on(post(&server, "/v1/chat/completions", &ask("Say hello")));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "scripted");
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(
        choice["message"]["content"],
        "Hello, world! Grüße, 世界 👩‍💻."
    );
    assert_eq!(choice["message"]["reasoning_content"], "Greet.");
    assert_eq!(choice["logprobs"], Value::Null);
    let usage = &body["usage"];
    let (prompt, completion) = (
        usage["prompt_tokens"].as_u64().unwrap(),
        usage["completion_tokens"].as_u64().unwrap(),
    );
    assert_eq!(usage["total_tokens"], prompt + completion);
    assert!(
        usage["completion_tokens_details"]["reasoning_tokens"]
            .as_u64()
            .unwrap()
            > 0,
        "{usage}"
    );
    assert_eq!(body["timings"]["predicted_n"], completion);
}

#[test]
fn chunks_come_in_the_order_that_clients_expect() {
    let server = scripted(&[]);
    let mut request = ask("Say hello");
    request["stream_options"] = json!({"include_usage": true});
    let chunks = block_on(post_stream(&server, &request));
    assert!(
        chunks.iter().all(|chunk| chunk["choices"].is_array()),
        "{chunks:#?}"
    );
    assert!(
        chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]),
        "one id"
    );
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(joined(&chunks, "reasoning_content"), "Greet.");
    assert_eq!(joined(&chunks, "content"), "Hello, world! Grüße, 世界 👩‍💻.");
    let finish = &chunks[chunks.len() - 2]["choices"][0];
    assert_eq!(
        (&finish["finish_reason"], &finish["delta"]),
        (&json!("stop"), &json!({}))
    );
    let last = &chunks[chunks.len() - 1];
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn a_call_opens_with_id_and_name_and_streams_its_arguments() {
    let server = scripted(&[]);
    let mut request = ask("Weather in Oslo?");
    request["tools"] = json!([weather_tool()]);
    let chunks = block_on(post_stream(&server, &request));
    let calls: Vec<&Value> = chunks
        .iter()
        .flat_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(calls[0]["id"], "functions.get_weather:0");
    assert_eq!(
        calls[0]["function"],
        json!({"name": "get_weather", "arguments": ""})
    );
    let arguments: String = calls[1..]
        .iter()
        .filter_map(|call| call["function"]["arguments"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&arguments).unwrap(),
        json!({"city": "Oslo"})
    );
    assert!(
        calls
            .iter()
            .all(|call| call["function"]["arguments"].as_str().is_some()),
        "{calls:?}"
    );
    assert_eq!(joined(&chunks, "content"), "I'll look.");
    assert_eq!(
        chunks.last().unwrap()["choices"][0]["finish_reason"],
        "tool_calls"
    );
}

#[test]
fn streamed_and_collected_answers_agree_even_on_broken_output() {
    let server = scripted(&[]);
    for text in [
        "Say hello",
        "Weather in Oslo?",
        "Weather in Oslo and Rome?",
        "Break the format",
    ] {
        let mut request = ask(text);
        request["tools"] = json!([weather_tool()]);
        let (_, whole) = block_on(post(&server, "/v1/chat/completions", &request));
        let chunks = block_on(post_stream(&server, &request));
        let message = &whole["choices"][0]["message"];
        assert_eq!(
            joined(&chunks, "content"),
            message["content"].as_str().unwrap_or_default(),
            "{text}"
        );
        assert_eq!(
            joined(&chunks, "reasoning_content"),
            message["reasoning_content"].as_str().unwrap_or_default(),
            "{text}"
        );
        let mut calls: Vec<(String, String)> = Vec::new();
        for call in chunks
            .iter()
            .flat_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
            .flatten()
        {
            match call["function"]["name"].as_str() {
                Some(name) => calls.push((name.to_owned(), String::new())),
                None => {
                    calls.last_mut().unwrap().1 += call["function"]["arguments"].as_str().unwrap()
                }
            }
        }
        let collected: Vec<(String, String)> = message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|call| {
                let text = |member: &str| call["function"][member].as_str().unwrap().to_owned();
                (text("name"), text("arguments"))
            })
            .collect();
        assert_eq!(calls, collected, "{text}");
    }
}

#[test]
fn malformed_calls_still_arrive_as_calls_with_the_servers_numbers() {
    let server = scripted(&[]);
    let mut request = ask("Break the format");
    request["tools"] = json!([weather_tool()]);
    let (_, body) = block_on(post(&server, "/v1/chat/completions", &request));
    let calls = body["choices"][0]["message"]["tool_calls"]
        .as_array()
        .unwrap();
    let ids: Vec<&str> = calls
        .iter()
        .filter_map(|call| call["id"].as_str())
        .collect();
    assert_eq!(ids, ["functions.get_weather:0", "functions.get_weather:1"]);
    for (call, city) in calls.iter().zip(["Oslo", "Rome"]) {
        let arguments: Value =
            serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({"city": city}));
    }
}

#[test]
fn the_next_turn_finds_the_last_one_in_the_cache() {
    let server = scripted(&[]);
    let first = ask("Say hello");
    let (_, body) = block_on(post(&server, "/v1/chat/completions", &first));
    assert_eq!(body["usage"]["cached_tokens"], 0);
    let prompt = body["usage"]["prompt_tokens"].as_u64().unwrap();
    let (_, again) = block_on(post(&server, "/v1/chat/completions", &first));
    // One token is computed anew: its logits are wanted.
    assert_eq!(again["usage"]["cached_tokens"], prompt - 1);
    let mut bypass = first;
    bypass["cache_prompt"] = json!(false);
    let (_, bypassed) = block_on(post(&server, "/v1/chat/completions", &bypass));
    assert_eq!(bypassed["usage"]["cached_tokens"], 0);
}

#[test]
fn stop_strings_end_the_content_and_are_not_part_of_it() {
    let server = scripted(&[]);
    let mut request = ask("Count slowly");
    request["stop"] = json!([" four"]);
    let (_, body) = block_on(post(&server, "/v1/chat/completions", &request));
    assert_eq!(body["choices"][0]["message"]["content"], "one two three");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    // An answer that ends before the engine says so has its counts all the same.
    let prompt = body["usage"]["prompt_tokens"].as_u64().unwrap();
    let (_, again) = block_on(post(&server, "/v1/chat/completions", &request));
    assert_eq!(again["usage"]["cached_tokens"], prompt - 1);
}

#[test]
fn max_tokens_cuts_with_length() {
    let server = scripted(&[]);
    let mut request = ask("Count slowly");
    request["max_tokens"] = json!(5);
    let (_, body) = block_on(post(&server, "/v1/chat/completions", &request));
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["usage"]["completion_tokens"], 5);
}

#[test]
fn a_client_that_leaves_frees_its_sequence_also_during_prefill() {
    let server = scripted(&["--parallel", "1"]);
    for text in [
        "Count slowly".to_owned(),
        format!("Read this slowly {}", "word ".repeat(20_000)),
    ] {
        block_on(async {
            let mut request = ask(&text);
            request["stream"] = json!(true);
            let response = reqwest::Client::new()
                .post(format!("{}/v1/chat/completions", server.url))
                .json(&request)
                .send()
                .await
                .unwrap();
            let mut bytes = response.bytes_stream();
            bytes.next().await.expect("the role chunk").unwrap();
        });
        let started = Instant::now();
        loop {
            let health: Value = block_on(async {
                reqwest::get(format!("{}/health", server.url))
                    .await
                    .unwrap()
                    .json()
                    .await
                    .unwrap()
            });
            if health["requests_processing"] == 0 {
                break;
            }
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "still running: {health}"
            );
        }
    }
}

#[test]
fn logprobs_cover_the_content_tokens() {
    let server = scripted(&[]);
    let mut request = ask("Say hello");
    request["logprobs"] = json!(true);
    request["top_logprobs"] = json!(2);
    let (_, body) = block_on(post(&server, "/v1/chat/completions", &request));
    let entries = body["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    let bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry["bytes"].as_array().unwrap())
        .map(|byte| byte.as_u64().unwrap() as u8)
        .collect();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        "Hello, world! Grüße, 世界 👩‍💻."
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry["top_logprobs"].as_array().unwrap().len() == 2),
        "{entries:?}"
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry["logprob"].as_f64().unwrap() <= 0.0),
        "{entries:?}"
    );
}

#[test]
fn the_tools_of_the_model_can_be_looked_into() {
    let server = scripted(&[]);
    let (_, tokens) = block_on(post(
        &server,
        "/tokenize",
        &json!({"content": "Hello<|im_end|>", "with_pieces": true}),
    ));
    let pieces = tokens["tokens"].as_array().unwrap();
    assert_eq!(pieces.last().unwrap()["piece"], "<|im_end|>");
    let (_, plain) = block_on(post(
        &server,
        "/tokenize",
        &json!({"content": "Hello<|im_end|>", "parse_special": false}),
    ));
    let (_, text) = block_on(post(&server, "/detokenize", &plain));
    assert_eq!(text["content"], "Hello<|im_end|>");
    let (_, prompt) = block_on(post(&server, "/apply-template", &ask("Say hello")));
    assert_eq!(
        prompt["prompt"],
        "<|im_user|>user<|im_middle|>Say hello<|im_end|><|im_assistant|>assistant<|im_middle|><think>"
    );
}

#[test]
fn every_spelling_of_thinking_off_is_understood() {
    let server = scripted(&[]);
    let spellings = [
        json!({"thinking": {"type": "disabled"}}),
        json!({"chat_template_kwargs": {"thinking": false}}),
        json!({"chat_template_kwargs": {"enable_thinking": false}}),
        json!({"enable_thinking": false}),
        json!({"reasoning_effort": "none"}),
        json!({"reasoning": {"effort": "none"}}),
        json!({"think": false}),
    ];
    for spelling in spellings {
        let mut request = ask("Answer at once");
        for (name, value) in spelling.as_object().unwrap() {
            request[name] = value.clone();
        }
        let (_, body) = block_on(post(&server, "/v1/chat/completions", &request));
        let message = &body["choices"][0]["message"];
        assert_eq!(message["content"], "At once.", "{spelling}");
        assert_eq!(message["reasoning_content"], Value::Null, "{spelling}");
    }
}

#[test]
fn a_queue_that_is_full_says_when_to_come_back() {
    let server: Server = scripted(&["--parallel", "1", "--queue", "1"]);
    block_on(async {
        let client = reqwest::Client::new();
        let send = || {
            let mut request = ask("Count slowly");
            request["stream"] = json!(true);
            client
                .post(format!("{}/v1/chat/completions", server.url))
                .json(&request)
                .send()
        };
        let (first, second) = (send().await.unwrap(), send().await.unwrap());
        assert_eq!(
            (first.status().as_u16(), second.status().as_u16()),
            (200, 200)
        );
        let third = send().await.unwrap();
        assert_eq!(third.status().as_u16(), 429);
        assert!(
            third.headers()["retry-after"]
                .to_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                >= 1
        );
        let body: Value = third.json().await.unwrap();
        assert_eq!(body["error"]["code"], "engine_overloaded");
    });
}

#[test]
fn a_server_that_is_told_to_stop_lets_open_answers_finish() {
    let mut server = scripted(&[]);
    let answer = block_on(async {
        let mut request = ask("Count slowly");
        request["stream"] = json!(true);
        let url = format!("{}/v1/chat/completions", server.url);
        let response = reqwest::Client::new()
            .post(url)
            .json(&request)
            .send()
            .await
            .unwrap();
        server.terminate();
        response.text().await.unwrap()
    });
    assert!(answer.trim_end().ends_with("data: [DONE]"), "{answer}");
    assert!(server.wait(), "the exit code is 0");
}

#[test]
fn a_silent_stream_is_kept_open_by_comments_in_prefill_and_in_the_queue() {
    let server = scripted(&["--parallel", "1", "--sse-ping-interval", "1"]);
    let slow = |words: usize| {
        let mut request = ask(&format!("Read this slowly {}", "word ".repeat(words)));
        request["stream"] = json!(true);
        reqwest::Client::new()
            .post(format!("{}/v1/chat/completions", server.url))
            .json(&request)
            .send()
    };
    let (first, second) = block_on(async {
        let (first, second) = (slow(700).await.unwrap(), slow(10).await.unwrap());
        (first.text().await.unwrap(), second.text().await.unwrap())
    });
    for (name, text) in [("in prefill", first), ("in the queue", second)] {
        assert!(
            text.contains("\n: ping\n") || text.contains("\n:ping\n"),
            "{name}: {text}"
        );
        assert!(text.trim_end().ends_with("data: [DONE]"), "{name}: {text}");
    }
}

#[test]
fn progress_is_reported_where_it_is_asked_for() {
    let server = scripted(&[]);
    let mut request = ask(&"word ".repeat(900));
    request["return_progress"] = json!(true);
    let chunks = block_on(post_stream(&server, &request));
    let seen: Vec<u64> = chunks
        .iter()
        .filter_map(|chunk| chunk["prompt_progress"]["processed"].as_u64())
        .collect();
    assert!(
        seen.len() > 2 && seen.windows(2).all(|pair| pair[0] < pair[1]),
        "{seen:?}"
    );
}

#[test]
fn a_context_of_262144_ends_with_length_at_its_last_token() {
    let server = scripted(&["-c", "262144"]);
    let count = |text: &str| {
        let (_, prompt) = block_on(post(&server, "/apply-template", &ask(text)));
        prompt["n_tokens"].as_u64().unwrap() as usize
    };
    let (empty, one) = (count(""), count(&" the".repeat(1000)) - count(""));
    // As many words as leave some twenty tokens for the answer.
    let words = (262_144 - empty - 20) * 1000 / one;
    let (status, body) = block_on(post(
        &server,
        "/v1/chat/completions",
        &ask(&" the".repeat(words)),
    ));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["usage"]["total_tokens"], 262_144);
}
