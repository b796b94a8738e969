//! The program as a user meets it: one clear line for each mistake.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use perigee_arch::KvLayout;
use perigee_quant::QuantKind;
use perigee_testkit::{Kinds, Synthetic, shapes};

use crate::program::{error_line, output, perigee, root};

/// A question with an answer of some thirty tokens.
const WHO: &str = "Who are you?";

fn demo_model() -> String {
    root()
        .join("crates/demo/demo.gguf")
        .to_str()
        .expect("the path is UTF-8")
        .to_owned()
}

/// Runs with `-m path` and expects one error line holding all of `parts`.
fn check(path: &str, parts: &[&str]) {
    let line = error_line(&["run", "-m", path, "-p", "x"]);
    for part in parts {
        assert!(line.contains(part), "{line}\nlacks {part}");
    }
}

#[test]
fn files_that_are_no_model_are_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    check(&path("nothing.gguf"), &["nothing.gguf", "No such file"]);
    check(
        folder.path().to_str().unwrap(),
        &["no GGUF file in this folder"],
    );
    fs::write(path("text.gguf"), "this is not a model at all, just text").unwrap();
    check(&path("text.gguf"), &["text.gguf", "not a GGUF file"]);
    let whole = fs::read(demo_model()).unwrap();
    fs::write(path("cut.gguf"), &whole[..whole.len() / 2]).unwrap();
    check(&path("cut.gguf"), &["cut.gguf", "truncated"]);
    fs::write(path("header.gguf"), &whole[..500]).unwrap();
    check(
        &path("header.gguf"),
        &["header.gguf", "cannot fit in the file"],
    );
    let mut llama = perigee_gguf::Writer::new();
    llama.metadata("general.architecture", "llama".into());
    llama.write(path("llama.gguf").as_ref()).unwrap();
    check(
        &path("llama.gguf"),
        &["\"llama\" is not supported", "deepseek2"],
    );
}

#[test]
fn shards_that_are_missing_or_cut_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = Synthetic::new(shapes::kimi())
        .layout(KvLayout::Split)
        .kinds(Kinds::uniform(QuantKind::Q8_0))
        .writer()
        .write_shards(folder.path(), "tiny", 20)
        .unwrap();
    let first = first.to_str().unwrap();
    let run = output(&["run", "-m", first, "-p", "x", "-n", "2", "--temp", "0"]);
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let mut shards: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    shards.sort();
    assert!(shards.len() > 2, "{shards:?}");
    let second = fs::read(&shards[1]).unwrap();
    fs::write(&shards[1], &second[..second.len() - 100]).unwrap();
    check(first, &["-00002-of-", "truncated"]);
    fs::remove_file(&shards[1]).unwrap();
    check(first, &["-00002-of-", "missing"]);
    check(shards[2].to_str().unwrap(), &["-00002-of-", "missing"]);
}

#[test]
fn a_port_in_use_is_named_with_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let line = error_line(&["serve", "--demo", "--port", &port]);
    assert!(line.contains(&port) && line.contains("--port"), "{line}");
}

#[test]
fn a_context_larger_than_memory_is_named_with_the_flag() {
    let line = error_line(&["run", "--demo", "-p", "x", "-c", "100000000000"]);
    assert!(
        line.contains("--ctx-size") && line.contains("GiB"),
        "{line}"
    );
}

