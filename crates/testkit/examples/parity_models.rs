//! Writes the models of the parity run: `cargo run -p perigee-testkit --example parity_models -- DIR`.
//!
//! Into `DIR` go `tokens.txt`, and for every model `NAME.gguf`, `NAME.f64` and
//! `NAME.f16-cache.f64`: the reference logits, exact and with KV rows rounded to F16, as
//! f64 `[n_tokens, n_vocab]`, row-major, without a header. `models.tsv` lists them: name,
//! rows of the vocabulary, bound on the mean KL to each engine, engines that can load the
//! file, fingerprint. `tests/parity/run.py` reads all of it.

use perigee_quant::QuantKind;
use perigee_testkit::Reference;
use perigee_testkit::parity::{Case, Engines, cases, fingerprint, tokens};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const N_TOKENS: u32 = 320;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: parity_models DIR");
        return ExitCode::FAILURE;
    };
    match write_all(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let words: Vec<String> = tokens(N_TOKENS).iter().map(|t| t.0.to_string()).collect();
    std::fs::write(dir.join("tokens.txt"), words.join(" ") + "\n")?;
    let mut table = String::new();
    for case in cases() {
        let fingerprint = write_case(dir, &case)?;
        let engines = match case.engines {
            Engines::Both => "ik_llama.cpp,llama.cpp",
            Engines::Ik => "ik_llama.cpp",
        };
        let (name, bound) = (case.name, case.kl_bound);
        let n_vocab = case.synthetic.config().vocab_size;
        writeln!(
            table,
            "{name}\t{n_vocab}\t{bound:e}\t{engines}\t{fingerprint:016x}"
        )
        .expect("a String grows");
    }
    std::fs::write(dir.join("models.tsv"), table)
}

/// Writes the file and its logits; returns the file's fingerprint.
fn write_case(dir: &Path, case: &Case) -> io::Result<u64> {
    let path = |suffix: &str| dir.join(format!("{}.{suffix}", case.name));
    let bytes = case.synthetic.to_bytes();
    std::fs::write(path("gguf"), &bytes)?;
    let tokens = tokens(N_TOKENS);
    let exact = Reference::new(&case.synthetic.gguf(), case.synthetic.config());
    write_logits(&path("f64"), &exact.forward(&tokens))?;
    let cached = exact.cache_kind(QuantKind::F16);
    write_logits(&path("f16-cache.f64"), &cached.forward(&tokens))?;
    Ok(fingerprint(&bytes))
}

fn write_logits(path: &Path, logits: &[Vec<f64>]) -> io::Result<()> {
    let logits = logits.iter().flatten();
    let bytes: Vec<u8> = logits.flat_map(|l| l.to_le_bytes()).collect();
    std::fs::write(path, bytes)
}
