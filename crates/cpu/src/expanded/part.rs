//! One task: a head and some tokens against all positions they see.
//!
//! Keys and values `[positions, dimension]` have their dimension in the lanes, from weights packed
//! once; the scores `[positions, tokens]` and the weighted sums of values `[dimension, tokens]` have
//! the tokens there, so that the softmax runs down the columns. The products are those of floats
//! (`float_products.rs`) or of integers (`pair_products.rs`).

use std::ops::Range;

use super::float_products::FloatProducts;
use super::pair_products::PairProducts;
use super::{Expanded, KeyUp};
use crate::simd::{Isa, LANES, Soften, aligned, pack_rows, take_parts};
use crate::{LatentCache, LatentShape, Matrix, Queries};

/// Most tokens of a task: bounds its scratch memory.
pub(super) const MAX_TOKENS: usize = 2048;
/// Fewest tokens of a task worth expanding the positions for; whole [`GROUP`]s.
pub(super) const MIN_TOKENS: usize = 64;
/// Positions expanded at a time.
pub(super) const CHUNK_LEN: usize = 128;
/// Tokens that attend at a time.
pub(super) const GROUP: usize = 2 * LANES;
/// Groups of a task.
pub(super) const MAX_GROUPS: usize = MAX_TOKENS.div_ceil(GROUP);

/// Weights, queries, keys and values of a task, and their products.
pub(super) trait Products {
    /// Takes over weights that make keys or values, packed `[lanes / 16, kv_lora_rank, 16]`.
    fn set_weights(&mut self, isa: Isa, side: Side, packed: &[f32]);

    /// Takes over the queries of a group, packed `[GROUP / 16, nope + rope, 16]`.
    fn set_queries(&mut self, isa: Isa, group: usize, packed: &[f32]);

    /// Makes keys and values of up to [`CHUNK_LEN`] latent rows `[positions, padded_len]`.
    fn expand(&mut self, isa: Isa, latents: &[f32]);

    /// `scores: [n_rows, n_lanes]` of the first rows with the queries of a group.
    fn score(&mut self, isa: Isa, group: usize, n_lanes: usize, scores: &mut [f32]);

    /// `sums: [lanes / 16, value, 16]`, times `shrink` per lane, plus the values of the first rows
    /// times their weights `[n_rows, n_lanes]`.
    fn add_values(&mut self, isa: Isa, weights: &[f32], shrink: &[f32], sums: &mut [f32]);
}

/// What weights make of latents.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Keys,
    Values,
}

/// See the module.
pub(super) struct Part<'a> {
    pub(super) isa: Isa,
    pub(super) expanded: &'a Expanded<'a>,
    pub(super) cache: LatentCache<'a>,
    pub(super) q: &'a [f32],
    pub(super) head: usize,
    pub(super) n_heads: usize,
    pub(super) v_head_dim: usize,
    /// The tokens of the part.
    pub(super) queries: Queries,
}

/// Dimensions of keys and values, and these in whole sixteens.
#[derive(Clone, Copy)]
pub(super) struct Dimensions {
    pub(super) rank: usize,
    /// Floats of a latent row, and of its part without position.
    pub(super) padded_len: usize,
    pub(super) latent_len: usize,
    pub(super) nope: usize,
    pub(super) rope: usize,
    pub(super) value: usize,
    pub(super) key_lanes: usize,
    pub(super) value_lanes: usize,
}

impl Dimensions {
    fn new(shape: &LatentShape, nope: usize, value: usize) -> Self {
        Self {
            rank: shape.kv_lora_rank,
            padded_len: shape.padded_len(),
            latent_len: shape.latent_len(),
            nope,
            rope: shape.rope_dim,
            value,
            key_lanes: nope.next_multiple_of(LANES),
            value_lanes: value.next_multiple_of(LANES),
        }
    }

    /// Floats of a query.
    pub(super) fn key_len(&self) -> usize {
        self.nope + self.rope
    }

    /// Floats of the state of a group.
    fn state_len(&self) -> usize {
        GROUP * (2 + self.value)
    }
}

/// The scratch memory of a task, whatever its products.
struct Buffers<'s> {
    /// `[CHUNK_LEN, padded_len]`; also rows of weights on their way.
    latents: &'s mut [f32],
    /// Weights and queries on their way, `[lanes / 16, rank or key_len, 16]`.
    packed: &'s mut [f32],
    /// `[CHUNK_LEN, GROUP]`.
    scores: &'s mut [f32],
    /// Softmax states per group: `[max; GROUP] [sum; GROUP] [GROUP / 16, v_head_dim, 16]`.
    states: &'s mut [f32],
}

