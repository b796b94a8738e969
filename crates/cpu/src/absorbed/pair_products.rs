//! Products of integers of 12 to 14 bits, twice as fast as those of floats.
//!
//! Latent rows and queries are rounded in their two parts, `c̃` and `k_pe`, each to a scale of its
//! own; attention weights, times the scale of their row's `c̃`, to one scale per head and tile.
//! The sums are exact. The error is a fraction of what activations of 8 bits cost elsewhere, so
//! that this is for models whose weights are quantised.

use std::array;
use std::ops::Range;

use perigee_quant::QuantKind;

use super::split::{Products, States, TASK_HEADS, TASK_TOKENS, TILE_LEN};
use crate::simd::{
    F16Row, Isa, LANES, Pair, PairProduct, Q8Row, ROUNDED_ROWS, RoundColumns, RoundRows, Row,
    Start, as_pairs, pack_rows, take_parts,
};
use crate::{LatentCache, LatentShape};

/// Largest integers of rows and queries, and of attention weights: sums of products of the two over a tile stay
/// within 32 bits.
const ROW_LIMIT: f32 = 2047.0;
const WEIGHT_LIMIT: f32 = 8191.0;
const _: () = assert!(TILE_LEN as i64 * ROW_LIMIT as i64 * WEIGHT_LIMIT as i64 <= i32::MAX as i64);
/// A tile is rounded at once.
const _: () = assert!(TILE_LEN <= ROUNDED_ROWS);
/// Columns of a row whose products are summed as integers: all of Kimi's c̃, so that scores are written
/// once. The queries come from the second-level cache then, which costs less than to add to scores.
const CHUNK_LEN: usize = 512;
const _: () = assert!(CHUNK_LEN as i64 * (ROW_LIMIT * ROW_LIMIT) as i64 <= i32::MAX as i64);

/// What the larger of two products needs: scores of rows with queries, and heads' sums of rows.
const PLANES_LEN: usize = {
    let scores = PairProduct::planes_len(TILE_LEN, CHUNK_LEN / 2);
    let sums = PairProduct::planes_len(TASK_HEADS, TILE_LEN / 2);
    if scores > sums { scores } else { sums }
};

/// See the module.
pub(super) struct PairProducts<'s> {
    shape: &'s LatentShape,
    /// `[tokens, heads / 16, padded_len / 2, 16]`.
    q: &'s mut [Pair],
    /// Scales of both parts, `[tokens, 2, heads]`.
    q_scales: &'s mut [f32],
    /// `[TILE_LEN, padded_len / 2]`.
    tile: &'s mut [Pair],
    /// Scales of both parts, `[2, TILE_LEN]`.
    tile_scales: &'s mut [f32],
    /// Two rows of c̃ side by side, `[TILE_LEN / 2, kv_lora_rank]`.
    columns: &'s mut [Pair],
    /// `[TILE_LEN, lanes]`.
    scores: &'s mut [f32],
    /// `[TILE_LEN / 2, lanes]`.
    weights: &'s mut [Pair],
    /// `[lanes]`.
    weight_scales: &'s mut [f32],
    /// `[lanes]`.
    shrink: &'s mut [f32],
    /// Packed queries, `[16, padded_len]`.
    floats: &'s mut [f32],
    /// The tile's rows, or the weights, as tiles of bytes.
    planes: &'s mut [Pair],
}

impl<'s> PairProducts<'s> {
    pub(super) fn scratch_len(shape: &LatentShape) -> usize {
        let padded_len = shape.padded_len();
        let queries = TASK_TOKENS * TASK_HEADS * (padded_len / 2 + 2);
        let tile = TILE_LEN * (padded_len / 2 + 2) + TILE_LEN / 2 * shape.kv_lora_rank;
        let lanes = (TILE_LEN + TILE_LEN / 2 + 2) * TASK_HEADS;
        PLANES_LEN + queries + tile + lanes + LANES * padded_len
    }

    pub(super) fn new(shape: &'s LatentShape, scratch: &'s mut [f32]) -> Self {
        let padded_len = shape.padded_len();
        let lens = [
            PLANES_LEN,
            TASK_TOKENS * TASK_HEADS * padded_len / 2,
            TASK_TOKENS * TASK_HEADS * 2,
            TILE_LEN * padded_len / 2,
            2 * TILE_LEN,
            TILE_LEN / 2 * shape.kv_lora_rank,
            TILE_LEN * TASK_HEADS,
            TILE_LEN / 2 * TASK_HEADS,
            TASK_HEADS,
            TASK_HEADS,
            LANES * padded_len,
        ];
        let [
            planes,
            q,
            q_scales,
            tile,
            tile_scales,
            columns,
            scores,
            weights,
            weight_scales,
            shrink,
            floats,
        ] = take_parts(scratch, lens);
        Self {
            shape,
            q: as_pairs(q),
            q_scales,
            tile: as_pairs(tile),
            tile_scales,
            columns: as_pairs(columns),
            scores,
            weights: as_pairs(weights),
            weight_scales,
            shrink,
            floats,
            planes: as_pairs(planes),
        }
    }

    /// The columns of both parts of a row.
    fn parts(&self) -> [Range<usize>; 2] {
        let (latent_len, padded_len) = (self.shape.latent_len(), self.shape.padded_len());
        [0..latent_len, latent_len..padded_len]
    }

