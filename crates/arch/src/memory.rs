//! Byte formulas.
use crate::Config;

/// Element type of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KvKind { F16, Q8_0 }

impl KvKind {
    /// Bytes of one latent row (`[c̃ | k_pe]`, one token, one layer).
    pub fn row_bytes(self, config: &Config) -> usize {
        match self { Self::F16 => config.latent_dim() * 2, Self::Q8_0 => (config.kv_lora_rank.div_ceil(32) + config.qk_rope_head_dim.div_ceil(32)) * 34 }
    }
}
