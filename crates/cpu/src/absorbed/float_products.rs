//! Products of floats: as exact as f32 is.

use std::ops::Range;

use super::split::{Products, States, TASK_HEADS, TASK_TOKENS, TILE_LEN};
use crate::simd::{Isa, LANES, Product, Start, pack_rows, take_parts};
use crate::{LatentCache, LatentShape};

/// See the module.
pub(super) struct FloatProducts<'s> {
    shape: &'s LatentShape,
    /// Packed queries: `[tokens, heads / 16, padded_len, 16]`.
    q: &'s mut [f32],
    /// `[TILE_LEN, padded_len]`.
    tile: &'s mut [f32],
    /// `[TILE_LEN, lanes]`.
    scores: &'s mut [f32],
    /// `[lanes]`.
    shrink: &'s mut [f32],
}

impl<'s> FloatProducts<'s> {
    pub(super) fn scratch_len(shape: &LatentShape) -> usize {
        let rows = TASK_TOKENS * TASK_HEADS + TILE_LEN;
        rows * shape.padded_len() + (TILE_LEN + 1) * TASK_HEADS
    }

    pub(super) fn new(shape: &'s LatentShape, scratch: &'s mut [f32]) -> Self {
        let lens = [
            TASK_TOKENS * TASK_HEADS * shape.padded_len(),
            TILE_LEN * shape.padded_len(),
            TILE_LEN * TASK_HEADS,
            TASK_HEADS,
        ];
        let [q, tile, scores, shrink] = take_parts(scratch, lens);
        Self {
            shape,
            q,
            tile,
            scores,
            shrink,
        }
    }
}

impl Products for FloatProducts<'_> {
    fn set_queries(&mut self, _: Isa, token: usize, block: usize, rows: &[&[f32]]) {
        let len = LANES * self.shape.padded_len();
        let at = token * TASK_HEADS / LANES + block;
        pack_rows(rows, &mut self.q[at * len..(at + 1) * len]);
    }

    fn set_tile(&mut self, isa: Isa, cache: LatentCache<'_>, table: usize, at: Range<usize>) {
        cache.decode(isa, table, at, self.tile);
    }

    fn add_tile(&mut self, isa: Isa, token: usize, n: usize, mut states: States<'_>) {
        let padded_len = self.shape.padded_len();
        let States {
            n_heads, n_lanes, ..
        } = states;
        let q_len = TASK_HEADS * padded_len;
        Product {
            n_rows: n,
            n_steps: padded_len,
            n_lanes,
            a: self.tile,
            a_row_step: (padded_len, 1),
            b: &self.q[token * q_len..(token + 1) * q_len],
            b_step_block: (LANES, LANES * padded_len),
            start: Start::Zero,
            out: self.scores,
            out_row_block: (n_lanes, LANES),
        }
        .run_on(isa);
        states.soften(isa, n, self.scores, self.shrink);
        Product {
            n_rows: n_heads,
            n_steps: n,
            n_lanes: self.shape.kv_lora_rank,
            a: self.scores,
            a_row_step: (1, n_lanes),
            b: self.tile,
            b_step_block: (padded_len, LANES),
            start: states.start(self.shrink),
            out: states.partial.values,
            out_row_block: (self.shape.kv_lora_rank, LANES),
        }
        .run_on(isa);
    }
}
