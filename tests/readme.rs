//! What the README says is there.

use std::fs;

use crate::program::{Server, output, root};

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
            let status = super::http::block_on(async {
                reqwest::get(url).await.expect("an answer").status()
            });
            assert_ne!(status, 404, "{path} is in the README and not served");
            seen += 1;
        }
    }
    assert!(seen >= 7, "only {seen} endpoints found");
}
