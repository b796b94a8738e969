//! Small models with the proportions of the family's members.
//!
//! The latent (512), the rotated part (64) and a multiple of four heads are kept at
//! full size: other engines accept nothing else. Everything else is small.

use perigee_arch::{Config, Gating, Yarn};

/// Kimi-K2.6: q-LoRA, one dense layer and two MoE layers, sigmoid router with
/// normalised weights, YaRN × 64. All eight experts are used by every token, so that a
/// rounding cannot flip the selection and logits are continuous in the weights.
pub fn kimi() -> Config {
    Config {
        name: "tiny-kimi".to_owned(),
        n_layers: 3,
        hidden: 256,
        vocab_size: 512,
        context_length: 262_144,
        n_heads: 4,
        qk_nope_head_dim: 128,
        qk_rope_head_dim: 64,
        v_head_dim: 128,
        q_lora_rank: Some(256),
        kv_lora_rank: 512,
        intermediate_size: 512,
        first_k_dense: 1,
        n_routed_experts: 8,
        n_experts_used: 8,
        n_shared_experts: 1,
        moe_intermediate_size: 256,
        gating: Gating::Sigmoid,
        norm_topk: true,
        routed_scale: 2.827,
        n_group: 1,
        topk_group: 1,
        rms_eps: 1e-5,
        rope_base: 50_000.0,
        rope_linear_factor: 1.0,
        yarn: Some(yarn(64.0, 0.1)),
    }
}

/// [`kimi`] with a real selection: four of eight experts.
pub fn kimi_top4() -> Config {
    Config {
        name: "tiny-kimi-top4".to_owned(),
        n_experts_used: 4,
        ..kimi()
    }
}

/// DeepSeek-V3/R1: base 10000, YaRN × 40, four groups of experts of which two are kept.
pub fn deepseek_v3() -> Config {
    Config {
        name: "tiny-deepseek-v3".to_owned(),
        context_length: 163_840,
        n_experts_used: 3,
        routed_scale: 2.5,
        n_group: 4,
        topk_group: 2,
        rms_eps: 1e-6,
        rope_base: 10_000.0,
        yarn: Some(yarn(40.0, 0.1)),
        ..kimi()
    }
}

/// DeepSeek-V2-Lite: no q-LoRA, softmax router without normalisation, two shared
/// experts, YaRN × 40 with a log multiplier of 0.0707.
pub fn deepseek_v2_lite() -> Config {
    Config {
        name: "tiny-deepseek-v2-lite".to_owned(),
        context_length: 163_840,
        q_lora_rank: None,
        n_experts_used: 3,
        n_shared_experts: 2,
        moe_intermediate_size: 128,
        gating: Gating::Softmax,
        norm_topk: false,
        routed_scale: 1.0,
        rms_eps: 1e-6,
        rope_base: 10_000.0,
        yarn: Some(yarn(40.0, 0.0707)),
        ..kimi()
    }
}

/// Moonlight-16B-A3B: no q-LoRA, no YaRN, sigmoid router, two shared experts.
pub fn moonlight() -> Config {
    Config {
        name: "tiny-moonlight".to_owned(),
        context_length: 8_192,
        q_lora_rank: None,
        n_experts_used: 3,
        n_shared_experts: 2,
        moe_intermediate_size: 128,
        routed_scale: 2.446,
        yarn: None,
        ..kimi()
    }
}

/// Every shape of this module.
pub fn all() -> Vec<Config> {
    vec![
        kimi(),
        kimi_top4(),
        deepseek_v3(),
        deepseek_v2_lite(),
        moonlight(),
    ]
}

fn yarn(factor: f32, log_multiplier: f32) -> Yarn {
    Yarn {
        factor,
        original_context: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
        log_multiplier,
    }
}
