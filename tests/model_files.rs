//! Commands that make model files, as a user runs them.

use std::fs;
use std::path::Path;

use perigee_gguf::Gguf;
use perigee_quant::QuantKind;
use perigee_testkit::{Kinds, Synthetic, shapes};
use serde_json::Value;

use crate::program::{error_line, output};

/// A small model in F32, under `folder`.
fn source(folder: &Path) -> String {
    let model = Synthetic::new(shapes::kimi()).kinds(Kinds::uniform(QuantKind::F32));
    let path = folder.join("source.gguf");
    fs::write(&path, model.to_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ok(args: &[&str]) -> String {
    let output = output(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn kinds(path: &str, part: &str) -> Vec<QuantKind> {
    let gguf = Gguf::open(path.as_ref()).unwrap();
    let tensors = gguf.tensors().iter();
    let of_part = tensors.filter(|tensor| tensor.name.contains(part));
    of_part.map(|tensor| tensor.kind).collect()
}

#[test]
fn a_model_is_quantised_by_recipe_rules_and_importances_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let source = source(folder.path());
    let text = path("text.txt");
    fs::write(&text, "The Moon comes closest at its perigee. ".repeat(120)).unwrap();
    let (dat, gguf) = (path("i.dat"), path("i.gguf"));
    let printed = ok(&[
        "imatrix", "-m", &source, "-f", &text, "-o", &dat, "-o", &gguf, "-c", "64", "--chunks", "3",
    ]);
    assert!(printed.contains("from 3 chunks of 64 tokens"), "{printed}");

    let out = path("out.gguf");
    let rules = r"ffn_down_exps\.weight=iq4_k,attn_(q_a|output)=iq5_ks";
    for imatrix in [&dat, &gguf] {
        let printed = ok(&[
            "quantize",
            &source,
            &out,
            "smol-iq2_ks",
            "2",
            "--custom-q",
            rules,
            "--imatrix",
            imatrix,
        ]);
        assert!(printed.contains("bits per weight"), "{printed}");
        for (part, kind) in [
            ("ffn_gate_exps.weight", QuantKind::Iq2Ks),
            ("ffn_down_exps.weight", QuantKind::Iq4K),
            ("attn_q_a.weight", QuantKind::Iq5Ks),
            ("attn_kv_a_mqa.weight", QuantKind::Q8_0),
            ("ffn_gate_inp.weight", QuantKind::F32),
            ("attn_norm.weight", QuantKind::F32),
        ] {
            let found = kinds(&out, part);
            assert!(
                found.iter().all(|&found| found == kind),
                "{part}: {found:?}"
            );
            assert!(!found.is_empty(), "{part}");
        }
    }
    let printed = ok(&[
        "perplexity",
        "-m",
        &out,
        "-f",
        &text,
        "-c",
        "64",
        "--chunks",
        "2",
    ]);
    assert!(printed.contains("PPL = "), "{printed}");
    assert!(!Path::new(&path("out.gguf.part")).exists());
    assert!(!Path::new(&path("out.gguf.resume")).exists());
}

#[test]
fn a_dry_run_tells_sizes_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path());
    let printed = ok(&["quantize", &source, "Q4_K_M", "--dry-run"]);
    assert!(
        printed.contains("Q4_K") && printed.contains("becomes"),
        "{printed}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn quantize_refuses_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let source = source(folder.path());
    let out = path("out.gguf");
    for (args, part) in [
        (vec![source.as_str(), &out, "Q9_Z"], "--list"),
        (vec![source.as_str(), &out, "IQ1_S"], "decoder only"),
        (
            vec![source.as_str(), &source, "Q8_0"],
            "name another output",
        ),
        (vec![source.as_str(), &out], "RECIPE"),
        (
            vec![source.as_str(), &out, "Q8_0", "--custom-q", "exps=nothing"],
            "no type",
        ),
        (
            vec![source.as_str(), &out, "Q8_0", "--imatrix", &source],
            "no tensor is named",
        ),
    ] {
        let mut all = vec!["quantize"];
        all.extend(args);
        let line = error_line(&all);
        assert!(line.contains(part), "{all:?}: {line}");
    }
    ok(&["quantize", &source, &out, "Q4_0"]);
    let line = error_line(&["quantize", &out, &path("again.gguf"), "Q8_0"]);
    assert!(line.contains("--allow-requantize"), "{line}");
    ok(&[
        "quantize",
        &out,
        &path("again.gguf"),
        "Q8_0",
        "--allow-requantize",
    ]);
}

#[test]
fn inspect_answers_in_json_who_can_load_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let source = source(folder.path());
    let out = path("out.gguf");
    ok(&["quantize", &source, &out, "IQ3_K-mix"]);
    let report = |path: &str| -> Value {
        serde_json::from_str(&ok(&["inspect", "--json", "--tensors", path])).unwrap()
    };
    let programs = report(&source)["programs"].clone();
    for name in ["perigee", "ik_llama.cpp", "llama.cpp"] {
        assert_eq!(programs[name]["loads"], true, "{name}: {programs}");
    }
    let report = report(&out);
    assert_eq!(report["programs"]["ik_llama.cpp"]["loads"], true);
    assert_eq!(report["programs"]["llama.cpp"]["loads"], false);
    let obstacle = &report["programs"]["llama.cpp"]["obstacles"][0];
    assert_eq!(obstacle, "it has no IQ3_K");
    assert_eq!(report["roles"]["RoutedExperts"]["types"]["Q4_0"], 2);
    assert_eq!(
        report["tensors"].as_array().unwrap().len(),
        report["n_tensors"].as_u64().unwrap() as usize
    );
}

#[test]
fn a_folder_that_is_no_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let line = error_line(&[
        "convert",
        folder.path().to_str().unwrap(),
        out.to_str().unwrap(),
    ]);
    assert!(line.contains("config.json"), "{line}");
    assert!(!out.exists());
}

#[test]
fn inspect_finds_weights_that_are_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path());
    ok(&["inspect", "--check", &source]);
    let gguf = Gguf::open(source.as_ref()).unwrap();
    let tensor = gguf.tensor("blk.1.attn_output.weight").unwrap().clone();
    drop(gguf);
    let mut bytes = fs::read(&source).unwrap();
    let row_bytes = 4 * tensor.shape[0] as usize;
    let at = tensor.offset as usize + 3 * row_bytes + 8;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&source, bytes).unwrap();
    let output = output(&["inspect", "--check", &source]);
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("blk.1.attn_output.weight, row 3: a weight"),
        "{printed}"
    );
    let out = folder.path().join("out.gguf");
    let line = error_line(&["quantize", &source, out.to_str().unwrap(), "Q8_0"]);
    assert!(line.contains("blk.1.attn_output.weight, row 3"), "{line}");
    assert!(!out.exists());
}
