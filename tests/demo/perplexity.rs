//! Perplexity of held-out text, type by type, beside that of ik_llama.cpp on the same files.

use std::collections::BTreeMap;
use std::fs;

use super::kit;
use crate::program::{output, root};

/// As `tests/parity/demo_perplexity.py` scores.
const CHUNKS: [&str; 4] = ["-c", "512", "--chunks", "15"];
/// Types of about as many bits, finest first. Within a row, and of single types of two rows, the order
/// depends on the text.
const CLASSES: [&[&str]; 4] = [
    &["Q8_0", "Q6_K", "Q5_K"],
    &["Q4_K", "IQ4_K", "IQ4_KS", "Q4_0"],
    &["Q3_K", "IQ3_K"],
    &["Q2_K", "IQ2_K", "IQ2_KS"],
];

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
    let mut mean_so_far = 0.0;
    for class in CLASSES {
        let mut scores = Vec::new();
        for kind in class {
            let model = folder.path().join(format!("{kind}.gguf"));
            let model = model.to_str().unwrap();
            let args = ["quantize", source.to_str().unwrap(), model, kind];
            let written = output(&[&args[..], &["--allow-requantize"]].concat());
            let errors = String::from_utf8_lossy(&written.stderr);
            assert!(written.status.success(), "{errors}");
            let exact = score(model, ["--activations", "f32"]);
            let rounded = score(model, ["--load", "pack"]);
            let theirs = of_ik[kind];
            println!("{kind}: {exact} exact, {rounded} rounded, ik_llama.cpp {theirs}");
            for ours in [exact, rounded] {
                assert!(is_equal(ours, theirs), "{kind}: {ours}, ik's {theirs}");
            }
            scores.push(rounded);
        }
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        assert!(
            mean > mean_so_far,
            "{class:?}: {scores:?} after {mean_so_far}"
        );
        mean_so_far = mean;
    }
    let source = source.to_str().unwrap();
    let [shipped, mapped] = ["pack", "map"].map(|load| score(source, ["--load", load]));
    // One arithmetic, wherever weights stay.
    assert_eq!(shipped, mapped);
    // Written again at 8 bits it loses nothing that matters.
    assert!((shipped / of_ik["Q8_0"] - 1.0).abs() <= 1e-2, "{shipped}");
}

/// Within half a percent.
fn is_equal(score: f64, other: f64) -> bool {
    (score / other - 1.0).abs() <= 5e-3
}

/// The perplexity that the program prints.
fn score(model: &str, options: [&str; 2]) -> f64 {
    let text = kit("heldout.txt");
    let args = ["perplexity", "-m", model, "-f", text.to_str().unwrap()];
    let scored = output(&[&args[..], &CHUNKS, &options].concat());
    let text = String::from_utf8_lossy(&scored.stdout).into_owned();
    let (_, rest) = text.split_once("PPL = ").expect("a score");
    rest.split(' ').next().unwrap().parse().unwrap()
}
