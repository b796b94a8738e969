//! The whole network against the f64 reference and against itself.

mod determinism;
mod errors;
mod parity;

use std::sync::Arc;

use perigee_arch::{Config, KvKind};
use perigee_cpu::LatentShape;
use perigee_gguf::{Gguf, TokenId};
use perigee_quant::QuantKind;
use perigee_testkit::{Synthetic, norms};

use crate::{Activations, Batch, BlockId, Deepseek2, LoadMode, LoadOptions, Model, Outputs};

/// Options for a test: one thread, 16 tokens a block.
fn options() -> LoadOptions {
    LoadOptions {
        n_threads: 1,
        kv: KvKind::F16,
        n_blocks: 64,
        block_len: 16,
        ubatch: 512,
        max_output_rows: 512,
        deterministic: false,
        load: LoadMode::Map(Activations::F32),
        observer: None,
    }
}

/// A model with a cache of the given kind; F32 shows the arithmetic without cache rounding.
fn model_from(gguf: &Arc<Gguf>, kv: QuantKind, options: &LoadOptions) -> Deepseek2 {
    let config = Config::from_metadata(gguf.metadata()).unwrap();
    let inventory = perigee_arch::inventory(gguf, &config).unwrap();
    let latent = LatentShape {
        kv_lora_rank: config.kv_lora_rank,
        rope_dim: config.qk_rope_head_dim,
        kind: kv,
    };
    let mut model = Deepseek2::new(gguf, config, &inventory, latent, options).unwrap();
    match options.load {
        LoadMode::Map(activations) => model.meet(activations),
        LoadMode::Pack => model.pack(&|_, _| ()).unwrap(),
    }
    model
}

fn model(synthetic: &Synthetic, kv: QuantKind, options: &LoadOptions) -> Deepseek2 {
    model_from(&synthetic.gguf(), kv, options)
}

fn tokens(n: usize, seed: usize) -> Vec<TokenId> {
    (0..n)
        .map(|i| TokenId(((i * i + i * 37 + seed * 101 + 11) % 480) as u32))
        .collect()
}

/// One sequence in blocks that lie in descending order from `last_block`.
struct Sequence {
    table: Vec<BlockId>,
    len: usize,
}

impl Sequence {
    fn new(last_block: u32, n_blocks: u32) -> Self {
        Self {
            table: (0..n_blocks).map(|i| BlockId(last_block - i)).collect(),
            len: 0,
        }
    }

    fn push(&mut self, batch: &mut Batch, tokens: &[TokenId]) {
        batch.push(tokens, self.len, &self.table, Outputs::All);
        self.len += tokens.len();
    }
}

/// Logits of all rows of a batch.
fn forward(model: &mut Deepseek2, batch: &Batch) -> Vec<f32> {
    let mut logits = vec![f32::NAN; batch.n_outputs() * model.limits().vocab_size];
    model.forward(batch, &mut logits).unwrap();
    logits
}

/// Logits of all tokens of one sequence, computed `chunk_len` tokens at a time.
fn run(model: &mut Deepseek2, tokens: &[TokenId], chunk_len: usize) -> Vec<f32> {
    let n_blocks = model.limits().n_blocks as u32;
    let mut sequence = Sequence::new(n_blocks - 1, n_blocks);
    let mut logits = Vec::new();
    for chunk in tokens.chunks(chunk_len) {
        let mut batch = Batch::default();
        sequence.push(&mut batch, chunk);
        logits.extend(forward(model, &batch));
    }
    logits
}

fn rows(logits: &[f32], model: &Deepseek2) -> Vec<Vec<f64>> {
    norms::rows(logits, model.limits().vocab_size)
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}
