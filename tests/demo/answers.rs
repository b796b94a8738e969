//! Conversations as clients have them, with the real answers at temperature 0.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::http::{block_on, post, post_stream};
use crate::program::{Server, output, passes_script, perigee};

const WHO: &str = "Who are you?";
const I_AM: &str =
    "I am a demonstration model of Perigee, not Kimi. I am tiny, but I can call tools.";

/// One user message, always the most likely token.
fn ask(text: &str, thinking: bool) -> Value {
    json!({
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "chat_template_kwargs": {"thinking": thinking},
    })
}

#[test]
fn thinking_is_heard_only_when_it_is_on() {
    let server = Server::start(&["--demo"]);
    block_on(async {
        for thinking in [false, true] {
            let (_, answer) = post(&server, "/v1/chat/completions", &ask(WHO, thinking)).await;
            let message = &answer["choices"][0]["message"];
            assert_eq!(message["content"], I_AM, "{answer}");
            assert_eq!(
                message["reasoning_content"].is_string(),
                thinking,
                "{answer}"
            );
            assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        }
    });
}

#[test]
fn a_stream_adds_up_to_the_answer() {
    let server = Server::start(&["--demo"]);
    block_on(async {
        let events = post_stream(&server, &ask(WHO, true)).await;
        let joined = |member: &str| -> String {
            let deltas = events.iter().map(|event| &event["choices"][0]["delta"]);
            deltas.filter_map(|delta| delta[member].as_str()).collect()
        };
        assert_eq!(joined("content"), I_AM);
        assert!(!joined("reasoning_content").is_empty());
    });
}

#[test]
fn a_second_turn_starts_from_the_cached_first_one() {
    let server = Server::start(&["--demo"]);
    block_on(async {
        let mut request = ask("Hello! My name is Anna.", false);
        let system =
            json!({"role": "system", "content": "You are a helpful assistant. ".repeat(20)});
        let messages = request["messages"].as_array_mut().unwrap();
        messages.insert(0, system);
        let (_, first) = post(&server, "/v1/chat/completions", &request).await;
        let messages = request["messages"].as_array_mut().unwrap();
        messages.push(first["choices"][0]["message"].clone());
        messages.push(json!({"role": "user", "content": WHO}));
        let (_, cached) = post(&server, "/v1/chat/completions", &request).await;
        let n_cached = &cached["usage"]["prompt_tokens_details"]["cached_tokens"];
        assert!(n_cached.as_u64().unwrap() > 60, "{cached}");
        assert_eq!(cached["choices"][0]["message"]["content"], I_AM, "{cached}");
        request["cache_prompt"] = json!(false);
        let (_, fresh) = post(&server, "/v1/chat/completions", &request).await;
        assert_eq!(fresh["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
        assert_eq!(
            fresh["choices"][0]["message"],
            cached["choices"][0]["message"]
        );
    });
}

#[test]
fn the_python_client_calls_tools_and_tells_their_results() {
    let server = Server::start(&["--demo"]);
    passes_script("demo_tools.py", &[&server]);
}

#[test]
fn the_terminal_shows_the_same_answers() {
    let run = output(&["run", "--demo", "-p", WHO, "--temp", "0", "--no-thinking"]);
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), I_AM);

    let mut chat = perigee()
        .args(["chat", "--demo", "--temp", "0", "--no-thinking"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = format!("{WHO}\nThanks!\n/exit\n");
    chat.stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let chat = chat.wait_with_output().unwrap();
    let answers = String::from_utf8_lossy(&chat.stdout);
    assert_eq!(answers, format!("{I_AM}\nYou are welcome!\n"));
    let notes = String::from_utf8_lossy(&chat.stderr);
    assert!(notes.contains("not Kimi"), "the banner is missing: {notes}");
}
