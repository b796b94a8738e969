//! Which tensors of a checkpoint become which tensor of the file.

use perigee_arch::{Expected, Role};

/// The text model's prefix in checkpoints of models that see images.
const TEXT_PREFIX: &str = "language_model.";

/// What a tensor of the file is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// One tensor, as it is.
    Whole(String),
    /// The key rows of `kv_b_proj`, transposed within each head.
    KeyHeads(String),
    /// The value rows of `kv_b_proj`.
    ValueHeads(String),
    /// One matrix of each expert `MODULE.N.PROJECTION`, stacked.
    Experts {
        module: String,
        projection: &'static str,
    },
}

/// The prefix of a checkpoint's text model, given its names.
pub(crate) fn text_prefix<'a>(mut names: impl Iterator<Item = &'a str>) -> &'static str {
    if names.any(|name| name.starts_with(TEXT_PREFIX)) {
        TEXT_PREFIX
    } else {
        ""
    }
}

/// Where a tensor of the split layout comes from; `None` for a name of no such tensor.
pub(crate) fn source(prefix: &str, expected: &Expected) -> Option<Source> {
    let Some(layer) = expected.layer else {
        let name = match expected.role {
            Role::Embedding => "model.embed_tokens.weight",
            Role::Norm => "model.norm.weight",
            Role::Head => "lm_head.weight",
            _ => return None,
        };
        return Some(Source::Whole(format!("{prefix}{name}")));
    };
    let layer_prefix = format!("{prefix}model.layers.{layer}.");
    let part = expected.name.strip_prefix(&format!("blk.{layer}."))?;
    let whole = |name: &str| Some(Source::Whole(format!("{layer_prefix}{name}")));
    let experts = |projection| {
        Some(Source::Experts {
            module: format!("{layer_prefix}mlp.experts"),
            projection,
        })
    };
    let kv_b = || format!("{layer_prefix}self_attn.kv_b_proj.weight");
    match part {
        "attn_norm.weight" => whole("input_layernorm.weight"),
        "attn_q.weight" => whole("self_attn.q_proj.weight"),
        "attn_q_a.weight" => whole("self_attn.q_a_proj.weight"),
        "attn_q_a_norm.weight" => whole("self_attn.q_a_layernorm.weight"),
        "attn_q_b.weight" => whole("self_attn.q_b_proj.weight"),
        "attn_kv_a_mqa.weight" => whole("self_attn.kv_a_proj_with_mqa.weight"),
        "attn_kv_a_norm.weight" => whole("self_attn.kv_a_layernorm.weight"),
        "attn_k_b.weight" => Some(Source::KeyHeads(kv_b())),
        "attn_v_b.weight" => Some(Source::ValueHeads(kv_b())),
        "attn_output.weight" => whole("self_attn.o_proj.weight"),
        "ffn_norm.weight" => whole("post_attention_layernorm.weight"),
        "ffn_gate.weight" => whole("mlp.gate_proj.weight"),
        "ffn_up.weight" => whole("mlp.up_proj.weight"),
        "ffn_down.weight" => whole("mlp.down_proj.weight"),
        "ffn_gate_inp.weight" => whole("mlp.gate.weight"),
        "exp_probs_b.bias" => whole("mlp.gate.e_score_correction_bias"),
        "ffn_gate_exps.weight" => experts("gate_proj"),
        "ffn_up_exps.weight" => experts("up_proj"),
        "ffn_down_exps.weight" => experts("down_proj"),
        "ffn_gate_shexp.weight" => whole("mlp.shared_experts.gate_proj.weight"),
        "ffn_up_shexp.weight" => whole("mlp.shared_experts.up_proj.weight"),
        "ffn_down_shexp.weight" => whole("mlp.shared_experts.down_proj.weight"),
        _ => None,
    }
}

/// Why a tensor of the checkpoint has no place in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leftover {
    /// Not of the text model: a part of that name.
    OtherPart(String),
    /// A layer after the last: a draft layer that predicts further tokens.
    DraftLayer(usize),
    /// The head of a model whose head is its embedding.
    TiedHead,
    /// Computed from the hyper-parameters.
    Frequencies,
    /// A weight of the model that this program does not know.
    Unknown,
}

/// Classifies a tensor that nothing in the file is made of.
pub(crate) fn leftover(prefix: &str, n_layers: usize, tied_head: bool, name: &str) -> Leftover {
    let Some(text) = name.strip_prefix(prefix) else {
        let part = name.split('.').next().unwrap_or(name);
        return Leftover::OtherPart(part.to_owned());
    };
    let layer = text
        .strip_prefix("model.layers.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|layer| layer.parse().ok());
    match layer {
        Some(layer) if layer >= n_layers => Leftover::DraftLayer(layer),
        _ if text.ends_with(".rotary_emb.inv_freq") => Leftover::Frequencies,
        None if tied_head && text == "lm_head.weight" => Leftover::TiedHead,
        _ => Leftover::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use perigee_arch::{KvLayout, expected_tensors};

    use super::*;

    #[test]
    fn every_tensor_of_every_shape_has_a_source() {
        for config in perigee_testkit::shapes::all() {
            for expected in expected_tensors(&config, KvLayout::Split, false, false, true) {
                assert!(source("", &expected).is_some(), "{}", expected.name);
            }
        }
    }

    #[test]
    fn leftovers_are_told_apart() {
        let kind = |name| leftover(TEXT_PREFIX, 3, true, name);
        let vision = Leftover::OtherPart("vision_tower".to_owned());
        assert_eq!(kind("vision_tower.encoder.x.weight"), vision);
        let draft = "language_model.model.layers.3.eh_proj.weight";
        assert_eq!(kind(draft), Leftover::DraftLayer(3));
        assert_eq!(kind("language_model.lm_head.weight"), Leftover::TiedHead);
        let frequencies = "language_model.model.layers.2.self_attn.rotary_emb.inv_freq";
        assert_eq!(kind(frequencies), Leftover::Frequencies);
        let unknown = "language_model.model.layers.2.self_attn.q_proj.bias";
        assert_eq!(kind(unknown), Leftover::Unknown);
    }
}
