//! The `perigee` program: reads settings, wires the rooms together, owns start-up and shutdown.
//!
//! What the user typed is in `args`, what the program needs after all decisions in
//! `settings`; `startup` turns a path into a loaded model; `commands/` has one file
//! per subcommand. Everything below this crate takes finished values.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command-line program prints its results"
)]

mod args;
mod commands;
mod flags;
mod progress;
#[cfg(feature = "scripted")]
mod scripted;
mod settings;
mod startup;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let typed = flags::translate(std::env::args_os());
    for notice in &typed.notices {
        eprintln!("perigee: {notice}");
    }
    let args = args::Args::parse_from(typed.args);
    match commands::dispatch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, causes joined: a backtrace helps nobody who mistyped a path.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
