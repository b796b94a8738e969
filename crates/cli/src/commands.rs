//! One file per subcommand.

mod bench;
mod chat;
mod convert;
mod imatrix;
mod inspect;
mod perplexity;
mod quantize;
mod run;
pub(crate) mod serve;
mod tokenize;
mod turn;

use std::io::IsTerminal as _;

use anyhow::Result;

use crate::args::{Args, Command};

/// Runs what was asked for.
pub(crate) fn dispatch(args: Args) -> Result<()> {
    start_log(matches!(args.command, Command::Serve(_)));
    match args.command {
        Command::Serve(args) => serve::run(*args),
        Command::Chat(args) => chat::run(*args),
        Command::Run(args) => run::run(*args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Tokenize(args) => tokenize::run(&args),
        Command::Perplexity(args) => perplexity::run(args),
        Command::Bench(args) => bench::run(*args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Imatrix(args) => imatrix::run(*args),
        Command::Convert(args) => convert::run(&args),
    }
}

/// Log lines go to standard error; `PERIGEE_LOG` filters them (`debug`, `perigee_engine=trace`).
fn start_log(verbose: bool) {
    let default = if verbose { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("PERIGEE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
