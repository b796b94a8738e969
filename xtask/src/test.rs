//! `cargo xtask test`: one build, every test, one count.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::step::{self, Result, cargo, root};
use crate::{loom, system, venv};

/// The client that most agents are built on, as a second opinion beside our own, and what drives a
/// browser.
const PYTHON_CLIENTS: &[&str] = &["openai==3.52.0", "playwright==1.65.2"];

/// Programs that show the web page to its test; the first one is Debian's smallest.
const BROWSERS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];

/// The scripted model is part of the test build, so that there is one build graph.
const FEATURES: [&str; 3] = ["--workspace", "--features", "perigee-cli/scripted"];

/// Builds everything once, then runs the tests whose names contain `filter`; without one, the
/// models of `cargo xtask loom` too.
pub(crate) fn run(filter: &[String]) -> Result<()> {
    let started = Instant::now();
    system::provide("curl", "curl");
    let python = venv::provide("clients", PYTHON_CLIENTS);
    if let Err(error) = &python {
        eprintln!("==> tests with Python clients will be skipped: {error}");
    }
    let browser = python.as_ref().ok().and_then(|_| browser());
    if browser.is_none() {
        eprintln!("==> the test of the web page will be skipped: no browser");
    }
    step::run("building the program", cargo(&["build"]).args(FEATURES))?;
    step::run(
        "building the tests",
        cargo(&["test", "--no-run"]).args(FEATURES),
    )?;
    let mut command = cargo(&["test", "--no-fail-fast"]);
    command
        .args(FEATURES)
        .arg("--")
        .args(["--nocapture", "--test-threads=2"])
        .args(filter);
    if let Some(browser) = browser {
        command.env("PERIGEE_TEST_BROWSER", browser);
    }
    if let Ok(python) = &python {
        command.env("PERIGEE_TEST_PYTHON", python);
        if filter.is_empty() {
            step::run(
                "testing the arithmetic of the benchmarks",
                Command::new(python).args(["-m", "unittest", "discover", "benches/peers"]),
            )?;
        }
    }
    let mut counts = run_counting("running the tests", &mut command)?;
    // A filter names tests of the ordinary build.
    if filter.is_empty() {
        let models = run_counting(
            "checking the models of the worker team",
            &mut loom::models(),
        )?;
        counts.passed += models.passed;
        counts.failed += models.failed;
        counts.success &= models.success;
    }
    eprintln!("==> {:.0} s in all", started.elapsed().as_secs_f64());
    println!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    );
    if counts.failed > 0 || !counts.success {
        return Err("there are failures".to_owned());
    }
    Ok(())
}

/// Formatting and lints, with warnings as errors.
pub(crate) fn lint() -> Result<()> {
    step::run(
        "checking the formatting",
        &mut cargo(&["fmt", "--all", "--check"]),
    )?;
    step::run(
        "clippy",
        cargo(&["clippy", "--all-targets"])
            .args(FEATURES)
            .args(["--", "-D", "warnings"]),
    )
}

/// A browser that is there, or the first one if it can be installed.
fn browser() -> Option<&'static str> {
    let found = BROWSERS.into_iter().find(|name| step::exists(name));
    found.or_else(|| system::provide(BROWSERS[0], BROWSERS[0]).then_some(BROWSERS[0]))
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
    success: bool,
}

/// Runs cargo test, passing its output on, and adds up its result lines. A suite that lacks a
/// tool prints a line `skipped: …`.
fn run_counting(what: &str, command: &mut Command) -> Result<Counts> {
    eprintln!("==> {what}");
    let mut child = command
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo test: {error}"))?;
    let output = child.stdout.take().expect("stdout was piped");
    let mut counts = Counts::default();
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| format!("reading the output of cargo test: {error}"))?;
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result: ") {
            counts.passed += number_before(result, " passed");
            counts.failed += number_before(result, " failed");
            counts.skipped += number_before(result, " ignored");
        }
        counts.skipped += usize::from(line.contains("skipped: "));
    }
    counts.success = child.wait().is_ok_and(|status| status.success());
    Ok(counts)
}

/// The number that stands before `word`: 12 in `ok. 12 passed; 0 failed`.
fn number_before(text: &str, word: &str) -> usize {
    text.split(word)
        .next()
        .and_then(|head| head.rsplit(' ').next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_result_line() {
        let line =
            "ok. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(number_before(line, " passed"), 12);
        assert_eq!(number_before(line, " failed"), 3);
        assert_eq!(number_before(line, " ignored"), 1);
    }
}
