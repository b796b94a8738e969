//! The tensors of the network by their names in the file, with their shapes.

use std::sync::Arc;

use perigee_arch::{Config, Inventory, KvLayout};
use perigee_cpu::{ExpertGroups, Experts, KeyUp, Stack};
use perigee_gguf::{Gguf, Tensor};

use crate::linear::{Linear, LinearShape};
use crate::workspace::FfnBuffers;
use crate::{LoadError, Observer};

/// All weights.
pub(super) struct Weights {
    /// `[hidden]` per token.
    pub(super) token_embd: Linear,
    pub(super) layers: Vec<Layer>,
    /// `[hidden]`.
    pub(super) output_norm: Vec<f32>,
    /// `[hidden → vocab_size]`; `None` when the embedding serves as head.
    output: Option<Linear>,
}

impl Weights {
    /// `[hidden → vocab_size]`.
    pub(super) fn head(&self) -> &Linear {
        self.output.as_ref().unwrap_or(&self.token_embd)
    }
}

impl Weights {
    /// The weights that activations are multiplied with.
    pub(super) fn multiplied(&mut self) -> Vec<&mut Linear> {
        let mut linears = Vec::new();
        for layer in &mut self.layers {
            let attention = &mut layer.attention;
            match &mut attention.query {
                Query::Lora { q_a, q_b, .. } => linears.extend([q_a, q_b]),
                Query::Direct(direct) => linears.push(direct),
            }
            linears.push(&mut attention.kv_a);
            // The joined form is read transposed, which packed rows are not made for.
            if let KvUp::Split { k_b, v_b } = &mut attention.kv_up {
                linears.extend([k_b, v_b]);
            }
            linears.push(&mut attention.output);
            match &mut layer.ffn {
                FeedForward::Dense(dense) => linears.extend(dense.linears()),
                FeedForward::Moe(moe) => linears.extend(moe.linears()),
            }
        }
        // An embedding that serves as head too is read row by row, from the file.
        linears.extend(&mut self.output);
        linears
    }
}

/// One decoder layer.
pub(super) struct Layer {
    pub(super) attention: Attention,
    /// `[hidden]`.
    pub(super) ffn_norm: Vec<f32>,
    pub(super) ffn: FeedForward,
}

/// Multi-head latent attention.
pub(super) struct Attention {
    /// `[hidden]`.
    pub(super) norm: Vec<f32>,
    pub(super) query: Query,
    /// `[hidden → kv_lora_rank + qk_rope_head_dim]`.
    pub(super) kv_a: Linear,
    /// `[kv_lora_rank]`.
    pub(super) kv_a_norm: Vec<f32>,
    kv_up: KvUp,
    qk_nope_head_dim: usize,
    /// `[n_heads · v_head_dim → hidden]`.
    pub(super) output: Linear,
}

/// The way to the queries, `n_heads · qk_head_dim`.
pub(super) enum Query {
    /// Through a latent: `[hidden → q_lora_rank]`, norm, `[q_lora_rank → …]`.
    Lora {
        q_a: Linear,
        q_a_norm: Vec<f32>,
        q_b: Linear,
    },
    /// `[hidden → …]`, the lite models.
    Direct(Linear),
}

/// The up-projection of the latent, per head. The stored form is used as it is: the product
/// with the transposed key matrix reads the same rows (`perigee_cpu`), so nothing is derived.
enum KvUp {
    /// `[qk_nope_head_dim → kv_lora_rank]` (transposed) and `[kv_lora_rank → v_head_dim]`.
    Split { k_b: Linear, v_b: Linear },
    /// `[kv_lora_rank → qk_nope_head_dim + v_head_dim]`, keys first.
    Joined(Linear),
}

