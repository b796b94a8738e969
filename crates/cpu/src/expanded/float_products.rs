//! Products of floats: as exact as f32 is.

use super::part::{CHUNK_LEN, Dimensions, GROUP, MAX_GROUPS, Products, Side};
use crate::simd::{Isa, LANES, Product, Start, take_parts};

/// See the module.
pub(super) struct FloatProducts<'s> {
    dim: &'s Dimensions,
    /// Packed weights `[lanes / 16, rank, 16]`.
    key_weights: &'s mut [f32],
    value_weights: &'s mut [f32],
    /// Packed queries per group: `[GROUP / 16, key_len, 16]`.
    q: &'s mut [f32],
    /// `[CHUNK_LEN, key_lanes]`, without the part with position.
    keys: &'s mut [f32],
    /// `[CHUNK_LEN, rope]`.
    ropes: &'s mut [f32],
    /// `[CHUNK_LEN, value_lanes]`.
    values: &'s mut [f32],
}

impl<'s> FloatProducts<'s> {
    fn lens(dim: &Dimensions) -> [usize; 6] {
        [
            dim.key_lanes * dim.rank,
            dim.value_lanes * dim.rank,
            MAX_GROUPS * GROUP * dim.key_len(),
            CHUNK_LEN * dim.key_lanes,
            CHUNK_LEN * dim.rope,
            CHUNK_LEN * dim.value_lanes,
        ]
    }

    pub(super) fn scratch_len(dim: &Dimensions) -> usize {
        Self::lens(dim).iter().sum()
    }

    pub(super) fn new(dim: &'s Dimensions, scratch: &'s mut [f32]) -> Self {
        let parts = take_parts(scratch, Self::lens(dim));
        let [key_weights, value_weights, q, keys, ropes, values] = parts;
        Self {
            dim,
            key_weights,
            value_weights,
            q,
            keys,
            ropes,
            values,
        }
    }
}

impl Products for FloatProducts<'_> {
    fn set_weights(&mut self, _: Isa, side: Side, packed: &[f32]) {
        match side {
            Side::Keys => self.key_weights.copy_from_slice(packed),
            Side::Values => self.value_weights.copy_from_slice(packed),
        }
    }

    fn set_queries(&mut self, _: Isa, group: usize, packed: &[f32]) {
        self.q[group * packed.len()..][..packed.len()].copy_from_slice(packed);
    }

    fn expand(&mut self, isa: Isa, latents: &[f32]) {
        let dim = self.dim;
        let rows = latents.chunks_exact(dim.padded_len);
        let n_rows = rows.len();
        for (row, rope) in rows.zip(self.ropes.chunks_exact_mut(dim.rope)) {
            rope.copy_from_slice(&row[dim.latent_len..][..dim.rope]);
        }
        let both = [
            (&*self.key_weights, &mut *self.keys, dim.key_lanes),
            (&*self.value_weights, &mut *self.values, dim.value_lanes),
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
            .run_on(isa);
        }
    }

    fn score(&mut self, isa: Isa, group: usize, n_lanes: usize, scores: &mut [f32]) {
        let dim = self.dim;
        let q = &self.q[group * GROUP * dim.key_len()..];
        // Keys without position, then with.
        let parts = [
            (&*self.keys, dim.key_lanes, (0, dim.nope), Start::Zero),
            (&*self.ropes, dim.rope, (dim.nope, dim.rope), Start::Out),
        ];
        for (keys, stride, (from, n_steps), start) in parts {
            Product {
                n_rows: scores.len() / n_lanes,
                n_steps,
                n_lanes,
                a: keys,
                a_row_step: (stride, 1),
                b: &q[from * LANES..],
                b_step_block: (LANES, dim.key_len() * LANES),
                start,
                out: scores,
                out_row_block: (n_lanes, LANES),
            }
            .run_on(isa);
        }
    }

    fn add_values(&mut self, isa: Isa, weights: &[f32], shrink: &[f32], sums: &mut [f32]) {
        let (dim, n_lanes) = (self.dim, shrink.len());
        Product {
            n_rows: dim.value,
            n_steps: weights.len() / n_lanes,
            n_lanes,
            a: self.values,
            a_row_step: (1, dim.value_lanes),
            b: weights,
            b_step_block: (n_lanes, LANES),
            start: Start::Lanes(shrink),
            out: sums,
            out_row_block: (LANES, dim.value * LANES),
        }
        .run_on(isa);
    }
}
