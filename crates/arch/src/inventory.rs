//! The tensor list: which names with which shapes.
use crate::{Config, Error};
use perigee_gguf::Gguf;

/// What a tensor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Role { Embedding, Head, Norm, Attention, DenseFfn, Router, SharedExpert, RoutedExperts }

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
pub fn expected_tensors(_config: &Config, _layout: KvLayout, _merged_gate_up: bool, _tied_head: bool, _selection_bias: bool) -> Vec<Expected> { todo!() }

/// Checks names, shapes and vocabulary of a file against its configuration.
pub fn inventory(_gguf: &Gguf, _config: &Config) -> Result<Inventory, Error> { todo!() }