#[test]
fn settings_that_make_no_sense_are_named() {
    for (args, part) in [
        (vec!["run", "-p", "x"], "--demo"),
        (vec!["run", "--demo", "-p", "x", "-t", "0"], "-t 0"),
        (vec!["run", "--demo", "-p", "x", "-ub", "0"], "-ub 0"),
        (
            vec!["run", "--demo", "-p", "x", "-ctk", "f16", "-ctv", "q8_0"],
            "-ctk and -ctv",
        ),
        (vec!["run", "--demo", "-p", "x", "-ot", "exps"], "exps"),
        (
            vec!["run", "--demo", "-p", "x", "-ot", "exps=CUDA0"],
            "CUDA0",
        ),
        (
            vec!["run", "--demo", "-p", "x", "--config", "/nonexistent.toml"],
            "nonexistent.toml",
        ),
        (
            vec!["serve", "--demo", "--chat-template-kwargs", "{"],
            "--chat-template-kwargs",
        ),
    ] {
        let line = error_line(&args);
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_settings_file_is_read_and_its_mistakes_are_named_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("perigee.toml");
    let path_text = path.to_str().unwrap();
    fs::write(
        &path,
        "[model]\ndemo = true\nctx-size = 32\n[sampling]\ntemp = 0.0\n",
    )
    .unwrap();
    let run = |args: &[&str]| {
        let output = output(&[&["run", "--config", path_text, "-p", WHO], args].concat());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // The file's context of 32 ends the answer; the command line wins over the file.
    assert!(run(&[]).contains("length"));
    assert!(run(&["-c", "256"]).contains("stop"));
    fs::write(&path, "[model]\nctx_size = 64\n").unwrap();
    let line = error_line(&["run", "--config", path_text, "-p", "x"]);
    assert!(
        line.contains("line 2") && line.contains("ctx_size"),
        "{line}"
    );
}

#[test]
fn the_environment_stands_between_file_and_command_line() {
    let output = perigee()
        .args(["run", "--demo", "-p", WHO, "--temp", "0"])
        .env("PERIGEE_CTX_SIZE", "32")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("length"));
}

#[test]
fn every_instruction_set_gives_the_same_words() {
    let run = |isa: &str| {
        let args = ["run", "--demo", "-p", WHO, "--temp", "0", "--isa", isa];
        output(&args)
    };
    let plain = run("scalar");
    assert!(plain.status.success());
    for isa in ["avx2", "avx-vnni", "avx512"] {
        let other = run(isa);
        let errors = String::from_utf8_lossy(&other.stderr);
        if other.status.success() {
            assert_eq!(other.stdout, plain.stdout, "{isa}");
        } else {
            assert!(errors.contains("--isa: this CPU has no"), "{errors}");
        }
    }
}

#[test]
fn a_context_of_262144_is_allocated_and_decodes() {
    let output = output(&[
        "run", "--demo", "-p", "x", "-c", "262144", "-n", "4", "--temp", "0",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn inspect_shows_roles_and_types_and_says_whether_it_runs() {
    let output = output(&["inspect", &demo_model()]);
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "deepseek2",
        "IQ3_K",
        "Q4_0",
        "RoutedExperts",
        "Perigee can run this model.",
    ] {
        assert!(text.contains(part), "{text}\nlacks {part}");
    }
}

#[test]
fn tokenize_prints_ids_that_stand_for_the_text() {
    let ids = |args: &[&str]| {
        let output = output(&[&["tokenize", "--demo", "--ids"], args].concat());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(
        ids(&["-p", "<|im_end|>", "--parse-special"])
            .split(' ')
            .count(),
        1
    );
    assert!(ids(&["-p", "<|im_end|>"]).split(' ').count() > 1);
}

#[test]
fn bench_prints_llama_benchs_columns() {
    let run = |format: &str| {
        let args = [
            "bench", "--demo", "-p", "32", "-n", "4", "-d", "0,16", "-r", "2", "-o", format,
        ];
        let output = output(&args);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run("md");
    assert!(
        table.contains("| test |") || table.contains("            test |"),
        "{table}"
    );
    assert!(
        table.contains("pp32 |") && table.contains("tg4 @ d16 |"),
        "{table}"
    );
    let rows: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 4);
    assert!(rows[0]["avg_ts"].as_f64().unwrap() > 0.0);
}

#[test]
fn bench_waits_for_its_turns() {
    let args = [
        "bench", "--demo", "-p", "8", "-n", "0", "-r", "2", "-o", "csv",
    ];
    let mut child = perigee()
        .args(args)
        .arg("--turns")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut turns = child.stdin.take().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || printed.next().unwrap().unwrap();
    // One repetition is not counted.
    for _ in 0..3 {
        assert_eq!(next(), "turn");
        turns.write_all(b"\n").unwrap();
    }
    assert!(next().contains("avg_ts"));
    assert!(child.wait().unwrap().success());
    // Without anybody who gives turns.
    let line = error_line(&[&args[..], &["--turns"]].concat());
    assert!(line.contains("--turns: standard input ended"), "{line}");
}

#[test]
fn bench_computes_every_row_when_told() {
    for (flags, logits) in [(&["--all-logits"][..], "all"), (&[], "last")] {
        // More tokens than one step takes, after a context that has no outputs.
        let mut args = vec!["bench", "--demo", "-p", "40", "-n", "2", "-d", "20"];
        args.extend(["--ubatch-size", "16", "-r", "1", "-o", "json"]);
        args.extend(flags);
        let output = output(&args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 2);
        assert_eq!(rows[0]["logits"], logits);
    }
}

#[test]
fn perplexity_scores_ids_and_writes_logits() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let ids: Vec<String> = (0..50).map(|i| (i * 37 % 700).to_string()).collect();
    fs::write(path("ids.txt"), ids.join(" ")).unwrap();
    let mut files = Vec::new();
    for ubatch in ["1", "16", "512"] {
        let out = path(&format!("{ubatch}.npy"));
        let args = [
            "perplexity",
            "--demo",
            "--deterministic",
            "--token-file",
            &path("ids.txt"),
            "--logits-out",
            &out,
        ];
        let output = output(&[&args[..], &["-ub", ubatch]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("PPL = ") && text.contains("+/-"),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        files.push((text, fs::read(out).unwrap()));
    }
    assert!(
        files.windows(2).all(|pair| pair[0] == pair[1]),
        "-ub changes the result"
    );
    let bytes = &files[0].1;
    assert_eq!(bytes.len(), 128 + 50 * 3072 * 4);
    assert!(String::from_utf8_lossy(&bytes[..128]).contains("'shape': (50, 3072)"));
}

#[test]
fn chat_answers_lines_and_forgets_when_told() {
    let mut child = perigee()
        .args([
            "chat",
            "--demo",
            "--temp",
            "0",
            "-c",
            "128",
            "--no-thinking",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = "Hello\n/reset\nHello\n/think\n/nonsense\n/exit\n";
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let (answers, notes) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let answers: Vec<&str> = answers.split_inclusive('\n').collect();
    assert_eq!(answers.len() % 2, 0, "{answers:?}");
    let (first, second) = answers.split_at(answers.len() / 2);
    assert_eq!(
        first, second,
        "after /reset the same question has the same answer"
    );
    for part in [
        "t/s",
        "(forgotten)",
        "(thinking on)",
        "unknown command /nonsense",
    ] {
        assert!(notes.contains(part), "{notes}\nlacks {part}");
    }
}

#[test]
fn a_network_runs_without_a_vocabulary_that_this_program_knows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut bytes = Synthetic::new(shapes::deepseek_v3()).to_bytes();
    let key = b"tokenizer.ggml.pre";
    let at = bytes
        .windows(key.len())
        .position(|window| window == key)
        .unwrap();
    let value = at
        + bytes[at..]
            .windows(7)
            .position(|window| window == b"kimi-k2")
            .unwrap();
    bytes[value..value + 7].copy_from_slice(b"deep-v3");
    fs::write(path("deep.gguf"), bytes).unwrap();
    check(&path("deep.gguf"), &["deep-v3"]);
    fs::write(path("ids.txt"), "1 2 3 4 5 6").unwrap();
    let run = output(&[
        "perplexity",
        "-m",
        &path("deep.gguf"),
        "--token-file",
        &path("ids.txt"),
    ]);
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let run = output(&[
        "bench",
        "-m",
        &path("deep.gguf"),
        "-p",
        "8",
        "-n",
        "2",
        "-r",
        "1",
    ]);
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
}
