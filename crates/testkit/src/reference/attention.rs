//! Multi-head latent attention, expanded.

use super::matrix::{Matrix, dot, load, load_vector, rms_norm};
use perigee_arch::{Config, Yarn};
use perigee_gguf::Gguf;
use perigee_quant::QuantKind;

/// One layer's attention.
pub(super) struct Attention {
    n_heads: usize,
    nope: usize,
    rope: usize,
    v_head_dim: usize,
    kv_lora_rank: usize,
    eps: f64,
    kq_scale: f64,
    /// What the rows that a KV cache would hold are rounded to.
    pub(super) cache: Option<QuantKind>,
    /// Angular frequency of each rotated pair.
    frequencies: Vec<f64>,
    q: Query,
    kv_a: Matrix,
    kv_a_norm: Vec<f64>,
    /// `[n_heads · nope, kv_lora_rank]`.
    k_b: Matrix,
    /// `[n_heads · v_head_dim, kv_lora_rank]`.
    v_b: Matrix,
    output: Matrix,
}

enum Query {
    Lora {
        a: Matrix,
        norm: Vec<f64>,
        b: Matrix,
    },
    Full(Matrix),
}

impl Attention {
    pub(super) fn new(gguf: &Gguf, c: &Config, layer: usize) -> Self {
        let name = |role: &str| format!("blk.{layer}.{role}.weight");
        let q_rows = c.n_heads * c.qk_head_dim();
        let q = match c.q_lora_rank {
            Some(rank) => Query::Lora {
                a: load(gguf, &name("attn_q_a"), rank, c.hidden),
                norm: load_vector(gguf, &name("attn_q_a_norm"), rank),
                b: load(gguf, &name("attn_q_b"), q_rows, rank),
            },
            None => Query::Full(load(gguf, &name("attn_q"), q_rows, c.hidden)),
        };
        let (k_b, v_b) = latent_projections(gguf, c, layer);
        Self {
            n_heads: c.n_heads,
            nope: c.qk_nope_head_dim,
            rope: c.qk_rope_head_dim,
            v_head_dim: c.v_head_dim,
            kv_lora_rank: c.kv_lora_rank,
            eps: f64::from(c.rms_eps),
            kq_scale: kq_scale(c),
            cache: None,
            frequencies: frequencies(c),
            q,
            kv_a: load(gguf, &name("attn_kv_a_mqa"), c.latent_dim(), c.hidden),
            kv_a_norm: load_vector(gguf, &name("attn_kv_a_norm"), c.kv_lora_rank),
            k_b,
            v_b,
            output: load(
                gguf,
                &name("attn_output"),
                c.hidden,
                c.n_heads * c.v_head_dim,
            ),
        }
    }

    /// The attention of each normalised input over itself and all before it.
    pub(super) fn forward(&self, inputs: &[Vec<f64>], positions: &[usize]) -> Vec<Vec<f64>> {
        let mut keys: Vec<Vec<Vec<f64>>> = vec![Vec::new(); self.n_heads];
        let mut values: Vec<Vec<Vec<f64>>> = vec![Vec::new(); self.n_heads];
        let mut outputs = Vec::with_capacity(inputs.len());
        for (a, &position) in inputs.iter().zip(positions) {
            let latent_and_rope = self.kv_a.times(a);
            let (latent, k_rope) = latent_and_rope.split_at(self.kv_lora_rank);
            let latent = self.cached(rms_norm(latent, &self.kv_a_norm, self.eps));
            let k_rope = self.cached(self.rotated(k_rope, position));
            let k_nope = self.k_b.times(&latent);
            let v = self.v_b.times(&latent);
            let queries = self.query(a);
            let mut heads = Vec::with_capacity(self.n_heads * self.v_head_dim);
            for h in 0..self.n_heads {
                keys[h].push([&k_nope[h * self.nope..][..self.nope], &k_rope].concat());
                values[h].push(v[h * self.v_head_dim..][..self.v_head_dim].to_vec());
                let q = &queries[h * (self.nope + self.rope)..][..self.nope + self.rope];
                let (q_nope, q_rope) = q.split_at(self.nope);
                let q = [q_nope, &self.rotated(q_rope, position)].concat();
                heads.extend(self.head(&q, &keys[h], &values[h]));
            }
            outputs.push(self.output.times(&heads));
        }
        outputs
    }

    fn query(&self, a: &[f64]) -> Vec<f64> {
        match &self.q {
            Query::Full(q) => q.times(a),
            Query::Lora { a: down, norm, b } => b.times(&rms_norm(&down.times(a), norm, self.eps)),
        }
    }

    /// A row as a KV cache of that kind gives it back.
    fn cached(&self, row: Vec<f64>) -> Vec<f64> {
        let Some(kind) = self.cache else { return row };
        let mut row: Vec<f32> = row.iter().map(|&v| v as f32).collect();
        let n_bytes = kind.row_bytes(row.len()).expect("a row of whole blocks");
        let mut bytes = vec![0; n_bytes];
        kind.quantize_row(&row, None, &mut bytes)
            .expect("kinds of caches have encoders");
        kind.dequantize_row(&bytes, &mut row);
        row.into_iter().map(f64::from).collect()
    }

