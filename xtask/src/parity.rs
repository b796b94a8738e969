//! `cargo xtask parity`: our logits beside those of two other engines and of f64 arithmetic.

use std::process::Command;

use crate::step::{self, Result, cargo, root};
use crate::{system, venv};

/// Engines and what the comparison needs, pinned: their numbers are part of the result.
/// llama.cpp is two of them: the engine, and declarations of the same week that describe it.
const PEERS: &[&str] = &[
    "ik_llama_cpp_python==0.1.5",
    "xllamacpp==2026.10.11549",
    "llama-cpp-py-sync==0.11548",
    "numpy==2.4.6",
    "gguf==0.19.0",
];

/// Installs the peers, builds our side, and prints the table of `tests/parity`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !system::provide("g++", "g++") {
        return Err("g++ is needed to build the dumper against the peers' libraries".to_owned());
    }
    let python = venv::provide("peers", PEERS)?;
    step::run(
        "building perigee and the model maker",
        &mut cargo(&["build", "--package", "perigee-cli"]),
    )?;
    step::run(
        "building the examples of testkit",
        &mut cargo(&["build", "--package", "perigee-testkit", "--examples"]),
    )?;
    let mut command = Command::new(python);
    command.arg(root().join("tests/parity/run.py")).args(args);
    step::run("comparing", &mut command)
}