impl<'s> Buffers<'s> {
    fn lens(dim: &Dimensions) -> [usize; 4] {
        // A block of weight rows is in the place of the latents while it is packed.
        let weight_rows = LANES * dim.rank.max(dim.nope);
        let weights = dim.key_lanes.max(dim.value_lanes) * dim.rank;
        [
            (CHUNK_LEN * dim.padded_len).max(weight_rows),
            weights.max(GROUP * dim.key_len()),
            CHUNK_LEN * GROUP,
            MAX_GROUPS * dim.state_len(),
        ]
    }

    /// The buffers, and what is left of the scratch memory.
    fn new(dim: &Dimensions, scratch: &'s mut [f32]) -> (Self, &'s mut [f32]) {
        let lens = Self::lens(dim);
        let (mine, left) = scratch.split_at_mut(lens.iter().sum());
        let [latents, packed, scores, states] = take_parts(mine, lens);
        let buffers = Self {
            latents,
            packed,
            scores,
            states,
        };
        (buffers, left)
    }
}

/// The sums of one token, a column of the state of its group.
pub(super) struct Column<'a> {
    /// `[v_head_dim, 16]`.
    values: &'a [[f32; LANES]],
    lane: usize,
    sum: f32,
}

impl Column<'_> {
    /// Writes the attended values.
    pub(super) fn copy_into(&self, out: &mut [f32]) {
        for (out, values) in out.iter_mut().zip(self.values) {
            *out = values[self.lane] / self.sum;
        }
    }
}

