//! Floats as integers of a common scale.

use super::lanes::{LANES, Lanes, Pair};
use super::{Isa, Kernel};

/// Below this magnitude all count as zero: the inverse would overflow.
const TINY: f32 = 1e-30;

/// The scale of integers up to `limit` and the factor that makes them, of numbers up to `max`.
/// Where one is not finite, neither is `max`: the scale is NaN then, so that its fault stays a
/// fault whatever the integers are.
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

    /// That of all lanes.
    #[inline(always)]
    unsafe fn of_all(self) -> f32 {
        let mut lanes = [0.0; LANES];
        // SAFETY: promised by the caller.
        let fault = unsafe {
            self.max.store(&mut lanes);
            self.fault.sum()
        };
        for width in [8, 4, 2, 1] {
            for l in 0..width {
                lanes[l] = lanes[l].max(lanes[l + width]);
            }
        }
        lanes[0] + fault
    }

    #[inline(always)]
    unsafe fn get(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: promised by the caller.
        unsafe { self.max.add(self.fault).store(&mut lanes) };
        lanes
    }
}

/// Rounds two rows of whole sixteens to `out[i] ≈ x[i] / scales[i]` with magnitudes up to `limit`;
/// returns the scales.
pub(crate) struct RoundRows<'a> {
    pub(crate) x: [&'a [f32]; 2],
    pub(crate) limit: f32,
    /// Neighbours in pairs; may be empty.
    pub(crate) out: [&'a mut [Pair]; 2],
    /// As many columns of the two rows side by side: `columns[k]` has integer k of both.
    pub(crate) columns: &'a mut [Pair],
}

impl RoundRows<'_> {
    /// # Panics
    /// When the lengths do not agree.
    pub(crate) fn run_on(self, isa: Isa) -> [f32; 2] {
        let len = self.x[0].len();
        assert!(len.is_multiple_of(LANES) && self.x[1].len() == len);
        let is_whole = |out: &&mut [Pair]| 2 * out.len() == len || out.is_empty();
        assert!(self.out.iter().all(is_whole) && self.out[0].len() == self.out[1].len());
        assert!(self.columns.len() <= len && self.columns.len().is_multiple_of(LANES));
        isa.run(self)
    }
}

impl Kernel for RoundRows<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> [f32; 2] {
        let [first, second] = self.x.map(|x| x.as_chunks::<LANES>().0);
        let [mut first_out, mut second_out] = self
            .out
            .map(|out| out.as_flattened_mut().as_chunks_mut::<LANES>().0.iter_mut());
        let mut columns = self.columns.as_chunks_mut::<LANES>().0.iter_mut();
        // SAFETY: passed on from the caller.
        unsafe {
            let mut most = [Most::<L>::none(); 2];
            for (x, y) in first.iter().zip(second) {
                most = [most[0].and(L::load(x)), most[1].and(L::load(y))];
            }
            let [(first_scale, a), (second_scale, b)] = [
                scale(most[0].of_all(), self.limit),
                scale(most[1].of_all(), self.limit),
            ];
            let (a, b) = (L::splat(a), L::splat(b));
            for (x, y) in first.iter().zip(second) {
                let (x, y) = (L::load(x).mul(a), L::load(y).mul(b));
                if let (Some(x_out), Some(y_out)) = (first_out.next(), second_out.next()) {
                    x.store_i16(x_out);
                    y.store_i16(y_out);
                }
                if let Some(columns) = columns.next() {
                    L::store_pairs(x, y, columns);
                }
            }
            [first_scale, second_scale]
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
