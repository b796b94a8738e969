//! MLA attention in the expanded form: keys and values of every head, for long prefill.
//!
//! `k[h, p] = [W_K[h]·c̃_p | k_pe_p]`, `v[h, p] = W_V[h]·c̃_p`, then ordinary attention
//! (DeepSeek-V2, arXiv 2405.04434, 2.1.2). A (query, position) pair costs a third of the absorbed
//! form, but every position has to be expanded first.
//!
//! A task is one head and some tokens of a run. It goes over the positions in chunks: decode the
//! latent rows, expand them, attend with an online softmax. Its memory is the scratch of its
//! worker, whatever the context.

use perigee_topology::DisjointMut;

use crate::absorbed::{rescale, soften, split_state};
use crate::simd::{BLOCK, Panel, accumulate_rows, dot_rows};
use crate::{LatentCache, LatentShape, Matrix, Queries, Stack, Workers};

/// Tokens of a task: bounds its scratch memory; each task expands the positions anew.
const TASK_TOKENS: usize = 256;
/// Positions expanded at a time.
const CHUNK_LEN: usize = 64;

/// The up-projection of keys, one matrix per head, in the form that the file has.
#[derive(Clone, Copy, Debug)]
pub enum KeyUp<'a> {
    /// `attn_k_b`: rows of `qk_nope_head_dim` weights, one per element of the latent.
    ByLatent(Stack<'a>),
    /// The key rows of `attn_kv_b`: rows of `kv_lora_rank` weights, one per key element.
    ByKey(Stack<'a>),
}

/// The weights and numbers of the expanded form.
#[derive(Clone, Copy, Debug)]
pub struct Expanded<'a> {
    /// Keys from latents.
    pub key_up: KeyUp<'a>,
    /// Values from latents: rows of `kv_lora_rank` weights.
    pub value_up: Stack<'a>,
    /// Per-head dimension of q and k without position.
    pub qk_nope_head_dim: usize,
    /// Softmax scale.
    pub scale: f32,
}

impl Expanded<'_> {
    /// Scratch floats that a worker needs.
    pub fn scratch_len(shape: &LatentShape, qk_nope_head_dim: usize, v_head_dim: usize) -> usize {
        let weights = (qk_nope_head_dim + v_head_dim) * shape.kv_lora_rank;
        let key_len = qk_nope_head_dim + shape.rope_dim;
        let chunk = CHUNK_LEN * (shape.padded_len() + key_len + v_head_dim + BLOCK);
        weights + chunk + TASK_TOKENS * (2 + v_head_dim)
    }

    /// Multiplications per head of the expanded form for a run, to compare with the absorbed one.
    pub fn macs_per_head(
        shape: &LatentShape,
        key_len: usize,
        v_head_dim: usize,
        run: &Queries,
    ) -> f64 {
        let n_positions = (run.start + run.n_tokens) as f64;
        let n_tasks = run.n_tokens.div_ceil(TASK_TOKENS) as f64;
        let nope = key_len - shape.rope_dim;
        let expand = n_tasks * n_positions * ((nope + v_head_dim) * shape.kv_lora_rank) as f64;
        expand + run.n_tokens as f64 * n_positions * (key_len + v_head_dim) as f64
    }

    /// Attends with one run. `q: [n_rows, n_heads, qk_nope_head_dim + rope_dim]` with the
    /// position part last and rotated, `out: [n_rows, n_heads, v_head_dim]`.
    ///
    /// # Panics
    /// When a buffer is too short, or the block table does not cover the run.
    pub fn attend(
        &self,
        workers: &Workers,
        cache: LatentCache<'_>,
        run: &Queries,
        q: &[f32],
        out: &mut [f32],
    ) {
        let (n_heads, v_head_dim) = (self.value_up.n_items(), self.value_up.n_rows());
        let n_parts = run.n_tokens.div_ceil(TASK_TOKENS);
        let out = DisjointMut::new(out);
        workers.for_each(n_heads * n_parts, &|task, scratch| {
            let (head, part) = (task % n_heads, task / n_heads);
            let first = part * TASK_TOKENS;
            let n_tokens = TASK_TOKENS.min(run.n_tokens - first);
            let part = Part {
                cache,
                q,
                head,
                n_heads,
                key_len: self.qk_nope_head_dim + cache.shape.rope_dim,
                v_head_dim,
                scale: self.scale,
                queries: Queries {
                    first_row: run.first_row + first,
                    n_tokens,
                    start: run.start + first,
                    table: run.table,
                },
            };
            let states = part.attend(self, scratch);
            for (t, state) in states.chunks_exact(2 + v_head_dim).enumerate() {
                let row = (part.queries.first_row + t) * n_heads + head;
                // SAFETY: a (token, head) belongs to one task.
                let out = unsafe { out.range(row * v_head_dim, v_head_dim) };
                for (out, value) in out.iter_mut().zip(&state[2..]) {
                    *out = value / state[1];
                }
            }
        });
    }
}

