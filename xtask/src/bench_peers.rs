//! `cargo xtask bench-peers`: our speed beside that of other engines, on this machine.

use std::process::Command;

use crate::step::{self, Result, cargo, root};
use crate::{system, venv};

/// Builds perigee, provides the Python environment, and measures as `benches/README.md` tells.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !system::provide("g++", "g++") {
        return Err("g++ is needed to build the peers for this machine".to_owned());
    }
    let folder = root().join("benches/peers");
    let list = folder.join("requirements.txt");
    let pinned =
        std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let packages: Vec<&str> = pinned
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let python = venv::provide("bench-peers", &packages)?;
    step::run(
        "building perigee",
        &mut cargo(&["build", "--release", "--package", "perigee-cli"]),
    )?;
    let mut command = Command::new(python);
    command.arg(folder.join("run.py")).args(args);
    step::run("measuring", &mut command)
}
