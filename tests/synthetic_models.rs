//! `perigee bench --synthetic`, as a user runs it.

use std::fs;

use perigee_gguf::Gguf;
use serde_json::Value;

use crate::program::{error_line, output};

const SPEC: &str = "tiny@IQ3_K:layers=2,vocab=512";

fn ok(args: &[&str]) -> String {
    let output = output(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(args)).unwrap()
}

#[test]
fn random_weights_are_measured_and_the_whole_model_estimated() {
    let short = ["-p", "16", "-n", "4", "-t", "2"];
    let args = ["bench", "--synthetic", SPEC, "-o", "json"];
    let found = json(&[&args[..], &short].concat());
    let number = |value: &Value| value.as_f64().filter(|n| n.is_finite() && *n > 0.0);
    for field in [
        "decode_tokens_per_second",
        "prefill_tokens_per_second",
        "bytes_per_token",
        "measured_bandwidth_gb_s",
        "bandwidth_fraction",
    ] {
        assert!(number(&found[field]).is_some(), "{field}: {found:#}");
    }
    let whole = &found["extrapolated"];
    assert_eq!(whole["spec"], "tiny@IQ3_K");
    assert_eq!(whole["n_layers"], 3);
    assert_eq!(whole["n_moe_layers"], 2);
    for field in [
        "decode_tokens_per_second",
        "prefill_tokens_per_second",
        "bytes_per_token",
        "bandwidth_fraction",
    ] {
        assert!(number(&whole[field]).is_some(), "{field}: {found:#}");
    }
    assert_eq!(found["tests"].as_array().unwrap().len(), 2);
    assert_eq!(found["other_shapes"].as_array().unwrap().len(), 2);

    let table = ok(&[&["bench", "--synthetic", SPEC][..], &short].concat());
    for part in ["pp16 |", "tg4 |", "C + 2 × (A − B) / 1", "GB/s"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn a_written_model_is_the_measured_one_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second) = (path("first.gguf"), path("second.gguf"));
    for (threads, file) in [("1", &first), ("3", &second)] {
        let said = ok(&["bench", "--synthetic", SPEC, "--write", file, "-t", threads]);
        assert!(said.contains("random weights"), "{said}");
    }
    let bytes = fs::read(&first).unwrap();
    assert!(bytes == fs::read(&second).unwrap(), "the files differ");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    ok(&["inspect", "--check", &first]);
    let gguf = Gguf::open(first.as_ref()).unwrap();
    assert!(gguf.tensor("blk.1.ffn_down_exps.weight").is_some());
    let short = ["-p", "0", "-n", "2", "-r", "1", "-o", "json"];
    let of_file = json(&[&["bench", "-m", &first][..], &short].concat());
    let in_memory = json(&[&["bench", "--synthetic", SPEC][..], &short].concat());
    for field in ["model_size", "model_n_params"] {
        assert_eq!(of_file[0][field], in_memory["tests"][0][field], "{field}");
    }
    assert_eq!(of_file[0]["model_size"], bytes.len());
    assert_eq!(in_memory["prefill_tokens_per_second"], Value::Null);
}

#[test]
fn what_cannot_be_made_is_refused_by_its_flag() {
    for (spec, part) in [
        ("nothing@IQ3_K", "kimi-k2.6"),
        ("tiny@Q9", "IQ3_K"),
        ("tiny", "SHAPE@RECIPE"),
        ("tiny@Q8_0:vocab=100", "290"),
        ("tiny@Q8_0:colour=3", "colour"),
        (
            "kimi-k2.6@F32:experts=1024,layers=1024",
            "GiB of memory, but",
        ),
    ] {
        let line = error_line(&["bench", "--synthetic", spec]);
        assert!(line.contains("--synthetic"), "{spec}: {line}");
        assert!(line.contains(part), "{spec}: {line}");
    }
    let line = error_line(&["bench", "--demo", "--synthetic", SPEC]);
    assert!(
        line.contains("--synthetic") && line.contains("--demo"),
        "{line}"
    );
    let line = error_line(&["bench", "--demo", "--write", "out.gguf"]);
    assert!(line.contains("--write needs --synthetic"), "{line}");
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let write = |path: &str| error_line(&["bench", "--synthetic", SPEC, "--write", path]);
    let line = write(at);
    assert!(
        line.contains("--write") && line.contains("folder"),
        "{line}"
    );
    let line = write(&format!("{at}/missing/out.gguf"));
    assert!(
        line.contains("--write") && line.contains("No such file"),
        "{line}"
    );
    #[cfg(target_os = "linux")]
    {
        let path = format!("{at}/out.gguf");
        // Where the file grows before it has its name.
        std::os::unix::fs::symlink("/dev/full", format!("{path}.part")).unwrap();
        let line = write(&path);
        assert!(
            line.contains("--write") && line.contains("disk is full"),
            "{line}"
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