/// One task.
struct Part<'a> {
    cache: LatentCache<'a>,
    q: &'a [f32],
    head: usize,
    n_heads: usize,
    key_len: usize,
    v_head_dim: usize,
    scale: f32,
    queries: Queries,
}

impl Part<'_> {
    /// The softmax states `[max, sum, Σ p·v]` of all tokens of the part.
    fn attend<'s>(&self, expanded: &Expanded<'_>, scratch: &'s mut [f32]) -> &'s [f32] {
        let shape = &self.cache.shape;
        let nope = expanded.qk_nope_head_dim;
        let (key_weights, scratch) = scratch.split_at_mut(nope * shape.kv_lora_rank);
        let (value_weights, scratch) = scratch.split_at_mut(self.v_head_dim * shape.kv_lora_rank);
        let (latents, scratch) = scratch.split_at_mut(CHUNK_LEN * shape.padded_len());
        let (keys, scratch) = scratch.split_at_mut(CHUNK_LEN * self.key_len);
        let (values, scratch) = scratch.split_at_mut(CHUNK_LEN * self.v_head_dim);
        let (scores, scratch) = scratch.split_at_mut(CHUNK_LEN * BLOCK);
        let states = &mut scratch[..self.queries.n_tokens * (2 + self.v_head_dim)];
        for state in states.chunks_exact_mut(2 + self.v_head_dim) {
            state.fill(0.0);
            state[0] = f32::NEG_INFINITY;
        }
        let key_up = match expanded.key_up {
            KeyUp::ByLatent(stack) | KeyUp::ByKey(stack) => stack.item(self.head),
        };
        let key_weights = decoded(&key_up, key_weights);
        let value_weights = decoded(&expanded.value_up.item(self.head), value_weights);
        let end = self.queries.start + self.queries.n_tokens;
        for first in (0..end).step_by(CHUNK_LEN) {
            let n = CHUNK_LEN.min(end - first);
            let latents = &mut latents[..n * shape.padded_len()];
            self.cache
                .decode(self.queries.table, first..first + n, latents);
            match expanded.key_up {
                KeyUp::ByLatent(_) => self.expand_by_latent(key_weights, latents, keys),
                KeyUp::ByKey(_) => self.expand(key_weights, latents, keys, self.key_len),
            }
            for (latent, key) in latents
                .chunks_exact(shape.padded_len())
                .zip(keys.chunks_exact_mut(self.key_len))
            {
                key[nope..].copy_from_slice(&latent[shape.latent_len()..][..shape.rope_dim]);
            }
            self.expand(value_weights, latents, values, self.v_head_dim);
            self.attend_chunk(first..first + n, keys, values, scores, states);
        }
        states
    }

    /// `out[p, r] = Σ_l weights[r, l] · c̃[p, l]`, rows of `out` at distance `stride`.
    fn expand(&self, weights: Panel<'_>, latents: &[f32], out: &mut [f32], stride: usize) {
        let shape = &self.cache.shape;
        let n_rows = weights.n_rows;
        let mut rows = latents.chunks_exact(shape.padded_len());
        for out in out.chunks_mut(BLOCK * stride) {
            let mut block = [[].as_slice(); BLOCK];
            let mut n = 0;
            for (slot, row) in block.iter_mut().zip(&mut rows) {
                *slot = &row[..shape.kv_lora_rank];
                n += 1;
            }
            if n == 0 {
                break;
            }
            // Weight tiles keep the sums of a call in a small buffer.
            for first in (0..n_rows).step_by(TILE) {
                let tile = Panel {
                    values: &weights.values[first * weights.stride..],
                    n_rows: TILE.min(n_rows - first),
                    stride: weights.stride,
                };
                let mut sums = [0.0; BLOCK * TILE];
                let sums = &mut sums[..n * tile.n_rows];
                dot_rows(tile, &block[..n], sums);
                for (j, sums) in sums.chunks_exact(tile.n_rows).enumerate() {
                    out[j * stride + first..][..tile.n_rows].copy_from_slice(sums);
                }
            }
        }
    }

    /// `keys[p, d] = Σ_l c̃[p, l] · weights[l, d]`.
    fn expand_by_latent(&self, weights: Panel<'_>, latents: &[f32], keys: &mut [f32]) {
        let shape = &self.cache.shape;
        let nope = weights.stride;
        let mut rows = latents.chunks_exact(shape.padded_len());
        for keys in keys.chunks_mut(BLOCK * self.key_len) {
            let mut block = [[].as_slice(); BLOCK];
            let mut n = 0;
            for ((slot, row), key) in block
                .iter_mut()
                .zip(&mut rows)
                .zip(keys.chunks_exact_mut(self.key_len))
            {
                *slot = &row[..shape.kv_lora_rank];
                key[..nope].fill(0.0);
                n += 1;
            }
            if n == 0 {
                break;
            }
            accumulate_rows(&block[..n], weights, nope, keys, self.key_len);
        }
    }

    /// Adds expanded positions to the states of the tokens that see them.
    fn attend_chunk(
        &self,
        positions: std::ops::Range<usize>,
        keys: &[f32],
        values: &[f32],
        scores: &mut [f32],
        states: &mut [f32],
    ) {
        let state_len = 2 + self.v_head_dim;
        let queries = &self.queries;
        let panel = |values, n_rows, stride| Panel {
            values,
            n_rows,
            stride,
        };
        for t in (0..queries.n_tokens).step_by(BLOCK) {
            let n = BLOCK.min(queries.n_tokens - t);
            let visible = |t: usize| (queries.start + t + 1).saturating_sub(positions.start);
            let n_rows = visible(t + n - 1).min(positions.len());
            if n_rows == 0 {
                continue;
            }
            let mut q = [[].as_slice(); BLOCK];
            for (j, q) in q[..n].iter_mut().enumerate() {
                let row = (queries.first_row + t + j) * self.n_heads + self.head;
                *q = &self.q[row * self.key_len..][..self.key_len];
            }
            let scores = &mut scores[..n * n_rows];
            dot_rows(panel(keys, n_rows, self.key_len), &q[..n], scores);
            let states = &mut states[t * state_len..][..n * state_len];
            let mut p = [[].as_slice(); BLOCK];
            let each = scores.chunks_exact_mut(n_rows);
            for (j, (scores, state)) in each.zip(states.chunks_exact_mut(state_len)).enumerate() {
                let scores = &mut scores[..visible(t + j).min(n_rows)];
                if !scores.is_empty() {
                    let ([max, sum], sums) = split_state(state);
                    rescale(sums, soften(scores, self.scale, max, sum));
                    p[j] = scores;
                }
            }
            // Only across the diagonal do the tokens of a block see different positions.
            let step = if p[0].len() == n_rows { n } else { 1 };
            for (p, states) in p[..n].chunks(step).zip(states.chunks_mut(step * state_len)) {
                let rows = panel(values, p[0].len(), self.v_head_dim);
                accumulate_rows(p, rows, self.v_head_dim, &mut states[2..], state_len);
            }
        }
    }
}

/// Weight rows of one dot call in [`Part::expand`].
const TILE: usize = 16;

/// All rows of a matrix as floats.
fn decoded<'s>(matrix: &Matrix<'_>, out: &'s mut [f32]) -> Panel<'s> {
    matrix.dequantize_rows(0..matrix.n_rows(), out);
    Panel {
        values: out,
        n_rows: matrix.n_rows(),
        stride: matrix.n_in(),
    }
}

#[cfg(test)]
mod tests;
