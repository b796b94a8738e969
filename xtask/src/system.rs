//! System packages: installed when this user may, named when not.

use std::process::Command;

use crate::step::{self, exists};

/// Makes sure that `program` exists by installing Debian's `package`; says so when it cannot.
/// Returns whether the program is there.
pub(crate) fn provide(program: &str, package: &str) -> bool {
    if exists(program) {
        return true;
    }
    install(package, &format!("{program} is missing"));
    exists(program)
}

/// Tries to install a package, telling why. Failure is reported, not returned: the caller asks
/// for what it needed the package for.
pub(crate) fn install(package: &str, why: &str) {
    let Some(mut apt) = apt() else {
        eprintln!("==> {why}; to mend it: sudo apt-get install {package}");
        return;
    };
    // Package lists of fresh containers are empty.
    let update = apt.arg("update").arg("-qq").output();
    if let Err(error) = update {
        eprintln!("==> {why}; apt-get cannot be run: {error}");
        return;
    }
    let Some(mut apt) = self::apt() else { return };
    let installed = step::run(
        &format!("{why}: installing {package}"),
        apt.args(["install", "-y", "-qq", package]),
    );
    if let Err(error) = installed {
        eprintln!("    going on without it: {error}");
    }
}

/// apt-get as root: directly, or through sudo if that asks for no password.
fn apt() -> Option<Command> {
    if !exists("apt-get") {
        return None;
    }
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    let mut apt = if is_root {
        Command::new("apt-get")
    } else {
        let may = Command::new("sudo")
            .args(["-n", "true"])
            .output()
            .is_ok_and(|output| output.status.success());
        if !may {
            return None;
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    Some(apt)
}
