//! Our logits against stored ones of ik_llama.cpp (`parity/make_goldens.py`).
//!
//! `cargo xtask parity` compares with the living engines on many more files; these two
//! notice a change of the arithmetic without them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use perigee_arch::{Config, KvKind, inventory};
use perigee_gguf::{Gguf, TokenId};
use perigee_model::{Activations, Batch, BlockId, LoadMode, LoadOptions, Model, Outputs};
use perigee_quant::QuantKind;
use perigee_testkit::parity::{Case, cases, fingerprint, tokens};
use perigee_testkit::{Reference, norms};

const BLOCK_LEN: usize = 16;

#[test]
fn f32_logits_are_those_of_ik_llama_cpp() {
    check("f32-split");
}

#[test]
fn iq3_k_and_q4_0_experts_give_the_logits_of_ik_llama_cpp() {
    check("iq3_k-split");
}

/// Within the bound on the KL, and not farther from f64 than the engine is. (In F32 half
/// of the engine's distance is the half precision in which its logits are stored.)
fn check(name: &str) {
    let golden = Golden::read(name);
    let is_wanted = |case: &Case| case.name == name;
    let case = cases()
        .into_iter()
        .find(is_wanted)
        .expect("a case of that name");
    let found = fingerprint(&case.synthetic.to_bytes());
    assert_eq!(
        found, golden.fingerprint,
        "{name}: the model has changed, run `cargo xtask parity` and make_goldens.py"
    );

    let gguf = case.synthetic.gguf();
    let tokens = tokens(golden.logits.len() as u32);
    let exact = Reference::new(&gguf, case.synthetic.config()).forward(&tokens);
    let engine_error = norms::nrmse(&golden.logits, &exact);
    // Packed weights meet activations of 8 bits, as the engine's do.
    for (load, allowed) in [
        (LoadMode::Map(Activations::F32), 1.0),
        (LoadMode::Pack, 1.1),
    ] {
        let ours = forward(Arc::clone(&gguf), &tokens, load);
        let kl = norms::mean_kl(&ours, &golden.logits);
        assert!(kl <= case.kl_bound, "{name} {load:?}: mean KL {kl:.2e}");
        let our_error = norms::nrmse(&ours, &exact);
        assert!(
            our_error <= allowed * engine_error,
            "{name} {load:?}: {our_error:.2e} from f64, the engine {engine_error:.2e}"
        );
    }
}

/// Stored logits and the file they belong to.
struct Golden {
    logits: Vec<Vec<f64>>,
    fingerprint: u64,
}

impl Golden {
    fn read(name: &str) -> Self {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let table = fs::read_to_string(fixtures.join("ik_logits.tsv")).expect("the table");
        let row: Vec<&str> = table
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .find(|row| row[0] == name)
            .expect("a row of that name");
        let n_positions: usize = row[1].parse().expect("positions");
        let n_vocab: usize = row[2].parse().expect("rows of the vocabulary");
        let file = fixtures.join(format!("ik_logits_{name}.f16"));
        let bytes = fs::read(file).expect("the logits");
        let mut logits = vec![0.0; n_positions * n_vocab];
        QuantKind::F16.dequantize_row(&bytes, &mut logits);
        Self {
            logits: norms::rows(&logits, n_vocab),
            fingerprint: u64::from_str_radix(row[3], 16).expect("a fingerprint"),
        }
    }
}

/// The logits of every position, all tokens in one batch, with an F16 cache.
fn forward(gguf: Arc<Gguf>, tokens: &[TokenId], load: LoadMode) -> Vec<Vec<f64>> {
    let config = Config::from_metadata(gguf.metadata()).expect("a valid configuration");
    let inventory = inventory(&gguf, &config).expect("a complete file");
    let plan = perigee_placement::plan(&gguf, &inventory, &[]).expect("no rules, no errors");
    let n_blocks = tokens.len().div_ceil(BLOCK_LEN);
    let options = LoadOptions {
        n_threads: 2,
        kv: KvKind::F16,
        n_blocks,
        block_len: BLOCK_LEN,
        ubatch: tokens.len(),
        max_output_rows: tokens.len(),
        deterministic: false,
        load,
        observer: None,
    };
    let mut model = perigee_model::load(gguf, &plan, &options, &|_, _| {}).expect("it loads");
    let blocks: Vec<BlockId> = (0..n_blocks as u32).map(BlockId).collect();
    let mut batch = Batch::default();
    batch.push(tokens, 0, &blocks, Outputs::All);
    let mut logits = vec![0.0; tokens.len() * config.vocab_size];
    model.forward(&batch, &mut logits).expect("a valid batch");
    norms::rows(&logits, config.vocab_size)
}
