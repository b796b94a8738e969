//! The `perigee` program: reads settings, wires the rooms together, owns start-up and shutdown.
//!
//! What the user typed is in `args`, what the program needs after all decisions in
//! `settings`; `startup` turns a path into a loaded model; `commands/` has one file
//! per subcommand. Everything below this crate takes finished values.

#![forbid(unsafe_code)]

mod args;
mod commands;
mod flags;
mod progress;
#[cfg(feature = "scripted")]
mod scripted;
mod settings;
mod startup;
mod units;

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
        // Who reads the output has seen enough: `perigee … | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The error with its causes, each said once: a backtrace helps nobody who mistyped a path.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}
