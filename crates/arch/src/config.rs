//! Hyper-parameters.
use perigee_gguf::Metadata;

use crate::Error;
use crate::keys::Keys;

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

/// Bounds of sizes that no model of the family exceeds; they keep products of them in range.
const MAX_DIM: usize = 1 << 20;
const MAX_HEAD_DIM: usize = 1 << 12;

impl Config {
    /// Reads and range-checks every hyper-parameter.
    ///
    /// # Errors
    /// Another architecture, a missing key, or a value that breaks a rule, each by key and file.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, Error> {
        let architecture = metadata.str("general.architecture")?.unwrap_or("none");
        if architecture != "deepseek2" {
            let (file, found) = (metadata.file().to_owned(), architecture.to_owned());
            return Err(Error::Architecture { file, found });
        }
        let keys = Keys::new(metadata);
        let n_layers = keys.need("block_count", 1, 1024)?;
        let hidden = keys.need("embedding_length", 1, MAX_DIM)?;
        let n_heads = keys.need("attention.head_count", 1, 1024)?;
        check_kv_heads(&keys, n_heads)?;
        let (qk_head_dim, v_head_dim) = head_dims(&keys)?;
        let qk_rope_head_dim = keys.need("rope.dimension_count", 2, MAX_HEAD_DIM)?;
        if !qk_rope_head_dim.is_multiple_of(2) || qk_rope_head_dim >= qk_head_dim {
            let rule = "it must be even and less than the key length";
            return Err(keys.range("rope.dimension_count", &qk_rope_head_dim.to_string(), rule));
        }
        let experts = Experts::read(&keys)?;
        let first_k_dense = keys
            .count("leading_dense_block_count", 0, n_layers)?
            .unwrap_or(0);
        let intermediate_size = keys.need("feed_forward_length", 1, MAX_DIM)?;
        let (yarn, rope_linear_factor) = rope_scaling(&keys)?;
        let config = Self {
            name: metadata
                .str("general.name")?
                .unwrap_or("unnamed")
                .to_owned(),
            n_layers,
            hidden,
            vocab_size: vocab_size(&keys, metadata)?,
            context_length: keys.need("context_length", 1, 1 << 28)?,
            n_heads,
            qk_nope_head_dim: qk_head_dim - qk_rope_head_dim,
            qk_rope_head_dim,
            v_head_dim,
            q_lora_rank: keys
                .count("attention.q_lora_rank", 0, MAX_DIM)?
                .filter(|&rank| rank > 0),
            kv_lora_rank: keys.need("attention.kv_lora_rank", 1, MAX_DIM)?,
            intermediate_size,
            first_k_dense,
            n_routed_experts: experts.n_routed,
            n_experts_used: experts.n_used,
            n_shared_experts: keys.count("expert_shared_count", 0, 64)?.unwrap_or(0),
            moe_intermediate_size: experts.width,
            gating: experts.gating,
            norm_topk: keys.flag("expert_weights_norm")?,
            routed_scale: experts.scale,
            n_group: experts.n_group,
            topk_group: experts.topk_group,
            rms_eps: keys
                .float(
                    "attention.layer_norm_rms_epsilon",
                    "it must be finite and above 0",
                    |eps| eps > 0.0,
                )?
                .ok_or_else(|| keys.missing("attention.layer_norm_rms_epsilon"))?,
            rope_base: keys
                .float(
                    "rope.freq_base",
                    "it must be finite and at least 1",
                    |base| base >= 1.0,
                )?
                .unwrap_or(10_000.0),
            rope_linear_factor,
            yarn,
        };
        // Finite factors may still have a product that is not.
        let scale = config.kq_scale();
        if !(scale.is_finite() && scale > 0.0) {
            let rule = "the softmax scale that follows must be finite and above 0";
            let value = config.yarn.map_or(0.0, |yarn| yarn.log_multiplier);
            return Err(keys.range("rope.scaling.yarn_log_multiplier", &value.to_string(), rule));
        }
        Ok(config)
    }

    /// `qk_nope_head_dim + qk_rope_head_dim` (192).
    pub fn qk_head_dim(&self) -> usize {
        self.qk_nope_head_dim + self.qk_rope_head_dim
    }

    /// `kv_lora_rank + qk_rope_head_dim` (576): one KV row of one layer.
    pub fn latent_dim(&self) -> usize {
        self.kv_lora_rank + self.qk_rope_head_dim
    }

    /// Softmax scale M²/√d_k with YaRN's magnitude M = 1 + L·ln s; d_k is the head's own 192 in
    /// the absorbed form too. Source: DeepSeek-V3's `yarn_get_mscale` with `mscale == mscale_all_dim`.
    pub fn kq_scale(&self) -> f32 {
        let magnitude = self.yarn.map_or(1.0, |yarn| {
            1.0 + f64::from(yarn.log_multiplier) * f64::from(yarn.factor).ln()
        });
        (magnitude * magnitude / (self.qk_head_dim() as f64).sqrt()) as f32
    }

    /// Angular frequency of each rotated pair, `qk_rope_head_dim / 2` values, computed in f64.
    /// Under YaRN fast pairs keep theirs, slow pairs are divided by the factor, those between
    /// are blended (YaRN paper, section 3.2; correction range as in its reference code).
    pub fn rope_frequencies(&self) -> Vec<f32> {
        let (dim, base) = (self.qk_rope_head_dim as f64, f64::from(self.rope_base));
        let plain = |i: usize| base.powf(-2.0 * i as f64 / dim);
        let Some(yarn) = self.yarn else {
            return (0..self.qk_rope_head_dim / 2)
                .map(|i| (plain(i) / f64::from(self.rope_linear_factor)) as f32)
                .collect();
        };
        let correction = |beta: f32| {
            let turns =
                f64::from(yarn.original_context) / (2.0 * std::f64::consts::PI * f64::from(beta));
            dim * turns.ln() / (2.0 * base.ln())
        };
        let low = correction(yarn.beta_fast).floor().max(0.0);
        let high = correction(yarn.beta_slow).ceil().min(dim - 1.0);
        let blend = |i: usize| {
            let ramp = ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
            plain(i) * ((1.0 - ramp) + ramp / f64::from(yarn.factor))
        };
        (0..self.qk_rope_head_dim / 2)
            .map(|i| blend(i) as f32)
            .collect()
    }

    /// Whether layer `layer` has a mixture of experts.
    pub fn is_moe(&self, layer: usize) -> bool {
        layer >= self.first_k_dense && self.n_routed_experts > 0
    }
}

