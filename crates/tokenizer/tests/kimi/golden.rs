//! Agreement with Python's tiktoken on 8 MB of text of every kind.
//!
//! `testdata/golden.txt` was written by `testdata/make_golden.py` with tiktoken 0.14.0.

use std::fmt::Write as _;

use perigee_tokenizer::TokenId;

use crate::corpus::{N_CHUNKS, chunk, extremes, read_seeds};
use crate::vocabulary::kimi;

const GOLDEN: &str = include_str!("../../testdata/golden.txt");

/// FNV-1a with whole values instead of bytes.
fn fnv(values: impl IntoIterator<Item = u64>) -> u64 {
    values
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, value| {
            (hash ^ value).wrapping_mul(0x100_0000_01b3)
        })
}

fn describe_text(text: &str) -> String {
    format!("{} {:016x}", text.len(), fnv(text.bytes().map(u64::from)))
}

fn describe_ids(ids: &[TokenId]) -> String {
    format!(
        "{} {:016x}",
        ids.len(),
        fnv(ids.iter().map(|id| u64::from(id.0)))
    )
}

#[test]
fn ids_are_those_of_tiktoken_on_every_chunk() {
    let sections = read_seeds();
    let chunks = (0..N_CHUNKS)
        .map(|index| chunk(index, &sections))
        .chain(extremes());
    let mut n_bytes = 0;
    let mut n_lines = 0;
    let mut differing = String::new();
    for ((index, text), line) in chunks.enumerate().zip(GOLDEN.lines()) {
        let (expected_text, expected_ids) =
            line.split_at(line.match_indices(' ').nth(1).unwrap().0);
        assert_eq!(
            describe_text(&text),
            expected_text,
            "the generators differ at chunk {index}"
        );
        let ids = kimi().encode_text(&text);
        let found = describe_ids(&ids);
        if found != expected_ids.trim_start() {
            writeln!(differing, "chunk {index}: {found}, expected{expected_ids}").unwrap();
        }
        assert!(
            kimi().decode(&ids) == text,
            "chunk {index} does not decode to itself"
        );
        n_bytes += text.len();
        n_lines += 1;
    }
    assert_eq!(differing, "");
    assert_eq!(n_lines, GOLDEN.lines().count());
    assert!(n_bytes > 8_000_000, "{n_bytes} bytes");
}
