//! Named recipes: `kimi-k2.6@IQ3_K:layers=2,vocab=4096`.

use std::str::FromStr;

use perigee_quant::QuantKind;

use crate::shapes;
use crate::{Config, Error, Expected, Gating, KvLayout, Role, expected_tensors};

/// A model shape with a quantisation recipe, described without a file.
///
/// Parsed from `SHAPE@RECIPE` or `SHAPE@RECIPE:KEY=N,…`. Recipes are the names of encodings:
/// floats and Q8_0 hold for every matrix; the others for routed experts, with Q8_0 for the
/// rest. `IQ3_K` has Q4_0 down projections, as published files do, and `Q4_X` is Q4_0 with
/// symmetric codes. Keys: `layers dense hidden vocab ctx heads q_lora ffn experts used
/// expert_ffn`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The shape.
    pub config: Config,
    /// Type of routed gate and up.
    pub gate_up: QuantKind,
    /// Type of routed down.
    pub down: QuantKind,
    /// Type of the other matrices.
    pub rest: QuantKind,
    /// Q4_0 rows take their scale from the largest magnitude over 7 (codes 1 to 15), which
    /// stores 4-bit checkpoints without loss. The bytes are ordinary Q4_0.
    pub symmetric_q4_0: bool,
}

impl ModelSpec {
    /// Every tensor of a file of this recipe with its encoding: separate gate and up, a head of
    /// its own, a selection bias if the router is a sigmoid.
    pub fn tensors(&self, layout: KvLayout) -> Vec<(Expected, QuantKind)> {
        let selection_bias = self.config.gating == Gating::Sigmoid;
        expected_tensors(&self.config, layout, false, false, selection_bias)
            .into_iter()
            .map(|tensor| {
                let kind = self.kind(&tensor);
                (tensor, kind)
            })
            .collect()
    }

    /// Bytes of all tensors, without header and padding. `None` if a row is no whole number of
    /// blocks or the sum is beyond `u64`.
    pub fn weight_bytes(&self, layout: KvLayout) -> Option<u64> {
        self.tensors(layout)
            .iter()
            .try_fold(0_u64, |sum, (tensor, kind)| {
                sum.checked_add(tensor_bytes(tensor, *kind)?)
            })
    }

    /// The encoding of one tensor. Norms, router and selection bias are F32 in every file.
    fn kind(&self, tensor: &Expected) -> QuantKind {
        match tensor.role {
            Role::Norm | Role::Router => QuantKind::F32,
            Role::RoutedExperts if tensor.name.contains("_down_") => self.down,
            Role::RoutedExperts => self.gate_up,
            _ => self.rest,
        }
    }

    /// Rows of whole blocks in all layouts.
    fn check_rows(&self) -> Result<(), String> {
        for (tensor, kind) in self.tensors(KvLayout::Both) {
            if tensor_bytes(&tensor, kind).is_none() {
                let (row_len, name) = (tensor.shapes[0][0], kind.name());
                return Err(format!(
                    "tensor {}: rows of {row_len} weights are no whole number of {name} blocks of {}",
                    tensor.name,
                    kind.block_len()
                ));
            }
        }
        Ok(())
    }
}

/// `None` where a row is no whole number of blocks or the size overflows.
fn tensor_bytes(tensor: &Expected, kind: QuantKind) -> Option<u64> {
    // The forms of a tensor differ in how rows are stacked, not in rows or their length.
    let (row_len, dims) = tensor.shapes.first()?.split_first()?;
    let row_bytes = kind.row_bytes(usize::try_from(*row_len).ok()?)? as u64;
    dims.iter()
        .try_fold(row_bytes, |bytes, &n| bytes.checked_mul(n))
}

impl FromStr for ModelSpec {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        parse(spec).map_err(|problem| Error::Spec {
            spec: spec.to_owned(),
            problem,
        })
    }
}

