//! `cargo xtask hostile`: many broken model files, made and read one after the other.

use crate::step::{self, Result, cargo};

const DEFAULT_FILES: u64 = 1_000_000;

/// Reads as many mutated files as asked, printing progress; a panic names its seed.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let n_files = match args.first() {
        Some(text) => text
            .parse()
            .map_err(|_| format!("{text:?} is not a number of files"))?,
        None => DEFAULT_FILES,
    };
    let mut test = cargo(&[
        "test",
        "--release",
        "--package",
        "perigee-arch",
        "--test",
        "hostile",
        "--",
        "--ignored",
        "--nocapture",
    ]);
    test.env("PERIGEE_MUTATIONS", n_files.to_string());
    step::run(&format!("reading {n_files} broken files"), &mut test)
}