    /// Rounds part `i` of the rows of the tile.
    fn round_part<'a, R: Row>(
        &mut self,
        isa: Isa,
        i: usize,
        parts: &[[&'a [u8]; 2]],
        row: impl Fn(&'a [u8]) -> R,
    ) {
        let rows: [R; TILE_LEN] =
            array::from_fn(|r| row(parts.get(r).map_or(&[], |parts| parts[i])));
        let start = self.parts()[i].start / 2;
        let (columns, n_columns) = match i {
            0 => (&mut *self.columns, self.shape.kv_lora_rank),
            _ => ([].as_mut_slice(), 0),
        };
        RoundRows {
            x: &rows[..parts.len()],
            limit: ROW_LIMIT,
            out: &mut self.tile[start..],
            out_step: self.shape.padded_len() / 2,
            columns,
            n_columns,
            scales: &mut self.tile_scales[i * TILE_LEN..],
        }
        .run_on(isa);
    }

    /// Rounds the attention weights of `n` rows and `n_lanes` heads.
    fn round_weights(&mut self, isa: Isa, n: usize, n_lanes: usize) {
        let scales = self.weight_scales[..n_lanes].as_chunks_mut::<LANES>().0;
        for (block, scales) in scales.iter_mut().enumerate() {
            let at = block * LANES;
            RoundColumns {
                x: &self.scores[at..],
                stride: n_lanes,
                n_rows: n,
                weights: Some(&self.tile_scales[..n]),
                limit: WEIGHT_LIMIT,
                out: &mut self.weights[at..],
                scales,
            }
            .run_on(isa);
        }
    }
}

impl Products for PairProducts<'_> {
    fn set_queries(&mut self, isa: Isa, token: usize, block: usize, rows: &[&[f32]]) {
        let at = token * TASK_HEADS / LANES + block;
        let len = LANES * self.shape.padded_len();
        pack_rows(rows, &mut self.floats[..len]);
        for (i, part) in self.parts().into_iter().enumerate() {
            let scales = (2 * token + i) * TASK_HEADS + block * LANES;
            let scales = &mut self.q_scales[scales..][..LANES];
            let start = at * len / 2 + part.start / 2 * LANES;
            RoundColumns {
                x: &self.floats[part.start * LANES..],
                stride: LANES,
                n_rows: part.len(),
                weights: None,
                limit: ROW_LIMIT,
                out: &mut self.q[start..start + part.len() / 2 * LANES],
                scales: scales.try_into().expect("sixteen"),
            }
            .run_on(isa);
        }
    }

    fn set_tile(&mut self, isa: Isa, cache: LatentCache<'_>, table: usize, at: Range<usize>) {
        let mut parts = [[[].as_slice(); 2]; TILE_LEN];
        for (row, parts) in cache.rows(table, at.clone()).zip(parts.iter_mut()) {
            *parts = self.shape.parts(row);
        }
        // Where the last row has no neighbour, it is its own, and meets a weight of zero.
        if !at.len().is_multiple_of(2) {
            parts[at.len()] = parts[at.len() - 1];
        }
        let parts = &parts[..at.len().next_multiple_of(2)];
        for i in 0..2 {
            match self.shape.kind {
                QuantKind::Q8_0 => self.round_part(isa, i, parts, Q8Row::new),
                _ => self.round_part(isa, i, parts, F16Row::new),
            }
        }
    }

    fn add_tile(&mut self, isa: Isa, token: usize, n: usize, mut states: States<'_>) {
        let (padded_len, rank) = (self.shape.padded_len(), self.shape.kv_lora_rank);
        let States {
            n_heads, n_lanes, ..
        } = states;
        let mut start = Start::Zero;
        for (i, part) in self.parts().into_iter().enumerate() {
            for first in part.clone().step_by(CHUNK_LEN) {
                let n_steps = CHUNK_LEN.min(part.end - first);
                PairProduct {
                    n_rows: n,
                    n_pairs: n_steps / 2,
                    n_lanes,
                    a: &self.tile[first / 2..],
                    a_row_step: (padded_len / 2, 1),
                    b: &self.q[(token * TASK_HEADS * padded_len + first * LANES) / 2..],
                    b_step_block: (LANES, LANES * padded_len / 2),
                    row_scales: &self.tile_scales[i * TILE_LEN..][..n],
                    lane_scales: Some(&self.q_scales[(2 * token + i) * TASK_HEADS..][..n_lanes]),
                    start,
                    out: self.scores,
                    out_row_block: (n_lanes, LANES),
                    planes: self.planes,
                }
                .run_on(isa);
                start = Start::Out;
            }
        }
        states.soften(isa, n, self.scores, self.shrink);
        self.round_weights(isa, n, n_lanes);
        PairProduct {
            n_rows: n_heads,
            n_pairs: n.div_ceil(2),
            n_lanes: rank,
            a: self.weights,
            a_row_step: (1, n_lanes),
            b: self.columns,
            b_step_block: (rank, LANES),
            row_scales: self.weight_scales,
            lane_scales: None,
            start: states.start(self.shrink),
            out: states.partial.values,
            out_row_block: (rank, LANES),
            planes: self.planes,
        }
        .run_on(isa);
    }
}
