//! Products of integers of 12 to 14 bits, twice as fast as those of floats.
//!
//! Rounded to a scale of their own are: every row of latents (c̃ and k_pe apart), keys and values;
//! every lane of the weights that make these; every query, its two parts apart; the attention weights
//! of every query in a chunk, times the scales of the values they meet. The sums are exact. As in the
//! absorbed form (`absorbed/pair_products.rs`) this is for models whose weights are quantised.

use std::array;

use super::part::{CHUNK_LEN, Dimensions, GROUP, MAX_GROUPS, Products, Side};
use crate::LatentShape;
use crate::simd::{
    Isa, LANES, Pair, PairProduct, ROUNDED_ROWS, RoundColumns, RoundRows, Start, as_pairs,
    take_parts,
};

/// Largest integers of values and of attention weights: sums of their products over the positions of a
/// chunk stay within 32 bits.
const VALUE_LIMIT: f32 = 2047.0;
const WEIGHT_LIMIT: f32 = 8191.0;
const _: () =
    assert!(CHUNK_LEN as i64 * VALUE_LIMIT as i64 * WEIGHT_LIMIT as i64 <= i32::MAX as i64);
/// Largest integers of all else: sums over [`STEPS`] dimensions do.
const LIMIT: f32 = 4095.0;
/// Dimensions whose products are summed as integers.
const STEPS: usize = 128;
const _: () = assert!(STEPS as i64 * (LIMIT * LIMIT) as i64 <= i32::MAX as i64);

/// See the module.
pub(super) struct PairProducts<'s> {
    dim: &'s Dimensions,
    /// Packed weights.
    key_weights: Blocks<'s>,
    value_weights: Blocks<'s>,
    /// Queries of the groups, packed, without position and with.
    q: Blocks<'s>,
    q_rope: Blocks<'s>,
    latents: Rows<'s>,
    keys: Rows<'s>,
    ropes: Rows<'s>,
    /// Two rows of values side by side, `[CHUNK_LEN / 2, value_lanes]`, and scales of the rows.
    values: Rows<'s>,
    /// Keys or values, `[CHUNK_LEN, lanes]`, before they are rounded.
    floats: &'s mut [f32],
    /// Attention weights `[CHUNK_LEN / 2, n_lanes]`, and scales of the lanes.
    weights: &'s mut [Pair],
    weight_scales: &'s mut [f32],
    /// `[value]`: what sums of values are multiplied by, their scales being in the weights.
    ones: &'s mut [f32],
    /// Latents, keys or values as tiles of bytes.
    planes: &'s mut [Pair],
}

/// Blocks of sixteen lanes with `n_steps` steps each, `[n_blocks, n_steps / 2, 16]`.
struct Blocks<'s> {
    n_steps: usize,
    pairs: &'s mut [Pair],
    /// `[n_blocks, 16]`.
    scales: &'s mut [f32],
}

impl<'s> Blocks<'s> {
    fn scratch_len(n_lanes: usize, n_steps: usize) -> usize {
        n_lanes * (n_steps / 2 + 1)
    }

    fn new(n_steps: usize, scratch: &'s mut [f32]) -> Self {
        let (scales, pairs) = scratch.split_at_mut(scratch.len() / (n_steps / 2 + 1));
        Self {
            n_steps,
            pairs: as_pairs(pairs),
            scales,
        }
    }

    /// Rounds block `at`, of which step `k` is `floats[16·k..]`.
    fn set(&mut self, isa: Isa, at: usize, floats: &[f32]) {
        let len = self.n_steps / 2 * LANES;
        let scales = &mut self.scales[at * LANES..][..LANES];
        RoundColumns {
            x: floats,
            stride: LANES,
            n_rows: self.n_steps,
            weights: None,
            limit: LIMIT,
            out: &mut self.pairs[at * len..(at + 1) * len],
            scales: scales.try_into().expect("sixteen"),
        }
        .run_on(isa);
    }
}

/// Up to [`CHUNK_LEN`] rows of `len` numbers as pairs, and their scales.
struct Rows<'s> {
    len: usize,
    pairs: &'s mut [Pair],
    scales: &'s mut [f32],
}

impl<'s> Rows<'s> {
    fn scratch_len(len: usize) -> usize {
        CHUNK_LEN * (len / 2 + 1)
    }

