//! One task: some tokens and heads against the positions of a few splits.
//!
//! The latent rows are decoded a tile at a time, for all tokens and heads of the task. The heads
//! lie in the lanes: scores `[positions, heads]` are products of the tile with the queries packed
//! by sixteen heads, the softmax runs down the columns, and no sum crosses lanes. The products
//! are those of floats (`float_products.rs`) or of integers (`pair_products.rs`).

use super::float_products::FloatProducts;
use super::pair_products::PairProducts;
use super::states::Partial;
use super::{SPLIT_LEN, Task, Wave};
use crate::simd::{Isa, LANES, Soften, Start, aligned};
use crate::{LatentCache, LatentShape, Queries};

/// Positions decoded at a time; divides [`SPLIT_LEN`].
pub(super) const TILE_LEN: usize = 128;
/// Tokens of one run that share the decoded rows of a task.
pub(super) const TASK_TOKENS: usize = 4;
/// Most heads of a task, whole sixteens.
pub(super) const TASK_HEADS: usize = 64;

/// Queries and latent rows in the scratch memory of a worker, and their products.
pub(super) trait Products {
    /// Takes over up to sixteen queries of `[padded_len]`: those of block `block` of heads of the
    /// task's token `token`.
    fn set_queries(&mut self, isa: Isa, token: usize, block: usize, rows: &[&[f32]]);

    /// Decodes the rows of up to [`TILE_LEN`] positions.
    fn set_tile(
        &mut self,
        isa: Isa,
        cache: LatentCache<'_>,
        table: usize,
        positions: std::ops::Range<usize>,
    );

    /// Adds the first `n` rows to the states of a token's heads.
    fn add_tile(&mut self, isa: Isa, token: usize, n: usize, states: States<'_>);
}

/// The states of a token's heads, and how rows are added to them.
pub(super) struct States<'a> {
    /// Heads, and these with the lanes that are left over.
    pub(super) n_heads: usize,
    pub(super) n_lanes: usize,
    pub(super) scale: f32,
    pub(super) partial: Partial<'a>,
    /// Whether `partial` holds nothing yet.
    pub(super) is_first: bool,
}

impl States<'_> {
    /// Turns the scores of `n` rows into attention weights, and `shrink` into what the values so far
    /// are multiplied by.
    pub(super) fn soften(&mut self, isa: Isa, n: usize, scores: &mut [f32], shrink: &mut [f32]) {
        Soften {
            scores,
            n_rows: n,
            stride: self.n_lanes,
            scale: self.scale,
            max: &mut self.partial.max[..self.n_lanes],
            sum: &mut self.partial.sum[..self.n_lanes],
            shrink: &mut shrink[..self.n_lanes],
        }
        .run_on(isa);
    }

    /// What the values of more rows are added to.
    pub(super) fn start<'s>(&self, shrink: &'s [f32]) -> Start<'s> {
        if self.is_first {
            Start::Zero
        } else {
            Start::Rows(shrink)
        }
    }
}

/// See the module.
pub(super) struct Split<'a> {
    wave: &'a Wave<'a>,
    task: &'a Task,
    queries: &'a Queries,
    n_heads: usize,
    n_lanes: usize,
}

impl<'a> Split<'a> {
    /// Scratch floats of a task.
    pub(super) fn scratch_len(shape: &LatentShape) -> usize {
        LANES + FloatProducts::scratch_len(shape).max(PairProducts::scratch_len(shape))
    }

    pub(super) fn new(wave: &'a Wave<'a>, task: &'a Task) -> Self {
        let n_heads = task.heads.1 - task.heads.0;
        Self {
            wave,
            task,
            queries: &wave.runs[task.run],
            n_heads,
            n_lanes: n_heads.next_multiple_of(LANES),
        }
    }

    /// Leaves the states of each token and split in its slot; not of tokens before the split.
    pub(super) fn attend(&self, scratch: &mut [f32], slots: &mut [f32]) {
        let (shape, scratch) = (&self.wave.cache.shape, aligned(scratch));
        if self.wave.is_rounded {
            self.attend_by(PairProducts::new(shape, scratch), slots);
        } else {
            self.attend_by(FloatProducts::new(shape, scratch), slots);
        }
    }

    fn attend_by(&self, mut products: impl Products, slots: &mut [f32]) {
        for token in self.task.tokens.0..self.task.tokens.1 {
            self.set_queries(token, &mut products);
        }
        let slots_len = self.task.n_tokens() * Partial::len(&self.wave.cache.shape);
        let slots = slots.chunks_exact_mut(slots_len);
        for (split, slots) in (self.task.splits.0..self.task.splits.1).zip(slots) {
            self.attend_split(split, &mut products, slots);
        }
    }

    fn attend_split(&self, split: usize, products: &mut impl Products, slots: &mut [f32]) {
        let Wave { isa, cache, .. } = *self.wave;
        let (tokens, start) = (self.task.tokens, split * SPLIT_LEN);
        let end = (self.queries.start + tokens.1).min(start + SPLIT_LEN);
        for first in (start..end).step_by(TILE_LEN) {
            let positions = first..end.min(first + TILE_LEN);
            let n_positions = positions.len();
            products.set_tile(isa, cache, self.queries.table, positions);
            let slots = slots.chunks_exact_mut(Partial::len(&cache.shape));
            for (token, slot) in (tokens.0..tokens.1).zip(slots) {
                let n_visible = (self.queries.start + token + 1).saturating_sub(first);
                let n_visible = n_visible.min(n_positions);
                if n_visible == 0 {
                    continue;
                }
                let states = States {
                    n_heads: self.n_heads,
                    n_lanes: self.n_lanes,
                    scale: self.wave.scale,
                    partial: Partial::new(slot),
                    is_first: first == start,
                };
                if states.is_first {
                    states.partial.max[..self.n_lanes].fill(f32::NEG_INFINITY);
                    states.partial.sum[..self.n_lanes].fill(0.0);
                }
                products.add_tile(isa, token - tokens.0, n_visible, states);
            }
        }
    }

    /// The queries of a token's heads, by sixteen.
    fn set_queries(&self, token: usize, products: &mut impl Products) {
        let padded_len = self.wave.cache.shape.padded_len();
        let row = (self.queries.first_row + token) * self.wave.n_heads + self.task.heads.0;
        let q = &self.wave.q[row * padded_len..][..self.n_heads * padded_len];
        for (block, q) in q.chunks(LANES * padded_len).enumerate() {
            let mut rows = [[].as_slice(); LANES];
            let mut n = 0;
            for (slot, row) in rows.iter_mut().zip(q.chunks_exact(padded_len)) {
                *slot = row;
                n += 1;
            }
            let token = token - self.task.tokens.0;
            products.set_queries(self.wave.isa, token, block, &rows[..n]);
        }
    }
}
