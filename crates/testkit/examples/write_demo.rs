//! Writes the demonstration model: `cargo run -p perigee-testkit --example write_demo -- PATH`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: write_demo PATH");
        return ExitCode::FAILURE;
    };
    match perigee_testkit::demo_gguf().write_to(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