    fn new(len: usize, scratch: &'s mut [f32]) -> Self {
        let (scales, pairs) = scratch.split_at_mut(CHUNK_LEN);
        Self {
            len,
            pairs: as_pairs(pairs),
            scales,
        }
    }

    /// Rounds what starts at `from` in `n_rows` rows at distance `stride`: with neighbours in pairs,
    /// or with each number beside that of the row below.
    fn set(&mut self, isa: Isa, rows: Source<'_>, are_columns: bool) {
        let half = self.len / 2;
        for first in (0..rows.n_rows).step_by(ROUNDED_ROWS) {
            let n_rows = ROUNDED_ROWS.min(rows.n_rows - first).next_multiple_of(2);
            // Where the last row has no neighbour, it is its own, and meets a weight of zero.
            let x: [_; ROUNDED_ROWS] = array::from_fn(|r| {
                let at = (first + r).min(rows.n_rows - 1) * rows.stride + rows.from;
                rows.floats[at..][..self.len].as_chunks().0
            });
            let pairs = &mut self.pairs[first * half..][..n_rows * half];
            let (limit, out, columns) = match are_columns {
                true => (VALUE_LIMIT, [].as_mut_slice(), pairs),
                false => (LIMIT, pairs, [].as_mut_slice()),
            };
            RoundRows {
                x: &x[..n_rows],
                limit,
                out,
                out_step: half,
                columns,
                n_columns: self.len,
                scales: &mut self.scales[first..],
            }
            .run_on(isa);
        }
    }
}

/// Rows of floats at distance `stride`, and where in them begins what is meant.
#[derive(Clone, Copy)]
struct Source<'a> {
    floats: &'a [f32],
    n_rows: usize,
    stride: usize,
    from: usize,
}

impl<'s> PairProducts<'s> {
    /// Whether all parts are whole sixteens.
    pub(super) fn suit(shape: &LatentShape, dim: &Dimensions) -> bool {
        let lens = [dim.nope, dim.rope, dim.value];
        shape.is_whole_sixteens() && lens.iter().all(|len| len.is_multiple_of(LANES))
    }

    fn lens(dim: &Dimensions) -> [usize; 13] {
        let n_tokens = MAX_GROUPS * GROUP;
        let most_rows = CHUNK_LEN.max(dim.value);
        [
            PairProduct::planes_len(most_rows, STEPS.max(CHUNK_LEN) / 2),
            Blocks::scratch_len(dim.key_lanes, dim.rank),
            Blocks::scratch_len(dim.value_lanes, dim.rank),
            Blocks::scratch_len(n_tokens, dim.nope),
            Blocks::scratch_len(n_tokens, dim.rope),
            Rows::scratch_len(dim.rank),
            Rows::scratch_len(dim.key_lanes),
            Rows::scratch_len(dim.rope),
            Rows::scratch_len(dim.value_lanes),
            CHUNK_LEN * dim.key_lanes.max(dim.value_lanes),
            CHUNK_LEN / 2 * GROUP,
            GROUP,
            dim.value,
        ]
    }

    pub(super) fn scratch_len(dim: &Dimensions) -> usize {
        Self::lens(dim).iter().sum()
    }

    pub(super) fn new(dim: &'s Dimensions, scratch: &'s mut [f32]) -> Self {
        let parts = take_parts(scratch, Self::lens(dim));
        let [
            planes,
            key_weights,
            value_weights,
            q,
            q_rope,
            latents,
            keys,
            ropes,
            values,
            floats,
            weights,
            weight_scales,
            ones,
        ] = parts;
        ones.fill(1.0);
        Self {
            dim,
            key_weights: Blocks::new(dim.rank, key_weights),
            value_weights: Blocks::new(dim.rank, value_weights),
            q: Blocks::new(dim.nope, q),
            q_rope: Blocks::new(dim.rope, q_rope),
            latents: Rows::new(dim.rank, latents),
            keys: Rows::new(dim.key_lanes, keys),
            ropes: Rows::new(dim.rope, ropes),
            values: Rows::new(dim.value_lanes, values),
            floats,
            weights: as_pairs(weights),
            weight_scales,
            ones,
            planes: as_pairs(planes),
        }
    }
}

