//! The tensor list: which names with which shapes.
use std::collections::HashSet;

use perigee_gguf::Gguf;
use perigee_quant::QuantKind;

use crate::{Config, Error, vocabulary};

/// What a tensor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the parts of the network")]
pub enum Role {
    Embedding,
    Head,
    Norm,
    Attention,
    DenseFfn,
    Router,
    SharedExpert,
    RoutedExperts,
}

/// Which tensors carry the latent's up-projection (`model.md` layouts A, B, C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvLayout {
    /// `attn_k_b` + `attn_v_b` only (3-D, or 2-D).
    Split,
    /// `attn_kv_b` only.
    Joined,
    /// All three.
    Both,
}

/// One tensor that a file of this configuration must or may hold.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Full name.
    pub name: String,
    /// Accepted shapes in ggml order (several where a 2-D and a 3-D form are equivalent).
    pub shapes: Vec<Vec<u64>>,
    /// What it does.
    pub role: Role,
    /// Decoder layer, if any.
    pub layer: Option<usize>,
}

/// A file that has passed: what it holds, in which layout.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Every tensor that the model uses, with its role; present in the file with a checked shape.
    pub tensors: Vec<Expected>,
    /// Layout of the latent up-projection (the same for all layers).
    pub kv_layout: KvLayout,
    /// `ffn_gate_up_exps` instead of gate and up.
    pub merged_gate_up: bool,
    /// No `output.weight`: the head is `token_embd`.
    pub tied_head: bool,
    /// Whether `exp_probs_b.bias` is present.
    pub selection_bias: bool,
    /// Names in the file that the model does not use.
    pub ignored: Vec<String>,
}

/// The tensors that a file with this configuration holds in the given form (what a writer must write).
pub fn expected_tensors(
    config: &Config,
    layout: KvLayout,
    merged_gate_up: bool,
    tied_head: bool,
    selection_bias: bool,
) -> Vec<Expected> {
    let (hidden, vocab) = (config.hidden as u64, config.vocab_size as u64);
    let mut list = List::default();
    list.add("token_embd.weight", Role::Embedding, &[hidden, vocab]);
    for layer in 0..config.n_layers {
        list.layer = Some(layer);
        attention(&mut list, config, layout);
        list.add("ffn_norm.weight", Role::Norm, &[hidden]);
        if config.is_moe(layer) {
            experts(&mut list, config, merged_gate_up, selection_bias);
        } else {
            let width = config.intermediate_size as u64;
            list.add("ffn_gate.weight", Role::DenseFfn, &[hidden, width]);
            list.add("ffn_up.weight", Role::DenseFfn, &[hidden, width]);
            list.add("ffn_down.weight", Role::DenseFfn, &[width, hidden]);
        }
    }
    list.layer = None;
    list.add("output_norm.weight", Role::Norm, &[hidden]);
    if !tied_head {
        list.add("output.weight", Role::Head, &[hidden, vocab]);
    }
    list.tensors
}

#[derive(Default)]
struct List {
    tensors: Vec<Expected>,
    layer: Option<usize>,
}

impl List {
    fn add(&mut self, name: &str, role: Role, shape: &[u64]) {
        self.add_either(name, role, vec![shape.to_vec()]);
    }

    fn add_either(&mut self, name: &str, role: Role, shapes: Vec<Vec<u64>>) {
        let name = self
            .layer
            .map_or_else(|| name.to_owned(), |layer| format!("blk.{layer}.{name}"));
        self.tensors.push(Expected {
            name,
            shapes,
            role,
            layer: self.layer,
        });
    }
}

fn attention(list: &mut List, config: &Config, layout: KvLayout) {
    let dim = |n: usize| n as u64;
    let (hidden, heads, rank) = (
        dim(config.hidden),
        dim(config.n_heads),
        dim(config.kv_lora_rank),
    );
    let (nope, value) = (dim(config.qk_nope_head_dim), dim(config.v_head_dim));
    let query = heads * dim(config.qk_head_dim());
    list.add("attn_norm.weight", Role::Norm, &[hidden]);
    match config.q_lora_rank {
        Some(q_rank) => {
            list.add("attn_q_a.weight", Role::Attention, &[hidden, dim(q_rank)]);
            list.add("attn_q_a_norm.weight", Role::Norm, &[dim(q_rank)]);
            list.add("attn_q_b.weight", Role::Attention, &[dim(q_rank), query]);
        }
        None => list.add("attn_q.weight", Role::Attention, &[hidden, query]),
    }
    list.add(
        "attn_kv_a_mqa.weight",
        Role::Attention,
        &[hidden, dim(config.latent_dim())],
    );
    list.add("attn_kv_a_norm.weight", Role::Norm, &[rank]);
    if layout != KvLayout::Split {
        list.add(
            "attn_kv_b.weight",
            Role::Attention,
            &[rank, heads * (nope + value)],
        );
    }
    if layout != KvLayout::Joined {
        // The 2-D forms hold the same bytes, heads stacked.
        list.add_either(
            "attn_k_b.weight",
            Role::Attention,
            vec![vec![nope, rank, heads], vec![nope, rank * heads]],
        );
        list.add_either(
            "attn_v_b.weight",
            Role::Attention,
            vec![vec![rank, value, heads], vec![rank, value * heads]],
        );
    }
    list.add(
        "attn_output.weight",
        Role::Attention,
        &[heads * value, hidden],
    );
}