/// `head_count_kv` is 1 in mainline's absorbed layout and the number of heads in the others.
/// Neither is grouped attention; only nonsense is refused.
fn check_kv_heads(keys: &Keys<'_>, n_heads: usize) -> Result<(), Error> {
    let n_kv = keys
        .count("attention.head_count_kv", 1, 1024)?
        .unwrap_or(n_heads);
    if !n_heads.is_multiple_of(n_kv) {
        return Err(keys.range(
            "attention.head_count_kv",
            &n_kv.to_string(),
            "it must divide the head count",
        ));
    }
    Ok(())
}

/// (qk, v) per head. Mainline's absorbed layout gives the sizes of the latent row under the
/// plain names and the real ones as `*_mla`.
fn head_dims(keys: &Keys<'_>) -> Result<(usize, usize), Error> {
    let dim = |mla: &str, plain: &str| match keys.count(mla, 1, MAX_HEAD_DIM)? {
        Some(dim) => Ok(dim),
        None => keys.need(plain, 1, MAX_HEAD_DIM),
    };
    Ok((
        dim("attention.key_length_mla", "attention.key_length")?,
        dim("attention.value_length_mla", "attention.value_length")?,
    ))
}

struct Experts {
    n_routed: usize,
    n_used: usize,
    width: usize,
    gating: Gating,
    scale: f32,
    n_group: usize,
    topk_group: usize,
}