impl Attention {
    /// Keys from latents.
    pub(super) fn key_up(&self) -> KeyUp<'_> {
        match &self.kv_up {
            KvUp::Split { k_b, .. } => KeyUp::ByLatent(k_b.stack()),
            KvUp::Joined(kv_b) => KeyUp::ByKey(kv_b.stack().narrow(0..self.qk_nope_head_dim)),
        }
    }

    /// Values from latents: `[kv_lora_rank → v_head_dim]` per head.
    pub(super) fn value_up(&self) -> Stack<'_> {
        match &self.kv_up {
            KvUp::Split { v_b, .. } => v_b.stack(),
            KvUp::Joined(kv_b) => {
                let stack = kv_b.stack();
                stack.narrow(self.qk_nope_head_dim..stack.n_rows())
            }
        }
    }
}

/// What follows attention.
pub(super) enum FeedForward {
    Dense(Box<SwiGlu>),
    Moe(Box<Moe>),
}

/// `W_down ( silu(W_gate x) ⊙ W_up x )`.
pub(super) struct SwiGlu {
    /// Columns of gate and up.
    pub(super) intermediate: usize,
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
}

impl SwiGlu {
    /// The block as an expert.
    pub(super) fn expert(&self) -> Experts<'_> {
        Experts {
            gate: self.gate.stack(),
            up: self.up.stack(),
            down: self.down.stack(),
        }
    }

    /// Shows the observer, if there is one, `x: [n_tokens, hidden]` and
    /// `activations: [n_tokens, intermediate]`, the inputs of down.
    fn show_inputs(&self, x: &[f32], activations: &[f32]) {
        self.gate.show(0, x);
        self.up.show(0, x);
        self.down.show(0, activations);
    }

    fn linears(&mut self) -> [&mut Linear; 3] {
        [&mut self.gate, &mut self.up, &mut self.down]
    }
}

/// A mixture of experts.
pub(super) struct Moe {
    /// `[hidden → n_routed_experts]`.
    pub(super) router: Linear,
    /// `[n_routed_experts]`, added for selection only.
    pub(super) selection_bias: Option<Vec<f32>>,
    gate_up: GateUp,
    down: Linear,
    pub(super) shared: Option<SwiGlu>,
}

/// Gate and up of all experts, `[hidden → moe_intermediate_size]`.
enum GateUp {
    Separate {
        gate: Linear,
        up: Linear,
    },
    /// Rows of gate, then rows of up, per expert.
    Merged(Linear),
}

impl Moe {
    fn linears(&mut self) -> Vec<&mut Linear> {
        let mut linears = vec![&mut self.router];
        match &mut self.gate_up {
            GateUp::Separate { gate, up } => linears.extend([gate, up]),
            GateUp::Merged(both) => linears.push(both),
        }
        linears.push(&mut self.down);
        linears.extend(self.shared.iter_mut().flat_map(SwiGlu::linears));
        linears
    }

    /// The routed experts.
    pub(super) fn experts(&self) -> Experts<'_> {
        let (gate, up) = match &self.gate_up {
            GateUp::Separate { gate, up } => (gate.stack(), up.stack()),
            GateUp::Merged(both) => {
                let both = both.stack();
                let half = both.n_rows() / 2;
                (both.narrow(0..half), both.narrow(half..2 * half))
            }
        };
        Experts {
            gate,
            up,
            down: self.down.stack(),
        }
    }
}

impl FeedForward {
    /// Shows the observer, if there is one, what all weights but the router were given:
    /// `x: [n_tokens, hidden]`, and the activations between.
    pub(super) fn show_inputs(&self, buffers: &FfnBuffers, x: &[f32]) {
        let common = match self {
            Self::Dense(dense) => Some(&**dense),
            Self::Moe(moe) => moe.shared.as_ref(),
        };
        if let Some(common) = common {
            let n_tokens = x.len() / common.gate.stack().n_in();
            let activations = &buffers.common_activations[..n_tokens * common.intermediate];
            common.show_inputs(x, activations);
        }
        if let Self::Moe(moe) = self {
            moe.show_inputs(&buffers.groups, x, &buffers.expert_activations);
        }
    }
}