/// `out: [n_rows, n_lanes]`, from `start` on, of rows with the lanes of blocks from `block` on.
fn multiply(
    isa: Isa,
    (rows, blocks, block): (&Rows<'_>, &Blocks<'_>, usize),
    (n_rows, n_lanes): (usize, usize),
    mut start: Start<'_>,
    out: &mut [f32],
    planes: &mut [Pair],
) {
    let half = rows.len / 2;
    let block_len = half * LANES;
    for first in (0..half).step_by(STEPS / 2) {
        PairProduct {
            n_rows,
            n_pairs: (STEPS / 2).min(half - first),
            n_lanes,
            a: &rows.pairs[first..],
            a_row_step: (half, 1),
            b: &blocks.pairs[block * block_len + first * LANES..],
            b_step_block: (LANES, block_len),
            row_scales: rows.scales,
            lane_scales: Some(&blocks.scales[block * LANES..]),
            start,
            out,
            out_row_block: (n_lanes, LANES),
            planes,
        }
        .run_on(isa);
        start = Start::Out;
    }
}

impl Products for PairProducts<'_> {
    fn set_weights(&mut self, isa: Isa, side: Side, packed: &[f32]) {
        let weights = match side {
            Side::Keys => &mut self.key_weights,
            Side::Values => &mut self.value_weights,
        };
        for (at, block) in packed.chunks_exact(self.dim.rank * LANES).enumerate() {
            weights.set(isa, at, block);
        }
    }

    fn set_queries(&mut self, isa: Isa, group: usize, packed: &[f32]) {
        let blocks = packed.chunks_exact(self.dim.key_len() * LANES);
        for (i, block) in blocks.enumerate() {
            let (nope, rope) = block.split_at(self.dim.nope * LANES);
            self.q.set(isa, group * GROUP / LANES + i, nope);
            self.q_rope.set(isa, group * GROUP / LANES + i, rope);
        }
    }

    fn expand(&mut self, isa: Isa, latents: &[f32]) {
        let dim = self.dim;
        let n_rows = latents.len() / dim.padded_len;
        let mut source = Source {
            floats: latents,
            n_rows,
            stride: dim.padded_len,
            from: 0,
        };
        self.latents.set(isa, source, false);
        source.from = dim.latent_len;
        self.ropes.set(isa, source, false);
        for (weights, out, n_lanes, are_columns) in [
            (&self.key_weights, &mut self.keys, dim.key_lanes, false),
            (&self.value_weights, &mut self.values, dim.value_lanes, true),
        ] {
            let factors = (&self.latents, weights, 0);
            let (size, floats) = ((n_rows, n_lanes), &mut *self.floats);
            multiply(isa, factors, size, Start::Zero, floats, self.planes);
            let source = Source {
                floats: self.floats,
                n_rows,
                stride: n_lanes,
                from: 0,
            };
            out.set(isa, source, are_columns);
        }
    }

    fn score(&mut self, isa: Isa, group: usize, n_lanes: usize, scores: &mut [f32]) {
        let size = (scores.len() / n_lanes, n_lanes);
        let block = group * GROUP / LANES;
        for (factors, start) in [
            ((&self.keys, &self.q, block), Start::Zero),
            ((&self.ropes, &self.q_rope, block), Start::Out),
        ] {
            multiply(isa, factors, size, start, scores, self.planes);
        }
    }

    fn add_values(&mut self, isa: Isa, weights: &[f32], shrink: &[f32], sums: &mut [f32]) {
        let (dim, n_lanes) = (self.dim, shrink.len());
        let n_rows = weights.len() / n_lanes;
        let scales = self.weight_scales.as_chunks_mut::<LANES>().0;
        for (block, scales) in scales[..n_lanes / LANES].iter_mut().enumerate() {
            let at = block * LANES;
            RoundColumns {
                x: &weights[at..],
                stride: n_lanes,
                n_rows,
                weights: Some(&self.values.scales[..n_rows]),
                limit: WEIGHT_LIMIT,
                out: &mut self.weights[at..],
                scales,
            }
            .run_on(isa);
        }
        PairProduct {
            n_rows: dim.value,
            n_pairs: n_rows.div_ceil(2),
            n_lanes,
            a: self.values.pairs,
            a_row_step: (1, dim.value_lanes),
            b: self.weights,
            b_step_block: (n_lanes, LANES),
            row_scales: self.ones,
            lane_scales: Some(self.weight_scales),
            start: Start::Lanes(shrink),
            out: sums,
            out_row_block: (LANES, dim.value * LANES),
            planes: self.planes,
        }
        .run_on(isa);
    }
}
