//! Every activation buffer of a step, allocated once.

use perigee_arch::Config;
use perigee_cpu::{Absorbed, ExpertGroups, LatentShape, Queries, Route};

use crate::{Batch, LoadError, Outputs};

/// Most tokens whose absorbed queries exist at a time: one row is `n_heads · 576` floats, some
/// five times the activations of a token.
pub(crate) const ABSORBED_TOKENS: usize = 64;

/// Buffers for `n` = ubatch tokens. Row-major; the names are those of `deepseek2/forward.rs`.
pub(crate) struct Workspace {
    /// The residual stream, `[n, hidden]`.
    pub(crate) x: Vec<f32>,
    /// `x` after a norm, `[n, hidden]`.
    pub(crate) normed: Vec<f32>,
    /// What attention or the FFN adds to `x`, `[n, hidden]`.
    pub(crate) delta: Vec<f32>,
    /// `(cos, sin)` per rotated pair at the position of each token, `[n, qk_rope_head_dim]`.
    pub(crate) rope: Vec<f32>,
    pub(crate) attention: AttentionBuffers,
    pub(crate) ffn: FfnBuffers,
    pub(crate) step: Step,
}

/// Buffers of attention.
pub(crate) struct AttentionBuffers {
    /// `[n, q_lora_rank]`.
    pub(crate) q_latent: Vec<f32>,
    /// `[n, n_heads, qk_head_dim]`.
    pub(crate) q: Vec<f32>,
    /// `[n, kv_lora_rank + qk_rope_head_dim]`, as projected.
    pub(crate) kv: Vec<f32>,
    /// `[n, padded_len]`: normed and rotated, as cached.
    pub(crate) latent: Vec<f32>,
    /// `[ABSORBED_TOKENS, n_heads, padded_len]`; the padding stays zero.
    pub(crate) q_absorbed: Vec<f32>,
    /// `[ABSORBED_TOKENS, n_heads, Absorbed::out_len]`.
    pub(crate) attended: Vec<f32>,
    /// `[n, n_heads, v_head_dim]`.
    pub(crate) out: Vec<f32>,
    /// Runs of the current absorbed pass.
    pub(crate) pieces: Vec<Queries>,
    pub(crate) absorbed: Absorbed,
}

/// Buffers of the feed-forward part.
pub(crate) struct FfnBuffers {
    /// Of a dense FFN or the shared expert, `[n, max(intermediate_size, shared width)]`.
    pub(crate) common_activations: Vec<f32>,
    /// All tokens for that one.
    pub(crate) everyone: ExpertGroups,
    /// `[n, n_routed_experts]`.
    pub(crate) router_logits: Vec<f32>,
    /// `[n, n_experts_used]`.
    pub(crate) routes: Vec<Route>,
    pub(crate) groups: ExpertGroups,
    /// `[n · n_experts_used, moe_intermediate_size]`.
    pub(crate) expert_activations: Vec<f32>,
}

/// The batch as the kernels want it.
#[derive(Default)]
pub(crate) struct Step {
    /// Position of each token.
    pub(crate) positions: Vec<usize>,
    /// The runs.
    pub(crate) runs: Vec<Queries>,
    /// Block tables of the runs, one after another.
    pub(crate) block_tables: Vec<u32>,
    /// Rows that yield logits, ascending.
    pub(crate) outputs: Vec<usize>,
}

impl Workspace {
    /// Buffers for batches of up to `n` tokens.
    pub(crate) fn new(
        config: &Config,
        latent: LatentShape,
        n: usize,
        n_threads: usize,
    ) -> Result<Self, LoadError> {
        let n_heads = config.n_heads;
        let n_absorbed = n.min(ABSORBED_TOKENS);
        let scale = config.kq_scale();
        let shared = config.n_shared_experts * config.moe_intermediate_size;
        let width = config.intermediate_size.max(shared);
        let n_pairs = n.saturating_mul(config.n_experts_used);
        Ok(Self {
            x: zeroes([n, config.hidden, 1])?,
            normed: zeroes([n, config.hidden, 1])?,
            delta: zeroes([n, config.hidden, 1])?,
            rope: zeroes([n, config.qk_rope_head_dim, 1])?,
            attention: AttentionBuffers {
                q_latent: zeroes([n, config.q_lora_rank.unwrap_or(0), 1])?,
                q: zeroes([n, n_heads, config.qk_head_dim()])?,
                kv: zeroes([n, config.latent_dim(), 1])?,
                latent: zeroes([n, latent.padded_len(), 1])?,
                q_absorbed: zeroes([n_absorbed, n_heads, latent.padded_len()])?,
                attended: zeroes([n_absorbed, n_heads, Absorbed::out_len(&latent)])?,
                out: zeroes([n, n_heads, config.v_head_dim])?,
                pieces: Vec::with_capacity(n_absorbed),
                absorbed: Absorbed::new(latent, n_heads, scale, n_threads),
            },
            ffn: FfnBuffers {
                common_activations: zeroes([n, width, 1])?,
                everyone: ExpertGroups::new(1, n),
                router_logits: zeroes([n, config.n_routed_experts, 1])?,
                expert_activations: zeroes([n_pairs, config.moe_intermediate_size, 1])?,
                routes: vec![Route::default(); n_pairs],
                groups: ExpertGroups::new(config.n_routed_experts, n_pairs),
            },
            step: Step {
                positions: Vec::with_capacity(n),
                runs: Vec::with_capacity(n),
                block_tables: Vec::new(),
                outputs: Vec::with_capacity(n),
            },
        })
    }
}

impl Step {
    /// Takes over a batch that has been checked.
    pub(crate) fn set(&mut self, batch: &Batch) {
        self.positions.clear();
        self.runs.clear();
        self.block_tables.clear();
        self.outputs.clear();
        for run in &batch.runs {
            let table = self.block_tables.len();
            let blocks = &batch.block_table[run.blocks.clone()];
            self.block_tables.extend(blocks.iter().map(|block| block.0));
            self.runs.push(Queries {
                first_row: run.tokens.start,
                n_tokens: run.tokens.len(),
                start: run.start,
                table,
            });
            self.positions
                .extend(run.start..run.start + run.tokens.len());
            match run.outputs {
                Outputs::None => (),
                Outputs::Last => self.outputs.push(run.tokens.end - 1),
                Outputs::All => self.outputs.extend(run.tokens.clone()),
            }
        }
    }
}

/// A zeroed buffer of that shape, or an error where the memory is not there.
fn zeroes(shape: [usize; 3]) -> Result<Vec<f32>, LoadError> {
    let out_of_memory = |n_bytes| LoadError::OutOfMemory {
        what: "workspace",
        n_bytes,
        limit: perigee_topology::Machine::memory_limit().unwrap_or(0),
    };
    let len = shape
        .into_iter()
        .try_fold(1usize, usize::checked_mul)
        .ok_or_else(|| out_of_memory(u64::MAX))?;
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(len)
        .map_err(|_| out_of_memory(len as u64 * 4))?;
    buffer.resize(len, 0.0);
    Ok(buffer)
}
