//! Hyper-parameters.
use crate::Error;
use perigee_gguf::Metadata;

/// How router logits become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gating {
    /// softmax over all experts (`expert_gating_func` 1 or absent).
    Softmax,
    /// element-wise sigmoid (2).
    Sigmoid,
}

/// YaRN context extension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// `rope.scaling.factor`, s ≥ 1.
    pub factor: f32,
    /// `rope.scaling.original_context_length`.
    pub original_context: u32,
    /// 32 when absent.
    pub beta_fast: f32,
    /// 1 when absent.
    pub beta_slow: f32,
    /// `rope.scaling.yarn_log_multiplier` as stored; 0 when absent.
    pub log_multiplier: f32,
}

/// The blueprint of a `deepseek2` model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `general.name`, for display.
    pub name: String,
    /// Decoder layers.
    pub n_layers: usize,
    /// `embedding_length`.
    pub hidden: usize,
    /// Rows of `token_embd`.
    pub vocab_size: usize,
    /// Trained context.
    pub context_length: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Per-head dimension of q and k without position (128).
    pub qk_nope_head_dim: usize,
    /// Per-head rotated dimension (64).
    pub qk_rope_head_dim: usize,
    /// Per-head value dimension (128).
    pub v_head_dim: usize,
    /// q latent; `None` for lite models.
    pub q_lora_rank: Option<usize>,
    /// KV latent (512).
    pub kv_lora_rank: usize,
    /// Dense FFN width.
    pub intermediate_size: usize,
    /// Layers with a dense FFN before the first MoE layer.
    pub first_k_dense: usize,
    /// Routed experts (0 for a model that is dense throughout).
    pub n_routed_experts: usize,
    /// Experts per token.
    pub n_experts_used: usize,
    /// Shared experts (their FFN width is `n_shared_experts · moe_intermediate_size`).
    pub n_shared_experts: usize,
    /// Expert FFN width.
    pub moe_intermediate_size: usize,
    /// Router score function.
    pub gating: Gating,
    /// `expert_weights_norm`.
    pub norm_topk: bool,
    /// `expert_weights_scale`, default 1.
    pub routed_scale: f32,
    /// `expert_group_count` (1 = no grouping).
    pub n_group: usize,
    /// `expert_group_used_count`.
    pub topk_group: usize,
    /// RMSNorm epsilon.
    pub rms_eps: f32,
    /// RoPE base.
    pub rope_base: f32,
    /// Linear RoPE scaling factor (1 = none); only without YaRN.
    pub rope_linear_factor: f32,
    /// YaRN, when `rope.scaling.type == "yarn"`.
    pub yarn: Option<Yarn>,
}

impl Config {
    /// Reads and range-checks every hyper-parameter.
    pub fn from_metadata(_metadata: &Metadata) -> Result<Self, Error> { todo!() }
    /// `qk_nope_head_dim + qk_rope_head_dim` (192).
    pub fn qk_head_dim(&self) -> usize { self.qk_nope_head_dim + self.qk_rope_head_dim }
    /// `kv_lora_rank + qk_rope_head_dim` (576): one KV row of one layer.
    pub fn latent_dim(&self) -> usize { self.kv_lora_rank + self.qk_rope_head_dim }
    /// Softmax scale M²/√d_k with the YaRN magnitude M.
    pub fn kq_scale(&self) -> f32 { todo!() }
    /// Angular frequency of each rotated pair, `qk_rope_head_dim / 2` values (f64 arithmetic).
    pub fn rope_frequencies(&self) -> Vec<f32> { todo!() }
    /// Whether layer `n` has a mixture of experts.
    pub fn is_moe(&self, layer: usize) -> bool { layer >= self.first_k_dense && self.n_routed_experts > 0 }
}
