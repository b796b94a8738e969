//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.

use std::process::Command;

use crate::step::{self, Result, cargo, root};

const DEFAULT_SECONDS: u64 = 30;

/// Coverage instrumentation without cargo-fuzz or a nightly compiler; see `fuzz/README.md`.
const RUSTFLAGS: &str = "";

/// Runs one target, or all, for some seconds each.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let seconds = args
        .iter()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(DEFAULT_SECONDS);
    let named = args.iter().find(|arg| arg.parse::<u64>().is_err());
    let targets = match named {
        Some(name) => vec![name.clone()],
        None => targets()?,
    };
    for target in targets {
        let mut build = cargo(&[
            "build",
            "--release",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--bin",
            &target,
        ]);
        step::run(
            &format!("building the fuzz target {target}"),
            build.env("RUSTFLAGS", RUSTFLAGS),
        )?;
        let corpus = root().join("fuzz/corpus").join(&target);
        std::fs::create_dir_all(&corpus)
            .map_err(|error| format!("{}: {error}", corpus.display()))?;
        let mut fuzzer = Command::new(root().join("fuzz/target/release").join(&target));
        fuzzer
            .arg(&corpus)
            .arg(root().join("fuzz/seeds").join(&target));
        fuzzer
            .arg(format!("-max_total_time={seconds}"))
            .args(["-rss_limit_mb=2048", "-timeout=10"]);
        step::run(&format!("fuzzing {target} for {seconds} s"), &mut fuzzer)?;
    }
    Ok(())
}

/// Every file in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries =
        std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