impl Experts {
    fn read(keys: &Keys<'_>) -> Result<Self, Error> {
        let n_routed = keys.count("expert_count", 0, 1024)?.unwrap_or(0);
        let n_used = match n_routed {
            0 => 0,
            _ => keys.need("expert_used_count", 1, n_routed)?,
        };
        let width = match n_routed {
            0 => 0,
            _ => keys.need("expert_feed_forward_length", 1, MAX_DIM)?,
        };
        let gating = match keys.count("expert_gating_func", 0, 2)? {
            Some(2) => Gating::Sigmoid,
            _ => Gating::Softmax,
        };
        // A scale of 0 is how llama.cpp spells "none".
        let scale = keys
            .float("expert_weights_scale", "it must be finite", |_| true)?
            .filter(|&scale| scale != 0.0);
        let n_group = keys
            .count("expert_group_count", 0, 1024)?
            .unwrap_or(1)
            .max(1);
        let topk_group = match n_group {
            // One group is no grouping; converters write 0, 1 or nothing.
            1 => keys.count("expert_group_used_count", 0, 1).map(|_| 1)?,
            _ => keys.need("expert_group_used_count", 1, n_group - 1)?,
        };
        if n_routed > 0 && !n_routed.is_multiple_of(n_group) {
            return Err(keys.range(
                "expert_group_count",
                &n_group.to_string(),
                "it must divide the expert count",
            ));
        }
        if n_routed > 0 && n_used > n_routed / n_group * topk_group {
            let rule = "the groups used hold fewer experts than a token uses";
            return Err(keys.range("expert_group_used_count", &topk_group.to_string(), rule));
        }
        Ok(Self {
            n_routed,
            n_used,
            width,
            gating,
            scale: scale.unwrap_or(1.0),
            n_group,
            topk_group,
        })
    }
}

/// YaRN, and the factor of plain linear scaling (1 = none).
fn rope_scaling(keys: &Keys<'_>) -> Result<(Option<Yarn>, f32), Error> {
    let at_least_1 = |name: &str| {
        keys.float(name, "it must be finite and at least 1", |factor| {
            factor >= 1.0
        })
    };
    let positive =
        |name: &str| keys.float(name, "it must be finite and above 0", |beta| beta > 0.0);
    match keys.text("rope.scaling.type")? {
        None | Some("none" | "") => Ok((None, 1.0)),
        Some("linear") => Ok((None, at_least_1("rope.scaling.factor")?.unwrap_or(1.0))),
        Some("yarn") => {
            let yarn = Yarn {
                factor: at_least_1("rope.scaling.factor")?.unwrap_or(1.0),
                original_context: keys.need("rope.scaling.original_context_length", 1, 1 << 28)?
                    as u32,
                beta_fast: positive("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                log_multiplier: keys
                    .float(
                        "rope.scaling.yarn_log_multiplier",
                        "it must be finite",
                        |_| true,
                    )?
                    .unwrap_or(0.0),
            };
            Ok((Some(yarn), 1.0))
        }
        Some(other) => Err(keys.range("rope.scaling.type", other, "expected none, linear or yarn")),
    }
}

/// The key, or the length of the token list.
fn vocab_size(keys: &Keys<'_>, metadata: &Metadata) -> Result<usize, Error> {
    const MAX: usize = 1 << 21;
    if let Some(size) = keys.count("vocab_size", 1, MAX)? {
        return Ok(size);
    }
    let tokens = metadata
        .byte_strings("tokenizer.ggml.tokens")?
        .map(|tokens| tokens.len());
    tokens
        .filter(|size| (1..=MAX).contains(size))
        .ok_or_else(|| keys.missing("vocab_size"))
}
