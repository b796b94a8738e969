//! One task: some tokens and heads against the positions of one split.
//!
//! The latent rows are decoded a tile at a time, for all tokens and heads of the task. The heads
//! lie in the lanes: scores `[positions, heads]` are products of the tile with the queries packed
//! by sixteen heads, the softmax runs down the columns, and no sum crosses lanes.

use super::states::Partial;
use super::{SPLIT_LEN, Task, Wave};
use crate::simd::{LANES, Product, Soften, Start, aligned, pack_rows};
use crate::{LatentShape, Queries};

/// Positions decoded at a time; divides [`SPLIT_LEN`].
const TILE_LEN: usize = 64;
/// Tokens of one run that share the decoded rows of a task.
pub(super) const TASK_TOKENS: usize = 4;
/// Most heads of a task, whole sixteens.
pub(super) const TASK_HEADS: usize = 64;

/// See the module.
pub(super) struct Split<'a> {
    wave: &'a Wave<'a>,
    task: &'a Task,
    queries: &'a Queries,
    /// Heads of the task, and these with the lanes that are left over.
    n_heads: usize,
    n_lanes: usize,
}

/// The scratch memory of a task.
struct Buffers<'s> {
    /// Packed queries: `[tokens, lanes / 16, padded_len, 16]`.
    q: &'s mut [f32],
    /// `[TILE_LEN, padded_len]`.
    tile: &'s mut [f32],
    /// `[TILE_LEN, lanes]`.
    scores: &'s mut [f32],
    /// `[lanes]`.
    shrink: &'s mut [f32],
}

impl<'s> Buffers<'s> {
    fn new(shape: &LatentShape, scratch: &'s mut [f32]) -> Self {
        let scratch = aligned(scratch);
        let q_len = TASK_TOKENS * TASK_HEADS * shape.padded_len();
        let (q, scratch) = scratch.split_at_mut(q_len);
        let (scores, scratch) = scratch.split_at_mut(TILE_LEN * TASK_HEADS);
        let (shrink, scratch) = scratch.split_at_mut(TASK_HEADS);
        let tile = &mut scratch[..TILE_LEN * shape.padded_len()];
        Self {
            q,
            tile,
            scores,
            shrink,
        }
    }
}

impl<'a> Split<'a> {
    /// Scratch floats of a task.
    pub(super) fn scratch_len(shape: &LatentShape) -> usize {
        let rows = TASK_TOKENS * TASK_HEADS + TILE_LEN;
        LANES + rows * shape.padded_len() + (TILE_LEN + 1) * TASK_HEADS
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

    /// Leaves the states of each token in its slot; not of tokens before the split.
    pub(super) fn attend(&self, scratch: &mut [f32], slots: &mut [f32]) {
        let shape = &self.wave.cache.shape;
        let Buffers {
            q,
            tile,
            scores,
            shrink,
        } = Buffers::new(shape, scratch);
        let (tokens, start) = (self.task.tokens, self.task.split * SPLIT_LEN);
        let q_len = self.n_lanes * shape.padded_len();
        for (token, q) in (tokens.0..tokens.1).zip(q.chunks_exact_mut(q_len)) {
            self.pack_queries(token, q);
        }
        let end = (self.queries.start + tokens.1).min(start + SPLIT_LEN);
        for first in (start..end).step_by(TILE_LEN) {
            let positions = first..end.min(first + TILE_LEN);
            let n_positions = positions.len();
            let (isa, table) = (self.wave.isa, self.queries.table);
            self.wave.cache.decode(isa, table, positions, tile);
            let slots = slots.chunks_exact_mut(Partial::len(shape));
            let each = (tokens.0..tokens.1).zip(slots).zip(q.chunks_exact(q_len));
            for ((token, slot), q) in each {
                let n_visible = (self.queries.start + token + 1).saturating_sub(first);
                let n_visible = n_visible.min(n_positions);
                if n_visible > 0 {
                    let is_first = first == start;
                    let buffers = (&mut scores[..], &mut shrink[..self.n_lanes]);
                    self.add_tile(q, (tile, n_visible), buffers, slot, is_first);
                }
            }
        }
    }

    /// The queries of a token's heads, `[lanes / 16, padded_len, 16]`.
    fn pack_queries(&self, token: usize, out: &mut [f32]) {
        let padded_len = self.wave.cache.shape.padded_len();
        let row = (self.queries.first_row + token) * self.wave.n_heads + self.task.heads.0;
        let q = &self.wave.q[row * padded_len..][..self.n_heads * padded_len];
        let blocks = q.chunks(LANES * padded_len);
        for (q, out) in blocks.zip(out.chunks_exact_mut(LANES * padded_len)) {
            let mut rows = [[].as_slice(); LANES];
            let mut n = 0;
            for (slot, row) in rows.iter_mut().zip(q.chunks_exact(padded_len)) {
                *slot = row;
                n += 1;
            }
            pack_rows(&rows[..n], out);
        }
    }

    /// Adds the first `n` latent rows of a tile to the states of one token's heads.
    fn add_tile(
        &self,
        q: &[f32],
        (tile, n): (&[f32], usize),
        (scores, shrink): (&mut [f32], &mut [f32]),
        slot: &mut [f32],
        is_first: bool,
    ) {
        let shape = &self.wave.cache.shape;
        let (isa, n_lanes, padded_len) = (self.wave.isa, self.n_lanes, shape.padded_len());
        let partial = Partial::new(slot);
        let (max, sum) = (&mut partial.max[..n_lanes], &mut partial.sum[..n_lanes]);
        if is_first {
            max.fill(f32::NEG_INFINITY);
            sum.fill(0.0);
        }
        Product {
            n_rows: n,
            n_steps: padded_len,
            n_lanes,
            a: tile,
            a_row_step: (padded_len, 1),
            b: q,
            b_step_block: (LANES, LANES * padded_len),
            start: Start::Zero,
            out: scores,
            out_row_block: (n_lanes, LANES),
        }
        .run_on(isa);
        Soften {
            scores,
            n_rows: n,
            stride: n_lanes,
            scale: self.wave.scale,
            max,
            sum,
            shrink,
        }
        .run_on(isa);
        let start = if is_first {
            Start::Zero
        } else {
            Start::Rows(shrink)
        };
        Product {
            n_rows: self.n_heads,
            n_steps: n,
            n_lanes: shape.kv_lora_rank,
            a: scores,
            a_row_step: (1, n_lanes),
            b: tile,
            b_step_block: (padded_len, LANES),
            start,
            out: partial.values,
            out_row_block: (shape.kv_lora_rank, LANES),
        }
        .run_on(isa);
    }
}
