//! A configuration as the metadata that a converter writes: the reverse of `config.rs`.

use perigee_gguf::Value;

use crate::{Config, Gating, KvLayout};

impl Config {
    /// The `general.*` and `deepseek2.*` entries of a file of this configuration, in the order
    /// of the converters. [`Config::from_metadata`] reads an equal configuration from them.
    ///
    /// Files with split `attn_k_b` and `attn_v_b` describe the absorbed form, one KV head of
    /// 576, and give the sizes of a head as `*_mla`; all others describe the expanded form.
    pub fn to_metadata(&self, layout: KvLayout) -> Vec<(String, Value)> {
        let mut list = Entries::default();
        list.general("architecture", Value::from("deepseek2"));
        list.general("type", Value::from("model"));
        list.general("name", Value::from(self.name.as_str()));
        list.general("quantization_version", Value::U32(2));
        list.size("block_count", self.n_layers);
        list.size("context_length", self.context_length);
        list.size("embedding_length", self.hidden);
        list.size("feed_forward_length", self.intermediate_size);
        list.size("vocab_size", self.vocab_size);
        list.size("leading_dense_block_count", self.first_k_dense);
        self.attention(&mut list, layout);
        self.rope(&mut list);
        self.experts(&mut list);
        list.0
    }

    fn attention(&self, list: &mut Entries, layout: KvLayout) {
        list.size("attention.head_count", self.n_heads);
        list.float("attention.layer_norm_rms_epsilon", self.rms_eps);
        if let Some(rank) = self.q_lora_rank {
            list.size("attention.q_lora_rank", rank);
        }
        list.size("attention.kv_lora_rank", self.kv_lora_rank);
        if layout == KvLayout::Split {
            list.size("attention.head_count_kv", 1);
            list.size("attention.key_length", self.latent_dim());
            list.size("attention.value_length", self.kv_lora_rank);
            list.size("attention.key_length_mla", self.qk_head_dim());
            list.size("attention.value_length_mla", self.v_head_dim);
        } else {
            list.size("attention.head_count_kv", self.n_heads);
            list.size("attention.key_length", self.qk_head_dim());
            list.size("attention.value_length", self.v_head_dim);
        }
    }

    fn rope(&self, list: &mut Entries) {
        list.size("rope.dimension_count", self.qk_rope_head_dim);
        list.float("rope.freq_base", self.rope_base);
        if let Some(yarn) = &self.yarn {
            list.add("rope.scaling.type", Value::from("yarn"));
            list.float("rope.scaling.factor", yarn.factor);
            list.add(
                "rope.scaling.original_context_length",
                Value::U32(yarn.original_context),
            );
            list.float("rope.scaling.yarn_log_multiplier", yarn.log_multiplier);
            list.float("rope.scaling.yarn_beta_fast", yarn.beta_fast);
            list.float("rope.scaling.yarn_beta_slow", yarn.beta_slow);
        } else if self.rope_linear_factor != 1.0 {
            list.add("rope.scaling.type", Value::from("linear"));
            list.float("rope.scaling.factor", self.rope_linear_factor);
        }
    }

    fn experts(&self, list: &mut Entries) {
        list.size("expert_count", self.n_routed_experts);
        list.size("expert_used_count", self.n_experts_used);
        list.size("expert_shared_count", self.n_shared_experts);
        list.size("expert_feed_forward_length", self.moe_intermediate_size);
        list.float("expert_weights_scale", self.routed_scale);
        // Converters write the flag only when it is set.
        if self.norm_topk {
            list.add("expert_weights_norm", Value::Bool(true));
        }
        let gating = match self.gating {
            Gating::Softmax => 1,
            Gating::Sigmoid => 2,
        };
        list.add("expert_gating_func", Value::U32(gating));
        list.size("expert_group_count", self.n_group);
        list.size("expert_group_used_count", self.topk_group);
    }
}

#[derive(Default)]
struct Entries(Vec<(String, Value)>);

impl Entries {
    fn general(&mut self, name: &str, value: Value) {
        self.0.push((format!("general.{name}"), value));
    }

    fn add(&mut self, name: &str, value: Value) {
        self.0.push((format!("deepseek2.{name}"), value));
    }

    fn float(&mut self, name: &str, value: f32) {
        self.add(name, Value::F32(value));
    }

    /// As u32, the width of the converters, or wider where that is too narrow.
    fn size(&mut self, name: &str, size: usize) {
        let value = u32::try_from(size).map_or(Value::U64(size as u64), Value::U32);
        self.add(name, value);
    }
}
