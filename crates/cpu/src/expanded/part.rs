//! One task: a head and some tokens against all positions they see.
//!
//! Everything is a [`Product`]: keys and values `[positions, dimension]` have their dimension in
//! the lanes, from weights packed once; the scores `[positions, tokens]` and the weighted sums of
//! values `[dimension, tokens]` have the tokens there, so that the softmax runs down the columns.

use std::ops::Range;

use super::{Expanded, KeyUp};
use crate::simd::{Isa, LANES, Product, Soften, Start, aligned, pack_rows, take_parts};
use crate::{LatentCache, LatentShape, Matrix, Queries};

/// Most tokens of a task: bounds its scratch memory.
pub(super) const MAX_TOKENS: usize = 1024;
/// Fewest tokens of a task worth expanding the positions for; whole [`GROUP`]s.
pub(super) const MIN_TOKENS: usize = 64;
/// Positions expanded at a time.
const CHUNK_LEN: usize = 64;
/// Tokens that attend at a time.
const GROUP: usize = 2 * LANES;

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
struct Dimensions {
    rank: usize,
    padded_len: usize,
    nope: usize,
    rope: usize,
    value: usize,
    key_lanes: usize,
    value_lanes: usize,
}

impl Dimensions {
    fn new(shape: &LatentShape, nope: usize, value: usize) -> Self {
        Self {
            rank: shape.kv_lora_rank,
            padded_len: shape.padded_len(),
            nope,
            rope: shape.rope_dim,
            value,
            key_lanes: nope.next_multiple_of(LANES),
            value_lanes: value.next_multiple_of(LANES),
        }
    }

    /// Floats of the queries and of the state of a group.
    fn group_lens(&self) -> (usize, usize) {
        let (key_len, state_len) = (self.nope + self.rope, 2 + self.value);
        (GROUP * key_len, GROUP * state_len)
    }
}

/// The scratch memory of a task.
struct Buffers<'s> {
    /// Packed weights `[lanes / 16, rank, 16]`.
    key_weights: &'s mut [f32],
    value_weights: &'s mut [f32],
    /// `[CHUNK_LEN, padded_len]`; also rows of weights on their way.
    latents: &'s mut [f32],
    /// `[CHUNK_LEN, key_lanes]`, without the part with position.
    keys: &'s mut [f32],
    /// `[CHUNK_LEN, value_lanes]`.
    values: &'s mut [f32],
    /// `[CHUNK_LEN, GROUP]`.
    scores: &'s mut [f32],
    /// Packed queries per group: `[GROUP / 16, key_len, 16]`.
    q: &'s mut [f32],
    /// Softmax states per group: `[max; GROUP] [sum; GROUP] [GROUP / 16, v_head_dim, 16]`.
    states: &'s mut [f32],
}

impl<'s> Buffers<'s> {
    fn lens(dim: &Dimensions, n_groups: usize) -> [usize; 8] {
        let (q_len, state_len) = dim.group_lens();
        // A block of weight rows is in the place of the latents while it is packed.
        let weight_rows = LANES * dim.rank.max(dim.nope);
        [
            dim.key_lanes * dim.rank,
            dim.value_lanes * dim.rank,
            (CHUNK_LEN * dim.padded_len).max(weight_rows),
            CHUNK_LEN * dim.key_lanes,
            CHUNK_LEN * dim.value_lanes,
            CHUNK_LEN * GROUP,
            n_groups * q_len,
            n_groups * state_len,
        ]
    }

    fn new(dim: &Dimensions, n_groups: usize, scratch: &'s mut [f32]) -> Self {
        let parts = take_parts(aligned(scratch), Self::lens(dim, n_groups));
        let [
            key_weights,
            value_weights,
            latents,
            keys,
            values,
            scores,
            q,
            states,
        ] = parts;
        Self {
            key_weights,
            value_weights,
            latents,
            keys,
            values,
            scores,
            q,
            states,
        }
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
        let lens = Buffers::lens(&dim, MAX_TOKENS.div_ceil(GROUP));
        LANES + lens.iter().sum::<usize>()
    }

