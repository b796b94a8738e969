//! Dependencies point to lower floors only: `cargo metadata` against the plan's table.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which rooms of the project each room may use; development dependencies are free to use `testkit` and `demo`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("quant", &[]),
    ("topology", &[]),
    ("gguf", &["quant"]),
    ("cpu", &["quant", "topology"]),
    ("arch", &["gguf", "quant"]),
    ("tokenizer", &["gguf"]),
    ("placement", &["arch", "gguf", "quant"]),
    ("chat", &["tokenizer"]),
    ("convert", &["arch", "gguf", "quant"]),
    ("quantize", &["gguf", "quant"]),
    ("synthetic", &["arch", "gguf", "quant"]),
    (
        "model",
        &["arch", "cpu", "gguf", "placement", "quant", "topology"],
    ),
    ("engine", &["model", "tokenizer"]),
    ("server", &["chat", "engine", "tokenizer"]),
    (
        "cli",
        &[
            "arch",
            "chat",
            "convert",
            "cpu",
            "demo",
            "engine",
            "gguf",
            "model",
            "placement",
            "quant",
            "quantize",
            "server",
            "synthetic",
            "tokenizer",
            "topology",
        ],
    ),
    ("demo", &[]),
    ("testkit", &["arch", "gguf", "quant", "synthetic"]),
];

/// Beyond the floors below it, what a room's tests may use.
const MAY_TEST_WITH: [&str; 3] = ["testkit", "demo", "gguf"];

#[test]
fn dependencies_point_to_lower_floors_only() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = MAY_USE
        .iter()
        .map(|(room, below)| (*room, below.iter().copied().collect()))
        .collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (room, kind, used) in edges() {
        seen.insert(room.clone());
        let Some(below) = allowed.get(room.as_str()) else {
            wrong.push(format!("crate {room} is not in the table"));
            continue;
        };
        let test_only = kind == "dev" && MAY_TEST_WITH.contains(&used.as_str());
        if !below.contains(used.as_str()) && !test_only {
            wrong.push(format!("{room} → {used} ({kind})"));
        }
    }
    assert!(seen.len() > 8, "found only the crates {seen:?}");
    assert!(
        wrong.is_empty(),
        "edges that the table does not have: {wrong:#?}"
    );
}

/// (room, normal|dev|build, used room) of every edge between rooms.
fn edges() -> Vec<(String, String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(super::program::root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let room = |name: &Value| {
        name.as_str()
            .and_then(|name| name.strip_prefix("perigee-"))
            .map(str::to_owned)
    };
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let Some(from) = room(&package["name"]).filter(|name| name != "tests") else {
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if let Some(to) = room(&dependency["name"]) {
                let kind = dependency["kind"].as_str().unwrap_or("normal").to_owned();
                edges.push((from.clone(), kind, to));
            }
        }
    }
    edges
}
