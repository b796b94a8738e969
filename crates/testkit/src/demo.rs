//! The stand-in for a trained demonstration model.

use crate::{Kinds, Synthetic};
use perigee_arch::{Config, Gating, Yarn};
use perigee_quant::QuantKind;

/// A Kimi-shaped random model of less than 3 MB, as `crates/demo` embeds it: one dense
/// and one MoE layer, four of eight experts, IQ3_K gate and up, Q4_0 down, Q8_0 for the
/// rest. It exercises every part of the program; its words are noise, as its name says.
pub fn demo_gguf() -> Synthetic {
    let config = Config {
        name: "perigee-demo (random weights)".to_owned(),
        n_layers: 2,
        hidden: 256,
        vocab_size: 1024,
        context_length: 8192,
        n_heads: 4,
        qk_nope_head_dim: 64,
        qk_rope_head_dim: 64,
        v_head_dim: 64,
        q_lora_rank: Some(128),
        kv_lora_rank: 512,
        intermediate_size: 256,
        first_k_dense: 1,
        n_routed_experts: 8,
        n_experts_used: 4,
        n_shared_experts: 1,
        moe_intermediate_size: 192,
        gating: Gating::Sigmoid,
        norm_topk: true,
        routed_scale: 2.827,
        n_group: 1,
        topk_group: 1,
        rms_eps: 1e-5,
        rope_base: 50_000.0,
        rope_linear_factor: 1.0,
        yarn: Some(Yarn {
            factor: 2.0,
            original_context: 4096,
            beta_fast: 32.0,
            beta_slow: 1.0,
            log_multiplier: 0.1,
        }),
    };
    Synthetic::new(config).seed(2026).kinds(Kinds::recipe(
        QuantKind::Iq3K,
        QuantKind::Q4_0,
        QuantKind::Q8_0,
    ))
}