impl Moe {
    /// Shows what each expert was given: `x: [n_tokens, hidden]` and
    /// `activations: [pairs, intermediate]`, the inputs of down.
    fn show_inputs(&self, groups: &ExpertGroups, x: &[f32], activations: &[f32]) {
        if !self.down.is_observed() {
            return;
        }
        let hidden = self.experts().gate.n_in();
        let width = self.experts().down.n_in();
        let mut inputs = Vec::new();
        for (expert, pairs, tokens) in groups.iter() {
            inputs.clear();
            for &token in tokens {
                inputs.extend_from_slice(&x[token as usize * hidden..][..hidden]);
            }
            match &self.gate_up {
                GateUp::Separate { gate, up } => {
                    gate.show(expert, &inputs);
                    up.show(expert, &inputs);
                }
                GateUp::Merged(both) => both.show(expert, &inputs),
            }
            self.down
                .show(expert, &activations[pairs.start * width..pairs.end * width]);
        }
    }
}

impl Weights {
    /// Finds every tensor; the inventory has passed, so shapes are those of the configuration.
    pub(super) fn new(
        gguf: &Arc<Gguf>,
        config: &Config,
        inventory: &Inventory,
        observer: Option<&Arc<dyn Observer>>,
    ) -> Result<Self, LoadError> {
        let file = File { gguf, observer };
        let (hidden, vocab) = (config.hidden, config.vocab_size);
        let layers = (0..config.n_layers)
            .map(|layer| {
                let blk = Block { file, layer };
                Ok(Layer {
                    attention: blk.attention(config, inventory)?,
                    ffn_norm: blk.vector("ffn_norm.weight", hidden)?,
                    ffn: blk.feed_forward(config, inventory)?,
                })
            })
            .collect::<Result<_, LoadError>>()?;
        Ok(Self {
            token_embd: file.linear("token_embd.weight", matrix(hidden, vocab))?,
            layers,
            output_norm: file.vector("output_norm.weight", hidden)?,
            output: (!inventory.tied_head)
                .then(|| file.linear("output.weight", matrix(hidden, vocab)))
                .transpose()?,
        })
    }
}

fn matrix(n_in: usize, n_out: usize) -> LinearShape {
    stack(n_in, n_out, 1)
}

fn stack(n_in: usize, n_out: usize, n_items: usize) -> LinearShape {
    LinearShape {
        n_in,
        n_out,
        n_items,
    }
}

/// Tensors by full name.
#[derive(Clone, Copy)]
struct File<'a> {
    gguf: &'a Arc<Gguf>,
    observer: Option<&'a Arc<dyn Observer>>,
}

impl File<'_> {
    fn tensor(&self, name: &str) -> Result<&Tensor, LoadError> {
        self.gguf.tensor(name).ok_or_else(|| LoadError::Missing {
            tensor: name.to_owned(),
        })
    }

    fn linear(&self, name: &str, shape: LinearShape) -> Result<Linear, LoadError> {
        let linear = Linear::mapped(self.gguf, self.tensor(name)?, shape)?;
        Ok(linear.observed_by(self.observer.cloned()))
    }

    /// A norm weight or bias, decoded.
    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let linear = self.linear(name, matrix(len, 1))?;
        let mut values = vec![0.0; len];
        linear.matrix().dequantize_row(0, &mut values);
        Ok(values)
    }
}

/// Tensors of one layer by the rest of their name.
#[derive(Clone, Copy)]
struct Block<'a> {
    file: File<'a>,
    layer: usize,
}

