//! `cargo xtask demo`: from a checkout to a server that answers.

use std::process::Command;

use crate::step::{self, Result, cargo, exists, root};
use crate::system;

/// Builds the server and serves the embedded model until interrupted.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !exists("cc") {
        system::install("gcc", "a C linker is missing");
    }
    step::run(
        "building perigee (a few minutes the first time)",
        &mut cargo(&["build", "--release", "--package", "perigee-cli"]),
    )?;
    let mut serve = Command::new(root().join("target/release/perigee"));
    serve.args(["serve", "--demo"]).args(args);
    step::run(
        "serving the demonstration model; stop it with Ctrl-C",
        &mut serve,
    )
}
