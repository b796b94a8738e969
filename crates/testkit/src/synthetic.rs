//! Building a model file.

use crate::Vocabulary;
use crate::weights::Weights;
use perigee_arch::{Config, Expected, Gating, KvLayout, Role, expected_tensors};
use perigee_gguf::{Gguf, Writer};
use perigee_quant::QuantKind;
use std::path::Path;
use std::sync::Arc;

/// The encoding of each group of matrices. Norms, routers and biases are always F32.
///
/// Where a row does not fit the blocks of the kind (`attn_k_b` rows are short), the
/// tensor becomes Q8_0, or F32 when even 32 does not divide the row: what quantisers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// `token_embd`.
    pub embedding: QuantKind,
    /// `output`.
    pub head: QuantKind,
    /// All matrices of attention.
    pub attention: QuantKind,
    /// The FFN of dense layers.
    pub dense_ffn: QuantKind,
    /// Shared experts.
    pub shared_expert: QuantKind,
    /// Routed gate and up, merged or not.
    pub gate_up: QuantKind,
    /// Routed down.
    pub down: QuantKind,
}

impl Kinds {
    /// Every matrix in the same kind.
    pub fn uniform(kind: QuantKind) -> Self {
        Self::recipe(kind, kind, kind)
    }

    /// Routed gate and up, routed down, and the rest: how published files are described.
    pub fn recipe(gate_up: QuantKind, down: QuantKind, rest: QuantKind) -> Self {
        Self {
            embedding: rest,
            head: rest,
            attention: rest,
            dense_ffn: rest,
            shared_expert: rest,
            gate_up,
            down,
        }
    }

    fn of(&self, tensor: &Expected, row_len: usize) -> QuantKind {
        let wanted = match tensor.role {
            _ if tensor.name.contains("norm") => QuantKind::F32,
            Role::Norm | Role::Router => QuantKind::F32,
            Role::Embedding => self.embedding,
            Role::Head => self.head,
            Role::Attention => self.attention,
            Role::DenseFfn => self.dense_ffn,
            Role::SharedExpert => self.shared_expert,
            Role::RoutedExperts if tensor.name.contains("down") => self.down,
            Role::RoutedExperts => self.gate_up,
        };
        let fits = |kind: &QuantKind| row_len.is_multiple_of(kind.block_len());
        [wanted, QuantKind::Q8_0]
            .into_iter()
            .find(fits)
            .unwrap_or(QuantKind::F32)
    }
}

/// A random model of a given shape and file form. Equal settings give equal bytes, and
/// models that differ only in form (layout, merged gate and up) or kind share their
/// weights before encoding.
#[derive(Clone, Debug)]
pub struct Synthetic {
    config: Config,
    layout: KvLayout,
    kinds: Kinds,
    merged_gate_up: bool,
    tied_head: bool,
    selection_bias: bool,
    seed: u64,
}

impl Synthetic {
    /// An F32 model in llama.cpp's layout: `attn_k_b` + `attn_v_b`, separate gate and
    /// up, a head of its own, a selection bias if the router is a sigmoid, seed 1.
    pub fn new(config: Config) -> Self {
        Self {
            selection_bias: config.gating == Gating::Sigmoid,
            config,
            layout: KvLayout::Split,
            kinds: Kinds::uniform(QuantKind::F32),
            merged_gate_up: false,
            tied_head: false,
            seed: 1,
        }
    }

    /// Sets the layout of the latent's up-projection.
    pub fn layout(mut self, layout: KvLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets the encodings.
    pub fn kinds(mut self, kinds: Kinds) -> Self {
        self.kinds = kinds;
        self
    }

    /// Writes routed gate and up as one tensor, `ffn_gate_up_exps`.
    pub fn merged_gate_up(mut self) -> Self {
        self.merged_gate_up = true;
        self
    }

    /// Leaves out `output.weight`: the head is `token_embd`.
    pub fn tied_head(mut self) -> Self {
        self.tied_head = true;
        self
    }

    /// Leaves out `exp_probs_b`.
    pub fn without_selection_bias(mut self) -> Self {
        self.selection_bias = false;
        self
    }

    /// Sets the seed of all weights.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The shape that the file will describe.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The complete file, not yet written: a test that needs a broken one alters this.
    ///
    /// # Panics
    /// When a kind has no encoder, or the vocabulary is too small for
    /// [`Vocabulary::kimi`].
    pub fn writer(&self) -> Writer {
        let mut writer = Writer::new();
        let keys = perigee_synthetic::keys(&self.config, self.layout);
        let vocabulary = Vocabulary::kimi(self.config.vocab_size).keys();
        for (key, value) in keys.into_iter().chain(vocabulary) {
            writer.metadata(&key, value);
        }

        let weights = Weights {
            config: &self.config,
            seed: self.seed,
            tied_head: self.tied_head,
        };
        let tensors = expected_tensors(
            &self.config,
            self.layout,
            self.merged_gate_up,
            self.tied_head,
            self.selection_bias,
        );
        for tensor in tensors {
            let shape = self.shape_of(&tensor);
            let row_len = shape[0] as usize;
            let kind = self.kinds.of(&tensor, row_len);
            let values = weights.values(&tensor, shape);
            writer.tensor(&tensor.name, kind, shape, encode(kind, &values, row_len));
        }
        writer
    }

    /// Each engine's converter writes `attn_k_b` and `attn_v_b` in one form: flat where
    /// `attn_kv_b` stands beside them, per head where they stand alone.
    fn shape_of<'a>(&self, tensor: &'a Expected) -> &'a [u64] {
        let n_dims = match self.layout {
            KvLayout::Both => 2,
            KvLayout::Split | KvLayout::Joined => 3,
        };
        let preferred = tensor.shapes.iter().find(|shape| shape.len() == n_dims);
        preferred.unwrap_or(&tensor.shapes[0])
    }

    /// The bytes of the file.
    ///
    /// # Panics
    /// As [`Self::writer`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.writer().to_bytes()
    }

    /// Writes the file to `path`.
    ///
    /// # Panics
    /// As [`Self::writer`].
    pub fn write_to(&self, path: &Path) -> std::io::Result<()> {
        self.writer().write(path)
    }

    /// Opens the file from memory. The bytes are leaked: tests end soon.
    ///
    /// # Panics
    /// As [`Self::writer`].
    pub fn gguf(&self) -> Arc<Gguf> {
        let bytes: &'static [u8] = self.to_bytes().leak();
        let gguf = Gguf::from_bytes(&self.config.name, bytes);
        Arc::new(gguf.expect("the writer's own file is valid"))
    }
}

/// Encodes `values`, rows of `row_len`.
fn encode(kind: QuantKind, values: &[f32], row_len: usize) -> Vec<u8> {
    let row_bytes = kind
        .row_bytes(row_len)
        .expect("the kind was chosen to fit the row");
    let mut bytes = vec![0; values.len() / row_len * row_bytes];
    for (row, out) in values.chunks(row_len).zip(bytes.chunks_mut(row_bytes)) {
        kind.quantize_row(row, None, out)
            .expect("a synthetic model uses kinds with encoders");
    }
    bytes
}

#[cfg(test)]
mod tests;
