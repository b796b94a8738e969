//! Writes the demonstration model: `cargo run -p perigee-testkit --example demo_model [-- PATH]`.

use std::path::PathBuf;
use std::process::ExitCode;

/// Where `crates/demo` embeds it from.
const EMBEDDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/demo.gguf");

fn main() -> ExitCode {
    let path = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| EMBEDDED.into());
    let path = PathBuf::from(path);
    match perigee_testkit::demo_gguf().write_to(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
