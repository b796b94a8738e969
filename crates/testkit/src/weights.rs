//! The values of each tensor, before encoding.
//!
//! Matrices have a standard deviation of 1/√fan_in, norms lie around 1, selection
//! biases are small: activations then have the magnitudes of a trained network. The
//! three layouts of the latent's up-projection, and both forms of gate and up, hold the
//! same numbers, so that files of all forms are the same model.

use perigee_arch::{Config, Expected};
use perigee_synthetic::Gaussian;

/// Standard deviation of the logits: a trained head is neither flat nor certain.
const LOGIT_DEVIATION: f32 = 1.5;

/// The source of all values of one model.
pub(crate) struct Weights<'a> {
    pub(crate) config: &'a Config,
    pub(crate) seed: u64,
    pub(crate) tied_head: bool,
}

impl Weights<'_> {
    /// The values of `tensor` in the order of `shape` (ggml: `shape[0]` contiguous).
    pub(crate) fn values(&self, tensor: &Expected, shape: &[u64]) -> Vec<f32> {
        let n = shape.iter().product::<u64>() as usize;
        let (layer, role) = match tensor.name.strip_prefix("blk.") {
            Some(rest) => rest.split_once('.').expect("blk.N.role"),
            None => ("", tensor.name.as_str()),
        };
        let named = |role: &str| format!("blk.{layer}.{role}");
        match role {
            "attn_kv_b.weight" => self.kv_b(&named("attn_kv_b")),
            "attn_k_b.weight" => self.k_b(&self.kv_b(&named("attn_kv_b"))),
            "attn_v_b.weight" => self.v_b(&self.kv_b(&named("attn_kv_b"))),
            "ffn_gate_up_exps.weight" => {
                let half = |role| self.matrix(&named(role), n / 2, shape[0]);
                let (gate, up) = (half("ffn_gate_exps.weight"), half("ffn_up_exps.weight"));
                let expert_len = self.config.moe_intermediate_size * self.config.hidden;
                let experts = gate.chunks(expert_len).zip(up.chunks(expert_len));
                experts
                    .flat_map(|(gate, up)| [gate, up])
                    .flatten()
                    .copied()
                    .collect()
            }
            "token_embd.weight" if self.tied_head => self.head(n),
            "token_embd.weight" => self.draw(&tensor.name, n, 0.0, 1.0),
            "output.weight" => self.head(n),
            "exp_probs_b.bias" => self.draw(&tensor.name, n, 0.0, 0.05),
            norm if norm.ends_with("norm.weight") => self.draw(&tensor.name, n, 1.0, 0.1),
            _ => self.matrix(&tensor.name, n, shape[0]),
        }
    }

    fn draw(&self, name: &str, n: usize, mean: f32, deviation: f32) -> Vec<f32> {
        Gaussian::new(self.seed, name).values(n, mean, deviation)
    }

    fn matrix(&self, name: &str, n: usize, fan_in: u64) -> Vec<f32> {
        self.draw(name, n, 0.0, 1.0 / (fan_in as f32).sqrt())
    }

    fn head(&self, n: usize) -> Vec<f32> {
        let deviation = LOGIT_DEVIATION / (self.config.hidden as f32).sqrt();
        self.draw("output.weight", n, 0.0, deviation)
    }

    /// Row-major `[n_heads · (nope + v), kv_lora_rank]`, per head first the k rows.
    fn kv_b(&self, name: &str) -> Vec<f32> {
        let c = self.config;
        let rows = c.n_heads * (c.qk_nope_head_dim + c.v_head_dim);
        self.matrix(name, rows * c.kv_lora_rank, c.kv_lora_rank as u64)
    }

    /// Row-major `[n_heads, kv_lora_rank, nope]`: the k rows of each head, transposed.
    fn k_b(&self, kv_b: &[f32]) -> Vec<f32> {
        let (nope, rank) = (self.config.qk_nope_head_dim, self.config.kv_lora_rank);
        let head_len = (nope + self.config.v_head_dim) * rank;
        let mut out = Vec::with_capacity(self.config.n_heads * rank * nope);
        for head in kv_b.chunks(head_len) {
            for latent in 0..rank {
                out.extend((0..nope).map(|d| head[d * rank + latent]));
            }
        }
        out
    }

    /// Row-major `[n_heads, v, kv_lora_rank]`: the v rows of each head.
    fn v_b(&self, kv_b: &[f32]) -> Vec<f32> {
        let (nope, rank) = (self.config.qk_nope_head_dim, self.config.kv_lora_rank);
        let head_len = (nope + self.config.v_head_dim) * rank;
        let heads = kv_b.chunks(head_len);
        heads
            .flat_map(|head| &head[nope * rank..])
            .copied()
            .collect()
    }
}
