//! The `deepseek2` network: Kimi-K2, DeepSeek-V2/V3/R1, Moonlight.
//!
//! `forward.rs` is the page to read first; `weights.rs` names every tensor.

mod attention;
mod forward;
mod moe;
mod router;
mod weights;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perigee_arch::{Config, Inventory};
use perigee_cpu::{Absorbed, Activations, Expanded, Experts, LatentShape, Workers, scratch_len};
use perigee_gguf::{Gguf, Tensor};

use crate::kv_cache::KvCache;
use crate::linear::Linear;
use crate::load::LoadOptions;
use crate::workspace::Workspace;
use crate::{Batch, BlockId, ForwardError, Limits, LoadError, Model};
use weights::Weights;

/// A loaded `deepseek2` model with its KV storage.
pub struct Deepseek2 {
    config: Config,
    /// Angular frequency of each rotated pair.
    frequencies: Vec<f32>,
    weights: Weights,
    workers: Workers,
    kv_cache: KvCache,
    workspace: Workspace,
    /// Shape of a cached row.
    latent: LatentShape,
    deterministic: bool,
    limits: Limits,
}

impl Deepseek2 {
    /// Puts a model together from a file that has passed the inventory; `latent` is the shape
    /// of a cached row, which decides over `options.kv`.
    pub(crate) fn new(
        gguf: &Arc<Gguf>,
        config: Config,
        inventory: &Inventory,
        latent: LatentShape,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let weights = Weights::new(gguf, &config, inventory, options.observer.as_ref())?;
        let kv_cache = KvCache::new(latent, config.n_layers, options.n_blocks, options.block_len)?;
        let workers = Workers::new(options.n_threads, worker_scratch_len(&config, &latent))
            .deterministic(options.deterministic);
        let n_threads = workers.n_threads();
        let workspace = Workspace::new(&config, latent, options.ubatch, n_threads)?;
        Ok(Self {
            frequencies: config.rope_frequencies(),
            limits: Limits {
                vocab_size: config.vocab_size,
                context_length: config.context_length,
                max_batch_tokens: options.ubatch,
                max_output_rows: options.max_output_rows,
                n_blocks: kv_cache.n_blocks(),
                block_len: kv_cache.block_len(),
            },
            config,
            weights,
            workers,
            kv_cache,
            workspace,
            latent,
            deterministic: options.deterministic,
        })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Packs every weight that has a packed form. `progress(done, total)` counts bytes of the
    /// file.
    pub(crate) fn pack(&mut self, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<(), LoadError> {
        let absorbed = &mut self.workspace.attention.absorbed;
        let linears = meeting_integers(&mut self.weights, absorbed);
        let total = linears.iter().map(|l| l.tensor().n_bytes as u64).sum();
        let done = AtomicU64::new(0);
        progress(0, total);
        for linear in linears {
            linear.pack(self.workers.pool(), &|n| {
                let n = n as u64;
                progress(done.fetch_add(n, Ordering::Relaxed) + n, total);
            })?;
        }
        Ok(())
    }

    /// Multiplies weights that stay in the file with these.
    pub(crate) fn meet(&mut self, activations: Activations) {
        if activations == Activations::Int8 {
            let absorbed = &mut self.workspace.attention.absorbed;
            for linear in meeting_integers(&mut self.weights, absorbed) {
                linear.meet(activations);
            }
        }
    }

    /// The threads of the forward pass.
    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }
}

/// The weights that are to meet integers, once attention is ready for that: beside activations of 8
/// bits, its rounding does not count. Says which weights cannot and are slow.
fn meeting_integers<'w>(weights: &'w mut Weights, absorbed: &mut Absorbed) -> Vec<&'w mut Linear> {
    let has_layout = |linear: &&mut Linear| linear.packed_bytes().is_some();
    let (linears, left): (Vec<_>, Vec<_>) = weights.multiplied().into_iter().partition(has_layout);
    warn_of_slow_types(left.iter().map(|linear| linear.tensor()));
    absorbed.round(!linears.is_empty());
    linears
}

/// Says which quantised types are decoded again and again because nothing faster is there.
fn warn_of_slow_types<'a>(tensors: impl Iterator<Item = &'a Tensor>) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for tensor in tensors.filter(|tensor| tensor.kind.block_len() > 1) {
        *counts.entry(tensor.kind.name()).or_default() += 1;
    }
    for (kind, n) in counts {
        tracing::warn!(
            "{n} tensors of type {kind} (or of a shape that is no multiple of 16 rows) have no integer \
             kernels: they are decoded whenever they are used, which is slow"
        );
    }
}

/// The largest need of a worker over all operations.
fn worker_scratch_len(config: &Config, latent: &LatentShape) -> usize {
    let width = config
        .intermediate_size
        .max(config.n_shared_experts * config.moe_intermediate_size);
    let n_in = [
        config.hidden,
        config.q_lora_rank.unwrap_or(0),
        config.kv_lora_rank,
        config.n_heads * config.v_head_dim,
        config.qk_nope_head_dim,
        width,
    ];
    n_in.into_iter()
        .map(scratch_len)
        .chain([
            Experts::scratch_len(config.hidden, config.moe_intermediate_size),
            Absorbed::scratch_len(latent),
            Expanded::scratch_len(latent, config.qk_nope_head_dim, config.v_head_dim),
            router::scratch_len(config),
        ])
        .max()
        .unwrap_or(0)
}

impl Model for Deepseek2 {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn bind_thread(&self) {
        self.workers.pool().pin_caller();
    }

    fn forward(&mut self, batch: &Batch, logits: &mut [f32]) -> Result<(), ForwardError> {
        forward::check(batch, logits, &self.limits)?;
        if batch.tokens.is_empty() {
            return Ok(());
        }
        self.run(batch, logits)
    }

    fn copy_block(&mut self, from: BlockId, to: BlockId) {
        self.kv_cache.copy_block(from, to);
    }
}
