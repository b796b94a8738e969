//! Writes the models of the parity run: `cargo run -p perigee-testkit --example parity_models -- DIR`.
//!
//! Into `DIR` go `tokens.txt`, `NAME.gguf` and `NAME.f64` (the reference logits,
//! f64 `[n_tokens, n_vocab]`, row-major, no header) for every model, and `models.tsv`:
//! name, rows of the vocabulary, bound on the mean KL to each engine, engines that can
//! load the file. `tests/parity/run.py` reads all of it.

use perigee_arch::{Config, KvLayout};
use perigee_gguf::TokenId;
use perigee_quant::QuantKind;
use perigee_testkit::{Kinds, Synthetic, reference, shapes};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const N_TOKENS: u32 = 320;

struct Case {
    name: &'static str,
    synthetic: Synthetic,
    /// Bound on the mean KL between this program and each engine.
    kl_bound: f64,
    engines: &'static str,
}

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
    let tokens: Vec<TokenId> = (0..N_TOKENS).map(token).collect();
    let words: Vec<String> = tokens.iter().map(|token| token.0.to_string()).collect();
    std::fs::write(dir.join("tokens.txt"), words.join(" ") + "\n")?;

    let mut table = String::new();
    for Case {
        name,
        synthetic,
        kl_bound,
        engines,
    } in cases()
    {
        synthetic.write_to(&dir.join(format!("{name}.gguf")))?;
        let config = synthetic.config();
        let logits = reference::forward(&synthetic.gguf(), config, &tokens, 0);
        let bytes: Vec<u8> = logits
            .iter()
            .flatten()
            .flat_map(|l| l.to_le_bytes())
            .collect();
        std::fs::write(dir.join(format!("{name}.f64")), bytes)?;
        let n_vocab = config.vocab_size;
        writeln!(table, "{name}\t{n_vocab}\t{kl_bound:e}\t{engines}").expect("a String grows");
    }
    std::fs::write(dir.join("models.tsv"), table)
}

/// A fixed sequence of ordinary tokens without a short period.
fn token(index: u32) -> TokenId {
    TokenId(index.wrapping_mul(2_654_435_761).rotate_left(9) % 480)
}

/// Bounds by what an engine itself does to the numbers: F32 and F16 files differ in the
/// order of sums and the F16 cache, BF16 rounds activations to eight bits of mantissa,
/// quantised files round them to eight-bit integers.
fn cases() -> Vec<Case> {
    const BOTH: &str = "ik_llama.cpp,llama.cpp";
    use KvLayout::{Both, Joined};
    use QuantKind::{Bf16, F16, F32, Iq3K, Iq4K, Q4_0, Q6K, Q8_0};
    let kimi = || Synthetic::new(shapes::kimi());
    let kind = |kind| kimi().kinds(Kinds::uniform(kind));
    let case = |name, synthetic, kl_bound, engines| Case {
        name,
        synthetic,
        kl_bound,
        engines,
    };
    vec![
        case("f32-split", kind(F32), 1e-5, BOTH),
        case("f32-joined", kind(F32).layout(Joined), 1e-5, BOTH),
        case("f32-both", kind(F32).layout(Both), 1e-5, "ik_llama.cpp"),
        case("f32-merged", kind(F32).merged_gate_up(), 1e-5, BOTH),
        case("f32-lite", lite(), 1e-5, BOTH),
        case("f16-split", kind(F16), 1e-5, BOTH),
        case("bf16-split", kind(Bf16), 5e-4, BOTH),
        case("q8_0-split", kind(Q8_0), 5e-3, BOTH),
        case("q8_0-both", kind(Q8_0).layout(Both), 5e-3, "ik_llama.cpp"),
        case(
            "q4_0-split",
            kimi().kinds(Kinds::recipe(Q4_0, Q4_0, Q8_0)),
            5e-3,
            BOTH,
        ),
        case(
            "q6_k-split",
            kimi().kinds(Kinds::recipe(Q6K, Q6K, Q8_0)),
            5e-3,
            BOTH,
        ),
        case(
            "iq3_k-split",
            kimi().kinds(Kinds::recipe(Iq3K, Q4_0, Q8_0)),
            5e-3,
            "ik_llama.cpp",
        ),
        case(
            "iq3_k-both",
            kimi().kinds(Kinds::recipe(Iq3K, Q4_0, Q8_0)).layout(Both),
            5e-3,
            "ik_llama.cpp",
        ),
        case(
            "iq4_k-split",
            kimi().kinds(Kinds::recipe(Iq4K, Iq4K, Q8_0)),
            5e-3,
            "ik_llama.cpp",
        ),
    ]
}

/// Without q-LoRA. Both engines know such a model by its 27 layers, so these are thin.
fn lite() -> Synthetic {
    Synthetic::new(Config {
        name: "tiny-lite".to_owned(),
        n_layers: 27,
        hidden: 128,
        qk_nope_head_dim: 32,
        v_head_dim: 32,
        intermediate_size: 128,
        moe_intermediate_size: 32,
        n_experts_used: 8,
        ..shapes::moonlight()
    })
}
