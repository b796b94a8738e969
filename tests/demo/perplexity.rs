//! Perplexity of held-out text, type by type, beside that of ik_llama.cpp on the same files.

use std::collections::BTreeMap;
use std::fs;

use super::kit;
use crate::program::{output, root};

/// As `tests/parity/demo_perplexity.py` scores.
const CHUNKS: [&str; 4] = ["-c", "512", "--chunks", "15"];
/// Types of about as many bits, finest first. Within a row the order depends on the text.
const CLASSES: [&[&str]; 4] = [
    &["Q8_0", "Q6_K", "Q5_K"],
    &["Q4_K", "IQ4_K", "IQ4_KS", "Q4_0"],
    &["Q3_K", "IQ3_K"],
    &["Q2_K", "IQ2_K", "IQ2_KS"],
];
/// What types of a row may be better than the row before by chance.
const CHANCE: f64 = 1.005;

#[test]
fn fewer_bits_are_worse_and_every_type_scores_as_with_ik_llama_cpp() {
    let table = fs::read_to_string(root().join("tests/fixtures/demo_perplexity.tsv")).unwrap();
    let of_ik: BTreeMap<&str, f64> = table
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(kind, score)| (kind, score.parse().unwrap()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let source = root().join("crates/demo/demo.gguf");
    let mut best_so_far = 0.0;
    for class in CLASSES {
        let mut scores = Vec::new();
        for kind in class {
            let model = folder.path().join(format!("{kind}.gguf"));
            let model = model.to_str().unwrap();
            let args = ["quantize", source.to_str().unwrap(), model, kind];
            let written = output(&[&args[..], &["--allow-requantize"]].concat());
            let errors = String::from_utf8_lossy(&written.stderr);
            assert!(written.status.success(), "{errors}");
            let score = score(model);
            println!("{kind}: {score}, ik_llama.cpp {}", of_ik[kind]);
            let ratio = score / of_ik[kind];
            assert!(
                (ratio - 1.0).abs() <= bound(kind),
                "{kind}: {ratio} of ik's"
            );
            scores.push(score);
        }
        let best = scores.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(
            best * CHANCE > best_so_far,
            "{class:?}: {scores:?} after {best_so_far}"
        );
        best_so_far = best;
    }
    let shipped = score(source.to_str().unwrap());
    // Written again at 8 bits it loses nothing that matters.
    assert!((shipped / of_ik["Q8_0"] - 1.0).abs() <= 1e-2, "{shipped}");
}

/// What the rounding of activations, different in both programs, may change.
fn bound(kind: &str) -> f64 {
    // Minima make small differences of large numbers.
    if kind == "Q2_K" { 7e-3 } else { 5e-3 }
}

/// The perplexity that the program prints.
fn score(model: &str) -> f64 {
    let text = kit("heldout.txt");
    let args = ["perplexity", "-m", model, "-f", text.to_str().unwrap()];
    let scored = output(&[&args[..], &CHUNKS].concat());
    let text = String::from_utf8_lossy(&scored.stdout).into_owned();
    let (_, rest) = text.split_once("PPL = ").expect("a score");
    rest.split(' ').next().unwrap().parse().unwrap()
}
