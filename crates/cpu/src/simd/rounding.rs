//! Floats as integers of a common scale.

use super::lanes::{LANES, Lanes, Pair};
use super::{Isa, Kernel};

/// Below this magnitude all count as zero: the inverse would overflow.
const TINY: f32 = 1e-30;

/// The scale of integers up to `limit` and the factor that makes them, of numbers up to `max`.
/// Where one is not finite, neither is `max`: the scale is NaN then, so that its fault stays a
/// fault, and the integers are zero.
#[inline(always)]
fn scale(max: f32, limit: f32) -> (f32, f32) {
    if !max.is_finite() {
        (f32::NAN, 0.0)
    } else if max < TINY {
        (0.0, 0.0)
    } else {
        (max / limit, limit / max)
    }
}

/// The largest magnitude in each lane, NaN where a number was not finite.
#[derive(Clone, Copy)]
struct Most<L> {
    max: L,
    fault: L,
}

impl<L: Lanes> Most<L> {
    /// # Safety
    /// The CPU has the instruction set of `L`; also below.
    #[inline(always)]
    unsafe fn none() -> Self {
        // SAFETY: promised by the caller.
        let zero = unsafe { L::splat(0.0) };
        Self {
            max: zero,
            fault: zero,
        }
    }

    #[inline(always)]
    unsafe fn and(self, x: L) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            Self {
                max: x.abs().max(self.max),
                // Zero but for infinities and what is no number; a maximum forgets the latter.
                fault: self.fault.fma(x, L::splat(0.0)),
            }
        }
    }

    #[inline(always)]
    unsafe fn get(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: promised by the caller.
        unsafe { self.max.add(self.fault).store(&mut lanes) };
        lanes
    }
}

/// Rounds a row of whole sixteens to `out ≈ x / scale` with |out| ≤ limit; returns the scale.
pub(crate) struct RoundRow<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) limit: f32,
    /// Neighbours in pairs.
    pub(crate) out: &'a mut [Pair],
}

impl RoundRow<'_> {
    /// # Panics
    /// When the lengths do not agree.
    pub(crate) fn run_on(self, isa: Isa) -> f32 {
        assert!(self.x.len().is_multiple_of(LANES) && self.x.len() == 2 * self.out.len());
        isa.run(self)
    }
}

impl Kernel for RoundRow<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> f32 {
        let x = self.x.as_chunks::<LANES>().0;
        let out = self.out.as_flattened_mut().as_chunks_mut::<LANES>().0;
        // SAFETY: passed on from the caller.
        unsafe {
            let mut most = Most::<L>::none();
            for x in x {
                most = most.and(L::load(x));
            }
            let mut max = 0.0;
            for lane in most.get() {
                // What is no number stays the maximum.
                max = if lane <= max || max.is_nan() {
                    max
                } else {
                    lane
                };
            }
            let (scale, factor) = scale(max, self.limit);
            for (x, out) in x.iter().zip(out) {
                L::load(x).mul(L::splat(factor)).store_i16(out);
            }
            scale
        }
    }
}

/// Rounds sixteen columns: `out[k / 2][l][k % 2] ≈ x[k, l] · weights[k] / scales[l]` with
/// magnitudes up to `limit`. Where the last row lacks its other half, that is zero.
pub(crate) struct RoundColumns<'a> {
    /// Rows of sixteen at distance `stride`.
    pub(crate) x: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) n_rows: usize,
    /// A factor for each row; none is 1.
    pub(crate) weights: Option<&'a [f32]>,
    pub(crate) limit: f32,
    /// Rows of pairs at distance `stride`.
    pub(crate) out: &'a mut [Pair],
    pub(crate) scales: &'a mut [f32; LANES],
}

impl RoundColumns<'_> {
    /// # Panics
    /// When a row is outside.
    pub(crate) fn run_on(self, isa: Isa) {
        let last = |n_rows: usize| n_rows.saturating_sub(1) * self.stride + LANES;
        assert!(self.x.len() >= last(self.n_rows));
        assert!(self.out.len() >= last(self.n_rows.div_ceil(2)));
        assert!(
            self.weights
                .is_none_or(|weights| weights.len() >= self.n_rows)
        );
        isa.run(self);
    }

    /// Row `k` times its weight.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    #[inline(always)]
    unsafe fn row<L: Lanes>(&self, k: usize) -> L {
        let row = self.x[k * self.stride..].first_chunk();
        let row = row.expect("rows are inside");
        // SAFETY: promised by the caller.
        unsafe {
            match self.weights {
                Some(weights) => L::load(row).mul(L::splat(weights[k])),
                None => L::load(row),
            }
        }
    }
}

impl Kernel for RoundColumns<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut most = Most::<L>::none();
            for k in 0..self.n_rows {
                most = most.and(self.row(k));
            }
            let (mut scales, mut factors) = ([0.0; LANES], most.get());
            for (out, factor) in scales.iter_mut().zip(&mut factors) {
                (*out, *factor) = scale(*factor, self.limit);
            }
            let factors = L::load(&factors);
            for k in (0..self.n_rows).step_by(2) {
                let first = self.row::<L>(k).mul(factors);
                let second = if k + 1 < self.n_rows {
                    self.row::<L>(k + 1).mul(factors)
                } else {
                    L::splat(0.0)
                };
                let mut pairs = [[0; 2]; LANES];
                L::store_pairs(first, second, &mut pairs);
                self.out[k / 2 * self.stride..][..LANES].copy_from_slice(&pairs);
            }
            *self.scales = scales;
        }
    }
}

#[cfg(test)]
mod tests;