fn experts(list: &mut List, config: &Config, merged_gate_up: bool, selection_bias: bool) {
    let (hidden, n, width) = (
        config.hidden as u64,
        config.n_routed_experts as u64,
        config.moe_intermediate_size as u64,
    );
    list.add("ffn_gate_inp.weight", Role::Router, &[hidden, n]);
    if selection_bias {
        list.add("exp_probs_b.bias", Role::Router, &[n]);
    }
    if merged_gate_up {
        list.add(
            "ffn_gate_up_exps.weight",
            Role::RoutedExperts,
            &[hidden, 2 * width, n],
        );
    } else {
        list.add(
            "ffn_gate_exps.weight",
            Role::RoutedExperts,
            &[hidden, width, n],
        );
        list.add(
            "ffn_up_exps.weight",
            Role::RoutedExperts,
            &[hidden, width, n],
        );
    }
    list.add(
        "ffn_down_exps.weight",
        Role::RoutedExperts,
        &[width, hidden, n],
    );
    if config.n_shared_experts > 0 {
        let shared = width * config.n_shared_experts as u64;
        list.add(
            "ffn_gate_shexp.weight",
            Role::SharedExpert,
            &[hidden, shared],
        );
        list.add("ffn_up_shexp.weight", Role::SharedExpert, &[hidden, shared]);
        list.add(
            "ffn_down_shexp.weight",
            Role::SharedExpert,
            &[shared, hidden],
        );
    }
}

/// Checks names, shapes and vocabulary of a file against its configuration.
///
/// # Errors
/// The first tensor that is missing or has another shape, by file, tensor and shape.
pub fn inventory(gguf: &Gguf, config: &Config) -> Result<Inventory, Error> {
    let has = |name: &str| gguf.tensor(name).is_some();
    let kv_layout = match (
        has("blk.0.attn_kv_b.weight"),
        has("blk.0.attn_k_b.weight") && has("blk.0.attn_v_b.weight"),
    ) {
        (true, true) => KvLayout::Both,
        (true, false) => KvLayout::Joined,
        // A file with neither is reported by the first tensor of the layout that it should have.
        (false, _) => KvLayout::Split,
    };
    let moe = (0..config.n_layers).find(|&layer| config.is_moe(layer));
    let in_moe = |name: &str| moe.is_some_and(|layer| has(&format!("blk.{layer}.{name}")));
    let merged_gate_up = in_moe("ffn_gate_up_exps.weight");
    let selection_bias = in_moe("exp_probs_b.bias");
    let tied_head = !has("output.weight");
    let tensors = expected_tensors(config, kv_layout, merged_gate_up, tied_head, selection_bias);
    for expected in &tensors {
        check(gguf, expected)?;
    }
    vocabulary::check(gguf.metadata(), config)?;
    let known: HashSet<&str> = tensors
        .iter()
        .map(|expected| expected.name.as_str())
        .collect();
    let ignored = gguf
        .tensors()
        .iter()
        .filter(|tensor| !known.contains(tensor.name.as_str()));
    let ignored = ignored.map(|tensor| tensor.name.clone()).collect();
    Ok(Inventory {
        tensors,
        kv_layout,
        merged_gate_up,
        tied_head,
        selection_bias,
        ignored,
    })
}

fn check(gguf: &Gguf, expected: &Expected) -> Result<(), Error> {
    let file = || gguf.metadata().file().to_owned();
    let Some(tensor) = gguf.tensor(&expected.name) else {
        return Err(Error::MissingTensor {
            file: file(),
            tensor: expected.name.clone(),
        });
    };
    // Trailing dimensions of 1 carry no meaning.
    let significant = |shape: &[u64]| {
        shape
            .iter()
            .rposition(|&n| n != 1)
            .map_or(0, |last| last + 1)
    };
    let same = |shape: &Vec<u64>| {
        tensor.shape[..significant(&tensor.shape)] == shape[..significant(shape)]
    };
    if !expected.shapes.iter().any(same) {
        let shapes: Vec<String> = expected
            .shapes
            .iter()
            .map(|shape| format!("{shape:?}"))
            .collect();
        let (tensor, found) = (expected.name.clone(), tensor.shape.clone());
        return Err(Error::Shape {
            file: file(),
            tensor,
            found,
            expected: shapes.join(" or "),
        });
    }
    let vector = matches!(expected.role, Role::Norm) || expected.name.ends_with(".bias");
    if vector && tensor.kind != QuantKind::F32 {
        return Err(Error::NotF32 {
            file: file(),
            tensor: expected.name.clone(),
            found: tensor.kind.name(),
        });
    }
    Ok(())
}
