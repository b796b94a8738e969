//! One harness for the tests that need more than one crate, or the program itself.

#![expect(clippy::print_stdout, reason = "a test that lacks its tool says so")]

mod command_line;
mod demo;
mod determinism;
mod http;
mod layering;
mod model_files;
mod parity_goldens;
mod program;
mod readme;
mod synthetic_models;
mod tidy;
