//! The members of the family by name: hyper-parameters as published.

use crate::{Config, Gating, Yarn};

/// Every name that [`named`] knows.
pub(crate) const NAMES: [&str; 9] = [
    "kimi-k2",
    "kimi-k2-thinking",
    "kimi-k2.5",
    "kimi-k2.6",
    "deepseek-v3",
    "deepseek-r1",
    "deepseek-v2-lite",
    "moonlight",
    "tiny",
];

/// The shape of that name.
pub(crate) fn named(name: &str) -> Option<Config> {
    let shape = match name {
        "kimi-k2" => kimi_k2(131_072, 32.0),
        // Published with the longer context and factor; epsilon and betas taken to be K2's.
        "kimi-k2-thinking" => kimi_k2(262_144, 64.0),
        "kimi-k2.5" | "kimi-k2.6" => kimi_k2_6(),
        "deepseek-v3" | "deepseek-r1" => deepseek_v3(),
        "deepseek-v2-lite" => deepseek_v2_lite(),
        "moonlight" => moonlight(),
        "tiny" => tiny(),
        _ => return None,
    };
    Some(Config {
        name: name.to_owned(),
        ..shape
    })
}

/// Kimi-K2.5 and K2.6, the shape that the others are described against.
fn kimi_k2_6() -> Config {
    Config {
        name: String::new(),
        n_layers: 61,
        hidden: 7168,
        vocab_size: 163_840,
        context_length: 262_144,
        n_heads: 64,
        qk_nope_head_dim: 128,
        qk_rope_head_dim: 64,
        v_head_dim: 128,
        q_lora_rank: Some(1536),
        kv_lora_rank: 512,
        intermediate_size: 18_432,
        first_k_dense: 1,
        n_routed_experts: 384,
        n_experts_used: 8,
        n_shared_experts: 1,
        moe_intermediate_size: 2048,
        gating: Gating::Sigmoid,
        norm_topk: true,
        routed_scale: 2.827,
        n_group: 1,
        topk_group: 1,
        rms_eps: 1e-5,
        rope_base: 50_000.0,
        rope_linear_factor: 1.0,
        yarn: Some(yarn(64.0, 32.0, 0.1)),
    }
}

/// Kimi-K2-Instruct, whose configuration has `beta_fast` 1.
fn kimi_k2(context_length: usize, factor: f32) -> Config {
    Config {
        context_length,
        rms_eps: 1e-6,
        yarn: Some(yarn(factor, 1.0, 0.1)),
        ..kimi_k2_6()
    }
}

fn deepseek_v3() -> Config {
    Config {
        vocab_size: 129_280,
        context_length: 163_840,
        n_heads: 128,
        first_k_dense: 3,
        n_routed_experts: 256,
        routed_scale: 2.5,
        n_group: 8,
        topk_group: 4,
        rms_eps: 1e-6,
        rope_base: 10_000.0,
        yarn: Some(yarn(40.0, 32.0, 0.1)),
        ..kimi_k2_6()
    }
}

/// 27 layers without q-LoRA; the shape that Moonlight shares.
fn deepseek_v2_lite() -> Config {
    Config {
        n_layers: 27,
        hidden: 2048,
        vocab_size: 102_400,
        context_length: 163_840,
        n_heads: 16,
        q_lora_rank: None,
        intermediate_size: 10_944,
        n_routed_experts: 64,
        n_experts_used: 6,
        n_shared_experts: 2,
        moe_intermediate_size: 1408,
        gating: Gating::Softmax,
        norm_topk: false,
        routed_scale: 1.0,
        rms_eps: 1e-6,
        rope_base: 10_000.0,
        yarn: Some(yarn(40.0, 32.0, 0.0707)),
        ..kimi_k2_6()
    }
}

fn moonlight() -> Config {
    Config {
        vocab_size: 163_840,
        context_length: 8192,
        intermediate_size: 11_264,
        gating: Gating::Sigmoid,
        norm_topk: true,
        routed_scale: 2.446,
        rms_eps: 1e-5,
        rope_base: 50_000.0,
        yarn: None,
        ..deepseek_v2_lite()
    }
}

/// Kimi-shaped and small. All experts are used, so that logits are continuous in the weights;
/// latent, rotated part and heads are of the sizes that other engines accept.
fn tiny() -> Config {
    Config {
        n_layers: 3,
        hidden: 256,
        vocab_size: 1024,
        n_heads: 4,
        q_lora_rank: Some(256),
        intermediate_size: 512,
        n_routed_experts: 8,
        moe_intermediate_size: 256,
        ..kimi_k2_6()
    }
}

fn yarn(factor: f32, beta_fast: f32, log_multiplier: f32) -> Yarn {
    Yarn {
        factor,
        original_context: 4096,
        beta_fast,
        beta_slow: 1.0,
        log_multiplier,
    }
}
