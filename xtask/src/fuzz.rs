//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.

use std::process::Command;

use crate::step::{self, Result, cargo, root};
use crate::system;

const DEFAULT_SECONDS: u64 = 30;

/// Coverage instrumentation without cargo-fuzz or a nightly compiler: the flags that cargo-fuzz
/// gives, except those for sanitizers. One codegen unit per crate and no dropped code keep the
/// counters and the tables that describe them in step.
const RUSTFLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Clink-dead-code -Ccodegen-units=1 --cfg fuzzing";

/// Runs one target, or all, for some seconds each.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !system::provide("g++", "g++") {
        return Err("g++ is needed to build libFuzzer".to_owned());
    }
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
        step::run(
            &format!("building the fuzz target {target}"),
            &mut instrumented("build", &target),
        )?;
        let [corpus, artifacts] =
            ["corpus", "artifacts"].map(|name| format!("fuzz/{name}/{target}/"));
        for folder in [&corpus, &artifacts] {
            std::fs::create_dir_all(root().join(folder))
                .map_err(|error| format!("{folder}: {error}"))?;
        }
        let mut fuzzer = instrumented("run", &target);
        fuzzer
            .args(["--", &corpus, &format!("fuzz/seeds/{target}")])
            .arg(format!("-artifact_prefix={artifacts}"))
            .arg(format!("-max_total_time={seconds}"))
            .args(["-rss_limit_mb=2048", "-timeout=10"]);
        step::run(&format!("fuzzing {target} for {seconds} s"), &mut fuzzer)?;
    }
    Ok(())
}

/// `cargo build` or `cargo run` of one target. Naming the platform keeps the flags away from
/// build scripts and procedural macros, which are not linked with libFuzzer.
fn instrumented(subcommand: &str, target: &str) -> Command {
    let mut command = cargo(&[
        subcommand,
        "--quiet",
        "--release",
        "--target=host-tuple",
        "--manifest-path=fuzz/Cargo.toml",
        "--bin",
        target,
    ]);
    command.env("RUSTFLAGS", RUSTFLAGS);
    command
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
