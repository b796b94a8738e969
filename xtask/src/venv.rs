//! Python environments under `target/`, for clients and peers that only exist there.

use std::path::PathBuf;
use std::process::Command;

use crate::step::{self, Result};
use crate::system;

/// Makes `target/venv-NAME` with the given packages and returns its interpreter.
pub(crate) fn provide(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = step::root().join("target").join(format!("venv-{name}"));
    let python = folder.join("bin").join("python");
    let stamp = folder.join("packages.txt");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    if !system::provide("python3", "python3") {
        return Err("python3 is missing".to_owned());
    }
    let make = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv"]).arg(&folder);
        command
    };
    if step::run("making a Python environment", &mut make()).is_err() {
        system::install("python3-venv", "python3 has no venv module");
        step::run("making a Python environment again", &mut make())?;
    }
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ])
    .args(packages);
    step::run(&format!("installing {}", packages.join(" ")), &mut pip)?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}