impl Part<'_> {
    /// Scratch floats of a task.
    pub(super) fn scratch_len(shape: &LatentShape, nope: usize, value: usize) -> usize {
        let dim = Dimensions::new(shape, nope, value);
        let products = FloatProducts::scratch_len(&dim).max(PairProducts::scratch_len(&dim));
        LANES + Buffers::lens(&dim).iter().sum::<usize>() + products
    }

    /// Attends, and hands the result of each token, by its row, to `emit`.
    pub(super) fn attend(&self, scratch: &mut [f32], emit: impl Fn(usize, Column<'_>)) {
        let shape = &self.cache.shape;
        let dim = Dimensions::new(shape, self.expanded.qk_nope_head_dim, self.v_head_dim);
        let (buffers, left) = Buffers::new(&dim, aligned(scratch));
        if self.expanded.is_rounded && PairProducts::suit(shape, &dim) {
            self.attend_by(&dim, buffers, PairProducts::new(&dim, left), emit);
        } else {
            self.attend_by(&dim, buffers, FloatProducts::new(&dim, left), emit);
        }
    }

    fn attend_by(
        &self,
        dim: &Dimensions,
        mut buffers: Buffers<'_>,
        mut products: impl Products,
        emit: impl Fn(usize, Column<'_>),
    ) {
        let n_groups = self.queries.n_tokens.div_ceil(GROUP);
        self.set_weights(dim, &mut buffers, &mut products);
        for group in 0..n_groups {
            let packed = &mut buffers.packed[..GROUP * dim.key_len()];
            self.pack_queries(dim, group * GROUP, packed);
            products.set_queries(self.isa, group, packed);
        }
        let states = &mut buffers.states[..n_groups * dim.state_len()];
        for state in states.chunks_exact_mut(dim.state_len()) {
            state.fill(0.0);
            state[..GROUP].fill(f32::NEG_INFINITY);
        }
        let end = self.queries.start + self.queries.n_tokens;
        for first in (0..end).step_by(CHUNK_LEN) {
            let positions = first..end.min(first + CHUNK_LEN);
            let latents = &mut buffers.latents[..positions.len() * dim.padded_len];
            self.cache
                .decode(self.isa, self.queries.table, positions.clone(), latents);
            products.expand(self.isa, latents);
            self.attend_chunk(dim, positions, &mut products, buffers.scores, states);
        }
        for (group, state) in states.chunks_exact(dim.state_len()).enumerate() {
            let (max_sum, values) = state.split_at(2 * GROUP);
            for t in 0..GROUP.min(self.queries.n_tokens - group * GROUP) {
                let (block, lane) = (t / LANES, t % LANES);
                let column = Column {
                    values: &values.as_chunks::<LANES>().0[block * dim.value..][..dim.value],
                    lane,
                    sum: max_sum[GROUP + t],
                };
                emit(self.queries.first_row + group * GROUP + t, column);
            }
        }
    }

    /// Decodes the weights of the head into blocks of sixteen lanes.
    fn set_weights(
        &self,
        dim: &Dimensions,
        buffers: &mut Buffers<'_>,
        products: &mut impl Products,
    ) {
        let rows = &mut *buffers.latents;
        let packed = &mut buffers.packed[..dim.key_lanes * dim.rank];
        match self.expanded.key_up {
            KeyUp::ByKey(stack) => pack_matrix(&stack.item(self.head), rows, packed),
            KeyUp::ByLatent(stack) => {
                // A row is one step, its elements are lanes.
                let matrix = stack.item(self.head);
                for first in (0..dim.rank).step_by(LANES) {
                    let end = dim.rank.min(first + LANES);
                    let rows = &mut rows[..(end - first) * dim.nope];
                    matrix.dequantize_rows(first..end, rows);
                    for (l, row) in (first..).zip(rows.chunks_exact(dim.nope)) {
                        let blocks = packed.chunks_exact_mut(dim.rank * LANES);
                        for (row, block) in row.chunks(LANES).zip(blocks) {
                            let out = &mut block[l * LANES..][..LANES];
                            out[..row.len()].copy_from_slice(row);
                            out[row.len()..].fill(0.0);
                        }
                    }
                }
            }
        }
        products.set_weights(self.isa, Side::Keys, packed);
        let packed = &mut buffers.packed[..dim.value_lanes * dim.rank];
        pack_matrix(&self.expanded.value_up.item(self.head), rows, packed);
        products.set_weights(self.isa, Side::Values, packed);
    }

    /// The queries of a group of tokens, `[GROUP / 16, key_len, 16]`.
    fn pack_queries(&self, dim: &Dimensions, first: usize, out: &mut [f32]) {
        let key_len = dim.key_len();
        for (block, out) in out.chunks_exact_mut(key_len * LANES).enumerate() {
            let first = first + block * LANES;
            let mut rows = [[].as_slice(); LANES];
            let n = LANES.min(self.queries.n_tokens.saturating_sub(first));
            for (t, row) in rows[..n].iter_mut().enumerate() {
                let at = (self.queries.first_row + first + t) * self.n_heads + self.head;
                *row = &self.q[at * key_len..][..key_len];
            }
            pack_rows(&rows[..n], out);
        }
    }

    /// Adds expanded positions to the states of the tokens that see them.
    fn attend_chunk(
        &self,
        dim: &Dimensions,
        positions: Range<usize>,
        products: &mut impl Products,
        scores: &mut [f32],
        states: &mut [f32],
    ) {
        for (group, state) in states.chunks_exact_mut(dim.state_len()).enumerate() {
            let first = self.queries.start + group * GROUP;
            let n_tokens = GROUP.min(self.queries.n_tokens - group * GROUP);
            let visible = |t: usize| (first + t + 1).saturating_sub(positions.start);
            let n_rows = visible(n_tokens - 1).min(positions.len());
            if n_rows == 0 {
                continue;
            }
            let n_lanes = n_tokens.next_multiple_of(LANES);
            let scores = &mut scores[..n_rows * n_lanes];
            products.score(self.isa, group, n_lanes, scores);
            for (p, row) in scores
                .chunks_exact_mut(n_lanes)
                .enumerate()
                .skip(visible(0))
            {
                // Token t sees p < visible(t), and visible(t) − t is the same for all that see any.
                let n_blind = (positions.start + p).saturating_sub(first).min(n_lanes);
                row[..n_blind].fill(f32::NEG_INFINITY);
            }
            let (max, rest) = state.split_at_mut(GROUP);
            let (sum, values) = rest.split_at_mut(GROUP);
            let mut shrink = [0.0; GROUP];
            let shrink = &mut shrink[..n_lanes];
            Soften {
                scores,
                n_rows,
                stride: n_lanes,
                scale: self.expanded.scale,
                max: &mut max[..n_lanes],
                sum: &mut sum[..n_lanes],
                shrink,
            }
            .run_on(self.isa);
            products.add_values(self.isa, scores, shrink, values);
        }
    }
}

/// Decodes a matrix into blocks of sixteen of its rows, `[n_rows / 16, n_in, 16]`, by way of
/// `rows`.
fn pack_matrix(matrix: &Matrix<'_>, rows: &mut [f32], out: &mut [f32]) {
    let n_in = matrix.n_in();
    for (block, out) in out.chunks_exact_mut(n_in * LANES).enumerate() {
        let first = block * LANES;
        let end = matrix.n_rows().min(first + LANES);
        let rows = &mut rows[..(end - first) * n_in];
        matrix.dequantize_rows(first..end, rows);
        let mut slices = [[].as_slice(); LANES];
        for (slice, row) in slices.iter_mut().zip(rows.chunks_exact(n_in)) {
            *slice = row;
        }
        pack_rows(&slices[..end - first], out);
    }
}
