//! `cargo xtask loom`: every interleaving of small worker teams.

use std::process::Command;

use crate::step::{self, Result, cargo};

/// Runs the models.
pub(crate) fn run() -> Result<()> {
    step::run("checking the models of the worker team", &mut models())
}

/// The test command. The models have a build of their own, in which the primitives of threads
/// are those of the model checker.
pub(crate) fn models() -> Command {
    let mut command = cargo(&[
        "test",
        "--target-dir=target/loom",
        "--package=perigee-topology",
        "--lib",
        "models::",
    ]);
    command.env("RUSTFLAGS", "--cfg loom");
    command
}
