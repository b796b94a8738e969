//! MLA attention in the expanded form: keys and values of every head, for long prefill.
//!
//! `k[h, p] = [W_K[h]·c̃_p | k_pe_p]`, `v[h, p] = W_V[h]·c̃_p`, then ordinary attention
//! (DeepSeek-V2, arXiv 2405.04434, 2.1.2). A (query, position) pair costs a third of the absorbed
//! form, but every position has to be expanded first.
//!
//! A task is one head and some tokens of a run (`expanded/part.rs`). It goes over the positions
//! in chunks: decode the latent rows, expand them, attend with an online softmax. Its memory is
//! the scratch of its worker, whatever the context.

mod float_products;
mod pair_products;
mod part;

use perigee_topology::DisjointMut;

use crate::simd::Isa;
use crate::{LatentCache, LatentShape, Queries, Stack, Workers};
use part::{MAX_TOKENS, MIN_TOKENS, Part};

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
    /// Whether products are those of numbers rounded to integers of 12 to 14 bits, which is twice as
    /// fast. Where the latent, heads or positions are no whole sixteens, they never are.
    pub is_rounded: bool,
}

impl Expanded<'_> {
    /// Scratch floats that a worker needs.
    pub fn scratch_len(shape: &LatentShape, qk_nope_head_dim: usize, v_head_dim: usize) -> usize {
        Part::scratch_len(shape, qk_nope_head_dim, v_head_dim)
    }

    /// Multiplications per head of the expanded form for a run, to compare with the absorbed one.
    pub fn macs_per_head(
        shape: &LatentShape,
        key_len: usize,
        v_head_dim: usize,
        run: &Queries,
    ) -> f64 {
        let n_positions = (run.start + run.n_tokens) as f64;
        let n_tasks = run.n_tokens.div_ceil(MAX_TOKENS) as f64;
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
        self.attend_on(Isa::best(), workers, cache, run, q, out);
    }

    fn attend_on(
        &self,
        isa: Isa,
        workers: &Workers,
        cache: LatentCache<'_>,
        run: &Queries,
        q: &[f32],
        out: &mut [f32],
    ) {
        let (n_heads, v_head_dim) = (self.value_up.n_items(), self.value_up.n_rows());
        let part_len = part_len(run.n_tokens, n_heads, workers.n_threads());
        let n_parts = run.n_tokens.div_ceil(part_len);
        let out = DisjointMut::new(out);
        workers.for_each(n_heads * n_parts, &|task, scratch| {
            // The last parts see the most positions: they come first.
            let (head, part) = (task % n_heads, n_parts - 1 - task / n_heads);
            let first = part * part_len;
            let part = Part {
                isa,
                expanded: self,
                cache,
                q,
                head,
                n_heads,
                v_head_dim,
                queries: Queries {
                    first_row: run.first_row + first,
                    n_tokens: part_len.min(run.n_tokens - first),
                    start: run.start + first,
                    table: run.table,
                },
            };
            part.attend(scratch, |row, values| {
                // SAFETY: a (token, head) belongs to one task.
                let out = unsafe { out.range((row * n_heads + head) * v_head_dim, v_head_dim) };
                values.copy_into(out);
            });
        });
    }
}

/// Tokens of a task: as many as its memory allows, since each task expands the positions anew,
/// but few enough that all threads have work. Where the parts begin changes no result.
fn part_len(n_tokens: usize, n_heads: usize, n_threads: usize) -> usize {
    let mut len = MAX_TOKENS;
    while len > MIN_TOKENS && n_heads * n_tokens.div_ceil(len) < n_threads {
        len /= 2;
    }
    len
}

#[cfg(test)]
mod tests;