fn parse(spec: &str) -> Result<ModelSpec, String> {
    let (model, overrides) = match spec.split_once(':') {
        Some((model, overrides)) => (model, Some(overrides)),
        None => (spec, None),
    };
    let (shape, recipe) = model
        .split_once('@')
        .ok_or("no recipe; write SHAPE@RECIPE, for example kimi-k2.6@IQ3_K")?;
    let config = shapes::named(shape).ok_or_else(|| {
        let known = shapes::NAMES.join(", ");
        format!("unknown shape {shape:?} (known: {known})")
    })?;
    let mut spec = with_recipe(config, recipe)?;
    if let Some(overrides) = overrides {
        change(&mut spec.config, overrides)?;
    }
    check_experts(&spec.config)?;
    spec.check_rows()?;
    Ok(spec)
}

fn with_recipe(config: Config, recipe: &str) -> Result<ModelSpec, String> {
    let symmetric_q4_0 = recipe.eq_ignore_ascii_case("Q4_X");
    let named = if symmetric_q4_0 { "Q4_0" } else { recipe };
    let kind = QuantKind::from_name(named).ok_or_else(|| {
        let known: Vec<&str> = QuantKind::ALL.iter().map(|kind| kind.name()).collect();
        let known = known.join(", ");
        format!("unknown recipe {recipe:?} (known: {known}, Q4_X)")
    })?;
    let down = match kind {
        QuantKind::Iq3K => QuantKind::Q4_0,
        _ => kind,
    };
    let rest = match kind {
        QuantKind::F32 | QuantKind::F16 | QuantKind::Bf16 => kind,
        _ => QuantKind::Q8_0,
    };
    Ok(ModelSpec {
        config,
        gate_up: kind,
        down,
        rest,
        symmetric_q4_0,
    })
}

/// Applies `KEY=N,…`. Counts that a smaller model bounds follow it unless they are named too.
fn change(config: &mut Config, overrides: &str) -> Result<(), String> {
    let mut named = Vec::new();
    for item in overrides.split(',') {
        let (key, text) = item
            .split_once('=')
            .ok_or_else(|| format!("{item:?} is not KEY=N"))?;
        if named.contains(&key) {
            return Err(format!("{key} occurs twice"));
        }
        let value = text
            .parse()
            .map_err(|_| format!("{key}={text:?} is not a number"))?;
        set(config, key, value)?;
        named.push(key);
    }
    if !named.contains(&"dense") {
        config.first_k_dense = config.first_k_dense.min(config.n_layers);
    }
    if named.contains(&"experts") && !named.contains(&"used") {
        config.n_experts_used = config.n_experts_used.min(config.n_routed_experts);
    }
    Ok(())
}

fn set(config: &mut Config, key: &str, value: usize) -> Result<(), String> {
    // The ranges are those of `Config::from_metadata`.
    let (field, low, high) = match key {
        "layers" => (&mut config.n_layers, 1, 1024),
        "dense" => (&mut config.first_k_dense, 0, 1024),
        "hidden" => (&mut config.hidden, 1, 1 << 20),
        "vocab" => (&mut config.vocab_size, 1, 1 << 21),
        "ctx" => (&mut config.context_length, 1, 1 << 28),
        "heads" => (&mut config.n_heads, 1, 1024),
        "ffn" => (&mut config.intermediate_size, 1, 1 << 20),
        "experts" => (&mut config.n_routed_experts, 1, 1024),
        "used" => (&mut config.n_experts_used, 1, 1024),
        "expert_ffn" => (&mut config.moe_intermediate_size, 1, 1 << 20),
        "q_lora" => {
            let rank = config.q_lora_rank.as_mut();
            (rank.ok_or("q_lora: this shape has no q-LoRA")?, 1, 1 << 20)
        }
        _ => return Err(format!("unknown key {key:?}")),
    };
    if !(low..=high).contains(&value) {
        return Err(format!("{key}={value} is not in {low}..={high}"));
    }
    *field = value;
    Ok(())
}

fn check_experts(config: &Config) -> Result<(), String> {
    if config.first_k_dense > config.n_layers {
        let (dense, layers) = (config.first_k_dense, config.n_layers);
        return Err(format!("{dense} dense layers of {layers}"));
    }
    let (n, groups) = (config.n_routed_experts, config.n_group);
    if !n.is_multiple_of(groups) {
        return Err(format!("{n} experts in {groups} groups"));
    }
    let available = n / groups * config.topk_group;
    if config.n_experts_used > available {
        let used = config.n_experts_used;
        return Err(format!("{used} experts used, but {available} can be"));
    }
    Ok(())
}
