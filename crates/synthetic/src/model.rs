//! A model: its header, and the bytes of each tensor.

use perigee_arch::{Config, Expected, KvLayout, ModelSpec, Role};
use perigee_gguf::{Declared, Value};
use perigee_quant::QuantKind;

use crate::rows::Rows;
use crate::{Vocabulary, keys};

/// Standard deviation of the logits: a trained head is neither flat nor certain.
const LOGIT_DEVIATION: f32 = 1.5;

/// Why a described model cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vocabulary has no room for single bytes and control tokens.
    #[error(
        "vocab={size}: a vocabulary has at least {} tokens",
        Vocabulary::SMALLEST
    )]
    Vocabulary {
        /// Tokens of the described model.
        size: usize,
    },
    /// A tensor has no size that a file could state.
    #[error("tensor {0} is too large")]
    Size(String),
}

/// A random model that exists row by row. Equal descriptions and seeds give equal bytes, and the
/// bytes of a tensor do not depend on which other tensors there are.
///
/// The file form is llama.cpp's (`attn_k_b` + `attn_v_b`, separate gate and up), which
/// ik_llama.cpp reads too.
pub struct SyntheticModel {
    entries: Vec<(String, Value)>,
    tensors: Vec<Declared>,
    rows: Vec<Rows>,
}

impl SyntheticModel {
    /// The model that `spec` describes.
    ///
    /// # Errors
    /// A vocabulary that is too small, a tensor that is too large.
    pub fn new(spec: &ModelSpec, seed: u64) -> Result<Self, Error> {
        let config = &spec.config;
        let size = config.vocab_size;
        if size < Vocabulary::SMALLEST {
            return Err(Error::Vocabulary { size });
        }
        let mut entries = keys(config, KvLayout::Split);
        entries.extend(Vocabulary::kimi(size).keys());
        let (mut tensors, mut rows) = (Vec::new(), Vec::new());
        for (expected, kind) in spec.tensors(KvLayout::Split) {
            let declared = Declared {
                name: expected.name.clone(),
                kind,
                shape: expected.shapes[0].clone(),
            };
            let too_large = || Error::Size(expected.name.clone());
            declared.n_bytes().ok_or_else(too_large)?;
            let row_len = usize::try_from(declared.shape[0]).map_err(|_| too_large())?;
            let (mean, deviation) = distribution(&expected, config);
            let symmetric = spec.symmetric_q4_0 && kind == QuantKind::Q4_0;
            let drawn = Rows::new(seed, &expected.name, kind, row_len, mean, deviation);
            rows.push(if symmetric { drawn.symmetric() } else { drawn });
            tensors.push(declared);
        }
        Ok(Self {
            entries,
            tensors,
            rows,
        })
    }

    /// The metadata of the file.
    pub fn entries(&self) -> &[(String, Value)] {
        &self.entries
    }

    /// The tensors of the file, in order.
    pub fn tensors(&self) -> &[Declared] {
        &self.tensors
    }

    /// Bytes of one row of a tensor, by its index in [`tensors`](Self::tensors).
    pub fn row_bytes(&self, tensor: usize) -> usize {
        self.rows[tensor].row_bytes()
    }

    /// Writes rows `first_row…` of a tensor, as many as `out` holds.
    ///
    /// # Panics
    /// When `out` is no whole number of rows.
    pub fn fill(&self, tensor: usize, first_row: u64, out: &mut [u8]) {
        self.rows[tensor].fill(first_row, out);
    }
}

/// Mean and standard deviation of a tensor's weights: activations then have the magnitudes of a
/// trained network, and tokens spread over all experts.
fn distribution(tensor: &Expected, config: &Config) -> (f32, f32) {
    let inverse_root = |n: usize| 1.0 / (n as f32).sqrt();
    let fan_in = tensor.shapes[0][0] as usize;
    match tensor.role {
        Role::Norm => (1.0, 0.1),
        Role::Embedding => (0.0, 1.0),
        Role::Head => (0.0, LOGIT_DEVIATION * inverse_root(config.hidden)),
        // Scores of the selected lie where the sigmoid is flat: more would make favourites.
        Role::Router if tensor.name.ends_with(".bias") => (0.0, 0.005),
        // Stored transposed: what it multiplies in the network is the latent.
        Role::Attention if tensor.name.ends_with("attn_k_b.weight") => {
            (0.0, inverse_root(config.kv_lora_rank))
        }
        _ => (0.0, inverse_root(fan_in)),
    }
}

#[cfg(test)]
mod tests;
