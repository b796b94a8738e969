//! The network in f64, straight from the dequantised tensors.
//!
//! Attention is the naive form: keys and values of every head are expanded from the
//! normalised latent (DeepSeek-V2, arXiv 2405.04434, equations 9–19), nothing is
//! absorbed, batched, cached or fused. Frequencies are computed in f64 and rounded to
//! f32 once, because that is what a model *is* at a position of 250,000; the phase is
//! the f64 product.

use perigee_arch::Config;
use perigee_gguf::{Gguf, TokenId};
use perigee_quant::QuantKind;

mod attention;
mod feed_forward;
mod matrix;

use attention::Attention;
use feed_forward::FeedForward;
use matrix::{Matrix, load, load_vector, rms_norm};

/// A model with all weights as f64: eight bytes a weight, so only for small ones.
pub struct Reference {
    config: Config,
    embedding: Matrix,
    layers: Vec<Layer>,
    output_norm: Vec<f64>,
    /// `None` when the head is the embedding.
    head: Option<Matrix>,
}

struct Layer {
    attention_norm: Vec<f64>,
    attention: Attention,
    ffn_norm: Vec<f64>,
    ffn: FeedForward,
}

/// Logits `[tokens.len()][vocab_size]` of one sequence at positions `start`, `start + 1`, …
/// with nothing before it.
///
/// # Panics
/// When a tensor is missing or has another shape than the configuration says.
pub fn forward(gguf: &Gguf, config: &Config, tokens: &[TokenId], start: usize) -> Vec<Vec<f64>> {
    let positions: Vec<usize> = (start..start + tokens.len()).collect();
    Reference::new(gguf, config).forward_at(tokens, &positions)
}

impl Reference {
    /// Dequantises all tensors of a file, whatever its layout.
    ///
    /// # Panics
    /// When a tensor is missing or has another shape than the configuration says.
    pub fn new(gguf: &Gguf, config: &Config) -> Self {
        let c = config;
        let layers = (0..c.n_layers).map(|n| Layer {
            attention_norm: load_vector(gguf, &format!("blk.{n}.attn_norm.weight"), c.hidden),
            attention: Attention::new(gguf, c, n),
            ffn_norm: load_vector(gguf, &format!("blk.{n}.ffn_norm.weight"), c.hidden),
            ffn: FeedForward::new(gguf, c, n),
        });
        let head = gguf.tensor("output.weight");
        Self {
            embedding: load(gguf, "token_embd.weight", c.vocab_size, c.hidden),
            layers: layers.collect(),
            output_norm: load_vector(gguf, "output_norm.weight", c.hidden),
            head: head.map(|_| load(gguf, "output.weight", c.vocab_size, c.hidden)),
            config: config.clone(),
        }
    }

    /// Rounds the rows that a KV cache would hold (normalised latent, rotated key) to
    /// `kind`. What is left of a program's distance from this is its arithmetic; from the
    /// exact reference, an F16 cache alone keeps it about 3e-4 away.
    ///
    /// # Panics
    /// While running, when `kind` has no encoder or does not divide the rows.
    pub fn cache_kind(mut self, kind: QuantKind) -> Self {
        for layer in &mut self.layers {
            layer.attention.cache = Some(kind);
        }
        self
    }

    /// Logits of one sequence at positions 0, 1, ….
    pub fn forward(&self, tokens: &[TokenId]) -> Vec<Vec<f64>> {
        let positions: Vec<usize> = (0..tokens.len()).collect();
        self.forward_at(tokens, &positions)
    }

    /// Logits `[tokens.len()][vocab_size]` of tokens at the given positions. Each token
    /// sees itself and those before it in the slice, whatever their positions: a sparse
    /// prefix reaches far positions without a long sequence.
    ///
    /// # Panics
    /// When there is not one position a token, or a token is outside the vocabulary.
    pub fn forward_at(&self, tokens: &[TokenId], positions: &[usize]) -> Vec<Vec<f64>> {
        assert_eq!(tokens.len(), positions.len(), "one position a token");
        let eps = f64::from(self.config.rms_eps);
        let mut x: Vec<Vec<f64>> = tokens
            .iter()
            .map(|token| self.embedding.row(token.0 as usize).to_vec())
            .collect();
        for layer in &self.layers {
            let normed = |x: &[Vec<f64>], norm: &[f64]| -> Vec<Vec<f64>> {
                x.iter().map(|x| rms_norm(x, norm, eps)).collect()
            };
            let mixed = layer
                .attention
                .forward(&normed(&x, &layer.attention_norm), positions);
            add(&mut x, &mixed);
            let inputs = normed(&x, &layer.ffn_norm);
            let expanded: Vec<_> = inputs.iter().map(|f| layer.ffn.forward(f)).collect();
            add(&mut x, &expanded);
        }
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        x.iter()
            .map(|x| head.times(&rms_norm(x, &self.output_norm, eps)))
            .collect()
    }
}

fn add(x: &mut [Vec<f64>], delta: &[Vec<f64>]) {
    for (x, delta) in x.iter_mut().zip(delta) {
        for (x, delta) in x.iter_mut().zip(delta) {
            *x += delta;
        }
    }
}

#[cfg(test)]
mod tests;