    /// Attends, and hands the result of each token, by its row, to `emit`.
    pub(super) fn attend(&self, scratch: &mut [f32], emit: impl Fn(usize, Column<'_>)) {
        let dim = Dimensions::new(
            &self.cache.shape,
            self.expanded.qk_nope_head_dim,
            self.v_head_dim,
        );
        let n_groups = self.queries.n_tokens.div_ceil(GROUP);
        let mut buffers = Buffers::new(&dim, n_groups, scratch);
        self.pack_weights(&dim, &mut buffers);
        let (q_len, state_len) = dim.group_lens();
        for (group, q) in buffers.q.chunks_exact_mut(q_len).enumerate() {
            self.pack_queries(&dim, group * GROUP, q);
        }
        for state in buffers.states.chunks_exact_mut(state_len) {
            state.fill(0.0);
            state[..GROUP].fill(f32::NEG_INFINITY);
        }
        let end = self.queries.start + self.queries.n_tokens;
        for first in (0..end).step_by(CHUNK_LEN) {
            let positions = first..end.min(first + CHUNK_LEN);
            self.expand(&dim, positions.clone(), &mut buffers);
            self.attend_chunk(&dim, positions, &mut buffers);
        }
        for (group, state) in buffers.states.chunks_exact(state_len).enumerate() {
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
    fn pack_weights(&self, dim: &Dimensions, buffers: &mut Buffers<'_>) {
        let rows = &mut *buffers.latents;
        match self.expanded.key_up {
            KeyUp::ByKey(stack) => {
                pack_matrix(&stack.item(self.head), rows, buffers.key_weights);
            }
            KeyUp::ByLatent(stack) => {
                // A row is one step, its elements are lanes.
                let matrix = stack.item(self.head);
                for first in (0..dim.rank).step_by(LANES) {
                    let end = dim.rank.min(first + LANES);
                    let rows = &mut rows[..(end - first) * dim.nope];
                    matrix.dequantize_rows(first..end, rows);
                    for (l, row) in (first..).zip(rows.chunks_exact(dim.nope)) {
                        let blocks = buffers.key_weights.chunks_exact_mut(dim.rank * LANES);
                        for (row, block) in row.chunks(LANES).zip(blocks) {
                            let out = &mut block[l * LANES..][..LANES];
                            out[..row.len()].copy_from_slice(row);
                            out[row.len()..].fill(0.0);
                        }
                    }
                }
            }
        }
        let values = self.expanded.value_up.item(self.head);
        pack_matrix(&values, rows, buffers.value_weights);
    }

    /// The queries of a group of tokens, `[GROUP / 16, key_len, 16]`.
    fn pack_queries(&self, dim: &Dimensions, first: usize, out: &mut [f32]) {
        let key_len = dim.nope + dim.rope;
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

    /// Decodes latent rows and makes keys and values of them.
    fn expand(&self, dim: &Dimensions, positions: Range<usize>, buffers: &mut Buffers<'_>) {
        let n_rows = positions.len();
        let latents = &mut buffers.latents[..n_rows * dim.padded_len];
        self.cache
            .decode(self.isa, self.queries.table, positions, latents);
        let both = [
            (&*buffers.key_weights, &mut *buffers.keys, dim.key_lanes),
            (
                &*buffers.value_weights,
                &mut *buffers.values,
                dim.value_lanes,
            ),
        ];
        for (weights, out, n_lanes) in both {
            Product {
                n_rows,
                n_steps: dim.rank,
                n_lanes,
                a: latents,
                a_row_step: (dim.padded_len, 1),
                b: weights,
                b_step_block: (LANES, dim.rank * LANES),
                start: Start::Zero,
                out,
                out_row_block: (n_lanes, LANES),
            }
            .run_on(self.isa);
        }
    }

    /// Adds expanded positions to the states of the tokens that see them.
    fn attend_chunk(&self, dim: &Dimensions, positions: Range<usize>, buffers: &mut Buffers<'_>) {
        let (q_len, state_len) = dim.group_lens();
        let groups = buffers.q.chunks_exact(q_len);
        let states = buffers.states.chunks_exact_mut(state_len);
        for (group, (q, state)) in groups.zip(states).enumerate() {
            let first = self.queries.start + group * GROUP;
            let n_tokens = GROUP.min(self.queries.n_tokens - group * GROUP);
            let visible = |t: usize| (first + t + 1).saturating_sub(positions.start);
            let n_rows = visible(n_tokens - 1).min(positions.len());
            if n_rows == 0 {
                continue;
            }
            let n_lanes = n_tokens.next_multiple_of(LANES);
            let scores = &mut buffers.scores[..n_rows * n_lanes];
            let latent_len = self.cache.shape.latent_len();
            // Keys without position, then with.
            let parts = [
                (&*buffers.keys, dim.key_lanes, (0, dim.nope), Start::Zero),
                (
                    &buffers.latents[latent_len..],
                    dim.padded_len,
                    (dim.nope, dim.rope),
                    Start::Out,
                ),
            ];
            for (keys, stride, (from, n_steps), start) in parts {
                Product {
                    n_rows,
                    n_steps,
                    n_lanes,
                    a: keys,
                    a_row_step: (stride, 1),
                    b: &q[from * LANES..],
                    b_step_block: (LANES, (dim.nope + dim.rope) * LANES),
                    start,
                    out: scores,
                    out_row_block: (n_lanes, LANES),
                }
                .run_on(self.isa);
            }
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
            Soften {
                scores,
                n_rows,
                stride: n_lanes,
                scale: self.expanded.scale,
                max: &mut max[..n_lanes],
                sum: &mut sum[..n_lanes],
                shrink: &mut shrink[..n_lanes],
            }
            .run_on(self.isa);
            Product {
                n_rows: dim.value,
                n_steps: n_rows,
                n_lanes,
                a: buffers.values,
                a_row_step: (1, dim.value_lanes),
                b: scores,
                b_step_block: (n_lanes, LANES),
                start: Start::Lanes(&shrink),
                out: values,
                out_row_block: (LANES, dim.value * LANES),
            }
            .run_on(self.isa);
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
