//! Rules about the text of the project itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::program::root;

/// A room that is longer has a second subject in it.
const MAX_LINES: usize = 700;

/// Names that say nothing.
const FORBIDDEN_FILES: [&str; 10] = [
    "utils", "util", "helpers", "common", "misc", "manager", "handler", "process", "data", "info",
];

#[test]
fn no_file_outgrows_its_subject() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "tests.rs"))
        .filter_map(|path| {
            let lines = fs::read_to_string(&path)
                .expect("sources are UTF-8")
                .lines()
                .count();
            (lines > MAX_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn names_say_something() {
    let vague: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|path| {
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            FORBIDDEN_FILES.contains(&stem)
        })
        .collect();
    assert!(vague.is_empty(), "{vague:#?}");
}

#[test]
fn every_unsafe_block_is_argued_and_lies_where_it_may() {
    const MAY: [&str; 4] = [
        "crates/gguf/src/map.rs",
        "crates/gguf/src/sigbus.rs",
        "crates/topology/",
        "crates/cpu/",
    ];
    let mut wrong = Vec::new();
    for path in sources() {
        let relative = path
            .strip_prefix(root())
            .expect("sources lie in the workspace")
            .to_owned();
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // Spelled in two parts so that this file passes its own test.
            if !code.contains(concat!("unsafe", " {")) && !code.contains(concat!("unsafe", " impl"))
            {
                continue;
            }
            // The allocation counter of tests implements a global allocator.
            let tests = relative
                .components()
                .any(|part| part.as_os_str() == "tests");
            if !tests
                && !MAY
                    .iter()
                    .any(|place| relative.starts_with(place) || relative == Path::new(place))
            {
                wrong.push(format!(
                    "{}:{}: unsafe code in a room without it",
                    relative.display(),
                    i + 1
                ));
            }
            let argued = lines[i.saturating_sub(14)..i]
                .iter()
                .any(|line| line.contains("SAFETY"));
            if !argued {
                wrong.push(format!(
                    "{}:{}: no SAFETY argument",
                    relative.display(),
                    i + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_promised_instead_of_done() {
    // Spelled in two parts so that this file passes its own test.
    let promises = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let mut found = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        for (i, line) in text.lines().enumerate() {
            if promises.iter().any(|promise| line.contains(promise)) {
                found.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_crate_says_what_it_is_for() {
    for entry in fs::read_dir(root().join("crates")).expect("crates/ is there") {
        let source = entry.expect("crates/ can be listed").path().join("src");
        let Some(main) = ["lib.rs", "main.rs"]
            .iter()
            .map(|name| source.join(name))
            .find(|path| path.exists())
        else {
            continue;
        };
        let text = fs::read_to_string(&main).expect("sources are UTF-8");
        assert!(
            text.starts_with("//!"),
            "{} has no opening paragraph",
            main.display()
        );
    }
}

/// Every Rust file of the project.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "xtask", "tests", "fuzz"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} sources found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
