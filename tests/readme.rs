//! What the README says is there.

use std::fs;

use serde_json::Value;

use crate::http::{block_on, post};
use crate::program::{Server, output, root};

/// Set to write the answers into the README instead of comparing them.
const WRITE: &str = "PERIGEE_WRITE_README";

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("the README is there")
}

/// Code spans of the lines of tables.
fn table_spans(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        row.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_option_in_its_tables_is_explained_by_help() {
    let mut help = String::new();
    for command in [
        "serve",
        "chat",
        "run",
        "inspect",
        "tokenize",
        "perplexity",
        "bench",
        "quantize",
        "imatrix",
        "convert",
    ] {
        let output = output(&[command, "--help"]);
        assert!(output.status.success(), "perigee {command} --help");
        help += &String::from_utf8_lossy(&output.stdout);
    }
    let mut seen = 0;
    for span in table_spans(&readme()) {
        let words = span.split([' ', ',', '\\', '|']);
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            assert!(
                help.contains(option),
                "{option} is in the README and not in --help"
            );
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} options found");
}

#[test]
fn every_endpoint_in_its_tables_is_served() {
    let server = Server::start(&["--demo"]);
    let mut seen = 0;
    let readme = readme();
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| `POST ") || line.starts_with("| `GET "));
    for span in table_spans(&rows.collect::<Vec<_>>().join("\n")) {
        let words = span.trim_start_matches("POST ").trim_start_matches("GET ");
        for path in words
            .split([',', ' '])
            .filter(|word| word.starts_with('/') && word.len() > 1)
        {
            let path = path.replace("{id}", "perigee-demo");
            let url = format!("{}{path}", server.url);
            let status = block_on(async { reqwest::get(url).await.expect("an answer").status() });
            assert_ne!(status, 404, "{path} is in the README and not served");
            seen += 1;
        }
    }
    assert!(seen >= 7, "only {seen} endpoints found");
}

/// Requests to the demonstration model, `curl … -d 'BODY' | jq '.choices[0].message'`, and after each
/// the message as jq prints it.
#[test]
fn answers_of_the_demonstration_model_are_its_own() {
    const REQUEST: &str = "/v1/chat/completions -d '";
    const SHOWN: &str = "' | jq '.choices[0].message'\n```\n\n```json\n";
    let server = Server::start(&["--demo"]);
    let old = readme();
    let (mut new, mut rest, mut seen) = (String::new(), old.as_str(), 0);
    while let Some((before, after)) = rest.split_once(SHOWN) {
        let (_, body) = before.rsplit_once(REQUEST).expect("a request");
        let body: Value = serde_json::from_str(body).expect("the body is JSON");
        let (status, answer) = block_on(post(&server, "/v1/chat/completions", &body));
        assert_eq!(status, 200, "{answer}");
        let message = serde_json::to_string_pretty(&answer["choices"][0]["message"]).unwrap();
        let end = after.find("\n```").expect("the end of the block");
        for text in [before, SHOWN, &message] {
            new.push_str(text);
        }
        rest = &after[end..];
        seen += 1;
    }
    new.push_str(rest);
    assert!(seen >= 3, "only {seen} requests found");
    if std::env::var_os(WRITE).is_some() {
        fs::write(root().join("README.md"), new).unwrap();
    } else {
        assert!(old == new, "stale answers: run with {WRITE}=1\n{new}");
    }
}
