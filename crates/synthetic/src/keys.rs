//! The `deepseek2.*` and `general.*` metadata, as the converters write it.

use perigee_arch::{Config, Gating, KvLayout};
use perigee_gguf::Value;

/// Every key that either engine or this project reads, but those of the vocabulary.
///
/// The converters of llama.cpp describe the absorbed form (one KV head of 576), those
/// of ik_llama.cpp and all older ones the expanded form; the layout says which.
///
/// # Panics
/// When a size of the configuration is beyond `u32`.
pub fn keys(config: &Config, layout: KvLayout) -> Vec<(String, Value)> {
    let text = |s: &str| Value::Str(s.as_bytes().to_vec());
    let mut entries = vec![
        ("general.architecture".to_owned(), text("deepseek2")),
        ("general.type".to_owned(), text("model")),
        ("general.name".to_owned(), text(&config.name)),
        ("general.quantization_version".to_owned(), Value::U32(2)),
    ];

    let mut key = |name: &str, value: Value| {
        entries.push((format!("deepseek2.{name}"), value));
    };
    let int = |n: usize| Value::U32(u32::try_from(n).expect("sizes of a model fit u32"));
    let c = config;
    key("block_count", int(c.n_layers));
    key("context_length", int(c.context_length));
    key("embedding_length", int(c.hidden));
    key("feed_forward_length", int(c.intermediate_size));
    key("vocab_size", int(c.vocab_size));
    key("leading_dense_block_count", int(c.first_k_dense));

    key("attention.head_count", int(c.n_heads));
    key("attention.layer_norm_rms_epsilon", Value::F32(c.rms_eps));
    if let Some(rank) = c.q_lora_rank {
        key("attention.q_lora_rank", int(rank));
    }
    key("attention.kv_lora_rank", int(c.kv_lora_rank));
    if layout == KvLayout::Split {
        key("attention.head_count_kv", int(1));
        key("attention.key_length", int(c.latent_dim()));
        key("attention.value_length", int(c.kv_lora_rank));
        key("attention.key_length_mla", int(c.qk_head_dim()));
        key("attention.value_length_mla", int(c.v_head_dim));
    } else {
        key("attention.head_count_kv", int(c.n_heads));
        key("attention.key_length", int(c.qk_head_dim()));
        key("attention.value_length", int(c.v_head_dim));
    }

    key("rope.dimension_count", int(c.qk_rope_head_dim));
    key("rope.freq_base", Value::F32(c.rope_base));
    if let Some(yarn) = &c.yarn {
        key("rope.scaling.type", text("yarn"));
        key("rope.scaling.factor", Value::F32(yarn.factor));
        key(
            "rope.scaling.original_context_length",
            Value::U32(yarn.original_context),
        );
        key(
            "rope.scaling.yarn_log_multiplier",
            Value::F32(yarn.log_multiplier),
        );
        key("rope.scaling.yarn_beta_fast", Value::F32(yarn.beta_fast));
        key("rope.scaling.yarn_beta_slow", Value::F32(yarn.beta_slow));
    } else if c.rope_linear_factor != 1.0 {
        key("rope.scaling.type", text("linear"));
        key("rope.scaling.factor", Value::F32(c.rope_linear_factor));
    }

    key("expert_count", int(c.n_routed_experts));
    key("expert_used_count", int(c.n_experts_used));
    key("expert_shared_count", int(c.n_shared_experts));
    key("expert_feed_forward_length", int(c.moe_intermediate_size));
    key("expert_weights_scale", Value::F32(c.routed_scale));
    if c.norm_topk {
        key("expert_weights_norm", Value::Bool(true));
    }
    let gating = match c.gating {
        Gating::Softmax => 1,
        Gating::Sigmoid => 2,
    };
    key("expert_gating_func", Value::U32(gating));
    key("expert_group_count", int(c.n_group));
    key("expert_group_used_count", int(c.topk_group));
    entries
}
