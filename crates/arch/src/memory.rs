//! Byte formulas of what a run needs beside the weights.

use crate::Config;

/// Element type of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are named after the formats")]
pub enum KvKind {
    F16,
    Q8_0,
}

impl KvKind {
    /// Bytes of one latent row (`[c̃ | k_pe]`, one token, one layer).
    ///
    /// Under Q8_0 the latent and the rotated part have blocks of their own.
    pub fn row_bytes(self, config: &Config) -> usize {
        match self {
            Self::F16 => config.latent_dim() * 2,
            Self::Q8_0 => {
                (config.kv_lora_rank.div_ceil(32) + config.qk_rope_head_dim.div_ceil(32)) * 34
            }
        }
    }
}

impl Config {
    /// Bytes of KV that one token takes, over all layers; `None` beyond `u64`.
    pub fn kv_token_bytes(&self, kind: KvKind) -> Option<u64> {
        (kind.row_bytes(self) as u64).checked_mul(self.n_layers as u64)
    }

    /// Bytes of KV that `n_tokens` tokens take, over all layers; `None` beyond `u64`.
    pub fn kv_bytes(&self, kind: KvKind, n_tokens: u64) -> Option<u64> {
        self.kv_token_bytes(kind)?.checked_mul(n_tokens)
    }

    /// Bytes of f32 activations of a step of `n_tokens` tokens, of which `n_absorbed` are in
    /// the absorbed form of attention at a time; `None` beyond `u64`.
    ///
    /// Counts per token: the residual stream, its normed copy and the sum to be added; cosines
    /// and sines; the query latent and the queries; the KV row as projected and as cached; the
    /// heads' outputs; gate and up of the wider of the dense FFN and the shared experts; router
    /// scores; one activation of the expert width per expert used. Per absorbed token and head:
    /// a query and an output in the latent space. Leaves out logits, padding, scratch of the
    /// worker threads and the routes, which are small or depend on the kernels.
    pub fn workspace_bytes(&self, n_tokens: u64, n_absorbed: u64) -> Option<u64> {
        let heads = self.n_heads as u64;
        let product = |a: usize, b: usize| (a as u64).checked_mul(b as u64);
        let shared = product(self.n_shared_experts, self.moe_intermediate_size)?;
        let width = shared.max(self.intermediate_size as u64);
        let token = [
            product(3, self.hidden)?,
            self.qk_rope_head_dim as u64,
            self.q_lora_rank.unwrap_or(0) as u64,
            heads.checked_mul(self.qk_head_dim() as u64)?,
            product(2, self.latent_dim())?,
            heads.checked_mul(self.v_head_dim as u64)?,
            width.checked_mul(2)?,
            self.n_routed_experts as u64,
            product(self.n_experts_used, self.moe_intermediate_size)?,
        ];
        let token = token.into_iter().try_fold(0, u64::checked_add)?;
        let absorbed = heads.checked_mul((self.latent_dim() + self.kv_lora_rank) as u64)?;
        token
            .checked_mul(n_tokens)?
            .checked_add(absorbed.checked_mul(n_absorbed)?)?
            .checked_mul(4)
    }
}
