//! The exponential function, and softmax weights by it.
//!
//! With `n = round(x / ln 2)` and `r = x − n·ln 2` in two parts, `exp(x) = 2ⁿ · (1 + r + r²·q(r))`;
//! `q` is the polynomial of degree 4 with the least relative error over `|r| ≤ ln 2 / 2`. The
//! error is below 1 ulp over all of the range; results below the least normal number are zero.

use super::lanes::{LANES, Lanes, SHIFT, powers};
use super::{Isa, Kernel};

/// Below this the result is no normal number.
const LOWEST: f32 = -87.336_54;
/// From here on the result is infinite.
const HIGHEST: f32 = 89.0;
const LN_2: [f32; 2] = [std::f32::consts::LN_2, -1.904_654_3e-9];
/// Coefficients of `q`, from the constant on.
const Q: [f32; 5] = [
    0.499_999_94,
    0.166_665_21,
    0.041_668_39,
    0.008_368_717,
    0.001_381_459_9,
];

/// `eˣ`, with the bits of [`exp_lanes`].
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = if HIGHEST < x { HIGHEST } else { x };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = n.mul_add(-LN_2[1], n.mul_add(-LN_2[0], clamped));
    let mut q = Q[4];
    for coefficient in [Q[3], Q[2], Q[1], Q[0]] {
        q = q.mul_add(r, coefficient);
    }
    let value = (r * r).mul_add(q, r) + 1.0;
    let [a, b] = powers(shifted);
    if x < LOWEST { 0.0 } else { value * a * b }
}

/// `eˣ` of sixteen floats.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn exp_lanes<L: Lanes>(x: L) -> L {
    // SAFETY: passed on from the caller.
    unsafe {
        let clamped = L::splat(HIGHEST).min(x);
        let shift = L::splat(SHIFT);
        let shifted = shift.fma(clamped, L::splat(std::f32::consts::LOG2_E));
        let n = shifted.add(L::splat(-SHIFT));
        let r = clamped.fma(n, L::splat(-LN_2[0]));
        let r = r.fma(n, L::splat(-LN_2[1]));
        let mut q = L::splat(Q[4]);
        for coefficient in [Q[3], Q[2], Q[1], Q[0]] {
            q = L::splat(coefficient).fma(q, r);
        }
        let value = r.fma(r.mul(r), q).add(L::splat(1.0));
        value.scale(shifted).zero_below(x, LOWEST)
    }
}

/// Turns raw scores `[n_rows, stride]` into weights `exp(scale · score − max)` relative to the
/// running maximum of their column, adds them to the running sum of the column, and leaves in
/// `shrink` the factor by which older terms of the column shrink.
///
/// Columns come in sixteens; a column with no score above −∞ yet gets no number.
pub(crate) struct Soften<'a> {
    /// `[n_rows, stride]`, of which as many columns take part as `max` has.
    pub(crate) scores: &'a mut [f32],
    pub(crate) n_rows: usize,
    pub(crate) stride: usize,
    pub(crate) scale: f32,
    pub(crate) max: &'a mut [f32],
    pub(crate) sum: &'a mut [f32],
    pub(crate) shrink: &'a mut [f32],
}

impl Soften<'_> {
    pub(crate) fn run_on(self, isa: Isa) {
        isa.run(self);
    }
}

impl Kernel for Soften<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let scores = &mut self.scores[..self.n_rows * self.stride];
        let max = self.max.as_chunks_mut::<LANES>().0.iter_mut();
        let sum = self.sum.as_chunks_mut::<LANES>().0.iter_mut();
        let shrink = self.shrink.as_chunks_mut::<LANES>().0.iter_mut();
        for (block, ((max, sum), shrink)) in max.zip(sum).zip(shrink).enumerate() {
            let at = block * LANES;
            // SAFETY: passed on from the caller.
            unsafe {
                let old_max = L::load(max);
                let scale = L::splat(self.scale);
                let mut new_max = old_max;
                for row in scores.chunks_exact(self.stride) {
                    let Some(score) = row[at..].first_chunk() else {
                        return;
                    };
                    new_max = L::load(score).mul(scale).max(new_max);
                }
                let minus_max = new_max.mul(L::splat(-1.0));
                let mut total = L::splat(0.0);
                for row in scores.chunks_exact_mut(self.stride) {
                    let Some(score) = row[at..].first_chunk_mut() else {
                        return;
                    };
                    let weight = exp_lanes(minus_max.fma(L::load(score), scale));
                    weight.store(score);
                    total = total.add(weight);
                }
                let factor = exp_lanes(old_max.add(minus_max));
                factor.store(shrink);
                total.fma(L::load(sum), factor).store(sum);
                new_max.store(max);
            }
        }
    }
}

#[cfg(test)]
mod tests;