impl Block<'_> {
    fn linear(&self, name: &str, shape: LinearShape) -> Result<Linear, LoadError> {
        self.file
            .linear(&format!("blk.{}.{name}", self.layer), shape)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.file.vector(&format!("blk.{}.{name}", self.layer), len)
    }

    fn attention(&self, config: &Config, inventory: &Inventory) -> Result<Attention, LoadError> {
        let (hidden, n_heads) = (config.hidden, config.n_heads);
        let (nope, latent) = (config.qk_nope_head_dim, config.kv_lora_rank);
        let kv_up = match inventory.kv_layout {
            // With all three stored, `attn_kv_b` is left alone: deriving would quantise twice.
            KvLayout::Split | KvLayout::Both => KvUp::Split {
                k_b: self.linear("attn_k_b.weight", stack(nope, latent, n_heads))?,
                v_b: self.linear("attn_v_b.weight", stack(latent, config.v_head_dim, n_heads))?,
            },
            KvLayout::Joined => KvUp::Joined(self.linear(
                "attn_kv_b.weight",
                stack(latent, nope + config.v_head_dim, n_heads),
            )?),
        };
        Ok(Attention {
            norm: self.vector("attn_norm.weight", hidden)?,
            query: self.query(config)?,
            kv_a: self.linear("attn_kv_a_mqa.weight", matrix(hidden, config.latent_dim()))?,
            kv_a_norm: self.vector("attn_kv_a_norm.weight", latent)?,
            kv_up,
            qk_nope_head_dim: nope,
            output: self.linear(
                "attn_output.weight",
                matrix(n_heads * config.v_head_dim, hidden),
            )?,
        })
    }

    fn query(&self, config: &Config) -> Result<Query, LoadError> {
        let n_out = config.n_heads * config.qk_head_dim();
        Ok(match config.q_lora_rank {
            Some(rank) => Query::Lora {
                q_a: self.linear("attn_q_a.weight", matrix(config.hidden, rank))?,
                q_a_norm: self.vector("attn_q_a_norm.weight", rank)?,
                q_b: self.linear("attn_q_b.weight", matrix(rank, n_out))?,
            },
            None => Query::Direct(self.linear("attn_q.weight", matrix(config.hidden, n_out))?),
        })
    }

    fn feed_forward(
        &self,
        config: &Config,
        inventory: &Inventory,
    ) -> Result<FeedForward, LoadError> {
        if config.is_moe(self.layer) {
            let moe = self.moe(config, inventory)?;
            return Ok(FeedForward::Moe(Box::new(moe)));
        }
        let dense = self.swi_glu("", config.intermediate_size, config.hidden)?;
        Ok(FeedForward::Dense(Box::new(dense)))
    }

    fn swi_glu(&self, suffix: &str, width: usize, hidden: usize) -> Result<SwiGlu, LoadError> {
        let linear = |part, shape| self.linear(&format!("ffn_{part}{suffix}.weight"), shape);
        Ok(SwiGlu {
            intermediate: width,
            gate: linear("gate", matrix(hidden, width))?,
            up: linear("up", matrix(hidden, width))?,
            down: linear("down", matrix(width, hidden))?,
        })
    }

    fn moe(&self, config: &Config, inventory: &Inventory) -> Result<Moe, LoadError> {
        let (hidden, n_experts) = (config.hidden, config.n_routed_experts);
        let width = config.moe_intermediate_size;
        let experts = |name, n_in, n_out| self.linear(name, stack(n_in, n_out, n_experts));
        let shared_width = config.n_shared_experts * width;
        Ok(Moe {
            router: self.linear("ffn_gate_inp.weight", matrix(hidden, n_experts))?,
            selection_bias: inventory
                .selection_bias
                .then(|| self.vector("exp_probs_b.bias", n_experts))
                .transpose()?,
            gate_up: if inventory.merged_gate_up {
                GateUp::Merged(experts("ffn_gate_up_exps.weight", hidden, 2 * width)?)
            } else {
                GateUp::Separate {
                    gate: experts("ffn_gate_exps.weight", hidden, width)?,
                    up: experts("ffn_up_exps.weight", hidden, width)?,
                }
            },
            down: experts("ffn_down_exps.weight", width, hidden)?,
            shared: (shared_width > 0)
                .then(|| self.swi_glu("_shexp", shared_width, hidden))
                .transpose()?,
        })
    }
}