    /// Σ_t softmax_t(scale · q·k_t) v_t.
    fn head(&self, q: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
        let scores: Vec<f64> = keys.iter().map(|k| self.kq_scale * dot(q, k)).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut out = vec![0.0; self.v_head_dim];
        for (weight, value) in weights.iter().zip(values) {
            for (out, v) in out.iter_mut().zip(value) {
                *out += weight / sum * v;
            }
        }
        out
    }

    /// Rotates the adjacent pairs (2i, 2i + 1) by position · ω_i.
    fn rotated(&self, x: &[f64], position: usize) -> Vec<f64> {
        let pairs = x.chunks_exact(2).zip(&self.frequencies);
        let rotate = |(pair, omega): (&[f64], &f64)| {
            let (sin, cos) = (position as f64 * omega).sin_cos();
            [pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos]
        };
        pairs.flat_map(rotate).collect()
    }
}

/// `k_b` and `v_b` with the latent as columns, from whichever tensors the file has.
fn latent_projections(gguf: &Gguf, c: &Config, layer: usize) -> (Matrix, Matrix) {
    let name = |role: &str| format!("blk.{layer}.{role}.weight");
    let (heads, nope, v, rank) = (c.n_heads, c.qk_nope_head_dim, c.v_head_dim, c.kv_lora_rank);
    if gguf.tensor(&name("attn_k_b")).is_some() {
        let stored = load(gguf, &name("attn_k_b"), heads * rank, nope);
        let mut k = Vec::with_capacity(heads * nope * rank);
        for h in 0..heads {
            for d in 0..nope {
                k.extend((0..rank).map(|l| stored.row(h * rank + l)[d]));
            }
        }
        let v_b = load(gguf, &name("attn_v_b"), heads * v, rank);
        return (Matrix::from_values(rank, k), v_b);
    }
    let joined = load(gguf, &name("attn_kv_b"), heads * (nope + v), rank);
    let part = |offset: usize, n: usize| {
        let rows = (0..heads).flat_map(|h| joined.rows(h * (nope + v) + offset, n));
        Matrix::from_values(rank, rows.copied().collect())
    };
    (part(0, nope), part(nope, v))
}

/// (1 + L · ln s)² / √d_k: the YaRN magnitude goes into the softmax, twice (DeepSeek-V3's
/// inference code, `mscale`).
fn kq_scale(c: &Config) -> f64 {
    let magnitude = match &c.yarn {
        Some(yarn) => 1.0 + f64::from(yarn.log_multiplier) * f64::from(yarn.factor).ln(),
        None => 1.0,
    };
    magnitude * magnitude / (c.qk_head_dim() as f64).sqrt()
}

/// ω of each pair. YaRN (arXiv 2309.00071, section 3.2): pairs that turn often within the
/// original context keep their frequency, slow ones are divided by the factor, with a
/// ramp between.
fn frequencies(c: &Config) -> Vec<f64> {
    let dims = c.qk_rope_head_dim as f64;
    let base = f64::from(c.rope_base);
    let frequency = |pair: usize| {
        let extrapolated = base.powf(-2.0 * pair as f64 / dims);
        let omega = match &c.yarn {
            None => extrapolated / f64::from(c.rope_linear_factor),
            Some(yarn) => {
                let (low, high) = ramp(yarn, dims, base);
                let y = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                extrapolated * ((1.0 - y) + y / f64::from(yarn.factor))
            }
        };
        f64::from(omega as f32)
    };
    (0..c.qk_rope_head_dim / 2).map(frequency).collect()
}

/// The pairs that make `beta_fast` and `beta_slow` turns in the original context.
fn ramp(yarn: &Yarn, dims: f64, base: f64) -> (f64, f64) {
    let context = f64::from(yarn.original_context);
    let pair_of = |turns: f32| {
        let wavelengths = context / (std::f64::consts::TAU * f64::from(turns));
        dims * wavelengths.ln() / (2.0 * base.ln())
    };
    let low = pair_of(yarn.beta_fast).floor().max(0.0);
    let high = pair_of(yarn.beta_slow).ceil().min(dims - 1.0);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::{frequencies, kq_scale};
    use crate::shapes;

    /// The published values of Kimi-K2.6 and its relatives.
    #[test]
    fn softmax_scales_are_those_of_the_family() {
        let cases = [
            (shapes::kimi(), 0.144_679_625_8),
            (shapes::deepseek_v3(), 0.135_233_778_9),
            (shapes::deepseek_v2_lite(), 0.114_721_386_8),
            (shapes::moonlight(), 0.072_168_783_6),
        ];
        for (config, want) in cases {
            let got = kq_scale(&config);
            assert!((got / want - 1.0).abs() < 1e-6, "{}: {got}", config.name);
        }
    }

    #[test]
    fn frequencies_of_kimi_blend_between_pairs_8_and_20() {
        let omega = frequencies(&shapes::kimi());
        let cases = [
            (0, 1.0),
            (1, 7.131110849e-1),
            (8, 6.687403050e-2),
            (9, 4.377665595e-2),
            (14, 4.465848749e-3),
            (19, 1.583749910e-4),
            (20, 1.807023387e-5),
            (31, 4.382206456e-7),
        ];
        for (pair, want) in cases {
            let relative = (omega[pair] / want - 1.0).abs();
            assert!(relative < 1e-7, "pair {pair}: {} for {want}", omega[pair]);
        }
    }
}
