//! Encoding 256 weights into sub-blocks with signed scales of six bits over one value table:
//! x ≈ d·ls·table\[q\], −32 ≤ ls ≤ 31.

use half::f16;

use crate::linear_fit::{extreme, round};
use crate::super_block::SUPER_BLOCK;
use crate::table_fit::{Alphabet, Levels, TableFit};

/// Times that integer scales and `d` follow each other.
const PASSES: usize = 3;
/// Trial values of `d`: from the one at which the sub-block of largest magnitude would have the
/// scale −32.9 or 31.9 ...
const FIRST_TRIAL: f32 = 32.9;
/// ... in steps of this much of that scale ...
const STEP: f32 = 0.2;
/// ... so many of them, which is down to two thirds of the range: where one sub-block stretches
/// it, the others have scales of a few units, and which few decides their error.
const TRIALS: usize = 60;

/// The values of a format of this family.
pub(crate) struct SignedScales<const N: usize> {
    /// One table, prepared for search.
    pub(crate) levels: [Levels<N>; 1],
    /// Trial scales of a sub-block on either side of the start, and their distance in units of
    /// the table.
    pub(crate) trials: (i32, f32),
}

/// An encoded super-block of `K` sub-blocks.
pub(crate) struct SignedBlock<const K: usize> {
    pub(crate) d: f16,
    /// ls + 32.
    pub(crate) scales: [u8; K],
    pub(crate) codes: [u8; SUPER_BLOCK],
}

impl<const N: usize> SignedScales<N> {
    /// The encoding of `x` (`K` sub-blocks of `L`) with importances `w`.
    pub(crate) fn encode<const L: usize, const K: usize>(
        &self,
        x: &[[f32; L]],
        w: &[[f32; L]],
    ) -> SignedBlock<K> {
        let fitted: [f32; K] =
            std::array::from_fn(|k| TableFit::search(&self.levels, &x[k], &w[k], self.trials).d);
        let mut d = start(&fitted, x, w);
        let mut scales = fitted.map(|fitted| integer(fitted * inverse(d)) as i32);
        for pass in 0..PASSES {
            let (mut s1, mut s2) = (0.0, 0.0);
            for (k, scale) in scales.iter_mut().enumerate() {
                let (chosen, t1, t2) = self.choose(*scale, d, &x[k], &w[k]);
                *scale = chosen;
                s1 += t1;
                s2 += t2;
            }
            if pass + 1 < PASSES && s2 > 0.0 {
                d = rounded(s1 / s2);
            }
        }
        let mut codes = [0; SUPER_BLOCK];
        for (k, codes) in codes.as_chunks_mut::<L>().0.iter_mut().enumerate() {
            *codes = self.levels[0].codes(&x[k], &w[k], inverse(d * scales[k] as f32));
        }
        SignedBlock {
            d: f16::from_f32(d),
            scales: scales.map(|scale| (scale + 32) as u8),
            codes,
        }
    }

    /// The best of `scale`, its negative, and the neighbours of both for this `d`, with its
    /// share in S1 and S2 of the super-block. The tables have no symmetry, so the sign matters,
    /// and for scales of a few units the better sign need not be that of the finer fit.
    fn choose<const L: usize>(
        &self,
        scale: i32,
        d: f32,
        x: &[f32; L],
        w: &[f32; L],
    ) -> (i32, f32, f32) {
        let (mut best, mut best_gain) = ((scale, 0.0, 0.0), f32::NEG_INFINITY);
        for sign in [1, -1] {
            for scale in [sign * scale, sign * scale - 1, sign * scale + 1] {
                if !(-32..=31).contains(&scale) {
                    continue;
                }
                let factor = scale as f32;
                let (s1, s2) = self.levels[0].sums(x, w, inverse(d * factor));
                let (s1, s2) = (s1 * factor, s2 * factor * factor);
                // By how much Σ w·(x − d·v)² is below Σ w·x².
                let gain = d * (2.0 * s1 - d * s2);
                if gain > best_gain {
                    (best, best_gain) = ((scale, s1, s2), gain);
                }
            }
        }
        best
    }
}

/// The scale of the super-block whose multiples come nearest to the fitted scales.
fn start<const L: usize, const K: usize>(fitted: &[f32; K], x: &[[f32; L]], w: &[[f32; L]]) -> f32 {
    let extreme = extreme(fitted);
    if extreme == 0.0 {
        return 0.0;
    }
    // What the error of a sub-block grows by for the square of a change of its scale: Σ w·v²,
    // which is nearly Σ w·x² over the square of the fitted scale.
    let cost: [f32; K] = std::array::from_fn(|k| {
        let square: f32 = x[k].iter().zip(&w[k]).map(|(x, w)| w * x * x).sum();
        let scale = fitted[k] / extreme;
        // Far below the last scale there is none for the sub-block anyway.
        if scale.abs() < 1e-6 {
            0.0
        } else {
            square / (scale * scale)
        }
    });
    let mut best = Start::default();
    for t in 0..TRIALS {
        let units = FIRST_TRIAL - STEP * t as f32;
        best.keep_better(Start::at(fitted, &cost, -units / extreme));
        best.keep_better(Start::at(fitted, &cost, (units - 1.0) / extreme));
    }
    rounded(best.d)
}

/// A scale of the super-block with how well multiples of it match the fitted scales.
#[derive(Clone, Copy, Default)]
struct Start {
    d: f32,
    score: f32,
}

impl Start {
    /// The best scale for the integers that one inverse scale leads to.
    fn at<const K: usize>(fitted: &[f32; K], cost: &[f32; K], inverse: f32) -> Self {
        let (mut s1, mut s2) = (0.0, 0.0);
        for (fitted, cost) in fitted.iter().zip(cost) {
            let scale = integer(fitted * inverse);
            s1 += cost * scale * fitted;
            s2 += cost * scale * scale;
        }
        let d = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        Self { d, score: d * s1 }
    }

    fn keep_better(&mut self, other: Self) {
        if other.score > self.score {
            *self = other;
        }
    }
}

fn integer(scale: f32) -> f32 {
    round(scale).clamp(-32.0, 31.0)
}

/// What a decoder will read.
fn rounded(scale: f32) -> f32 {
    f16::from_f32(scale).to_f32()
}

/// 1/`scale`; zero for zero, so that all weights get the code nearest to zero.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}
