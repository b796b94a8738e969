//! Floats as integers of a common scale: the nearest to the rounded product with its inverse, halves
//! to even, by the addition of [`SHIFT`].

use super::decoding::Row;
use super::lanes::{LANES, Lanes, Pair, SHIFT};
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

/// `x · factor`, rounded, plus [`SHIFT`].
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn shifted<L: Lanes>(x: L, factor: L) -> L {
    // SAFETY: promised by the caller.
    unsafe { x.mul(factor).add(L::splat(SHIFT)) }
}

/// Rounds `x · factor`, of up to 127 in magnitude, to bytes, and returns their sum. With a factor of 0 all
/// are 0.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn round_bytes<L: Lanes, const N: usize>(
    x: &[[f32; LANES]; N],
    factor: f32,
    out: &mut [[u8; LANES]; N],
) -> i32 {
    if factor == 0.0 {
        *out = [[0; LANES]; N];
        return 0;
    }
    // SAFETY: promised by the caller.
    unsafe {
        let mut sum = L::splat(0.0);
        for i in 0..N {
            let shifted = shifted(L::load(&x[i]), L::splat(factor));
            shifted.store_i8(&mut out[i]);
            sum = sum.add(shifted.add(L::splat(-SHIFT)));
        }
        // Where a number plus this has its integer, as everywhere here.
        (sum.sum() + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
    }
}

/// Most rows of [`RoundRows`]: as many as attention decodes at a time.
pub(crate) const ROUNDED_ROWS: usize = 128;

/// Rounds rows of whole sixteens, all of one length, to `out[m, i] ≈ x[m, i] / scales[m]` with
/// magnitudes up to `limit`.
///
/// The scales of all rows come first, then their integers: many rows hide how long a scale takes.
pub(crate) struct RoundRows<'a, R> {
    /// Whole pairs of rows.
    pub(crate) x: &'a [R],
    pub(crate) limit: f32,
    /// Rows at distance `out_step` with neighbours in pairs; or nothing.
    pub(crate) out: &'a mut [Pair],
    pub(crate) out_step: usize,
    /// Two rows side by side, `n_columns` of them or nothing: element `k` of what begins at
    /// `m / 2 · n_columns` has integer k of rows m and m + 1.
    pub(crate) columns: &'a mut [Pair],
    pub(crate) n_columns: usize,
    pub(crate) scales: &'a mut [f32],
}

impl<R: Row> RoundRows<'_, R> {
    /// # Panics
    /// When an output is too short, or what should be whole is not.
    pub(crate) fn run_on(self, isa: Isa) {
        let (n_rows, n_chunks) = (self.x.len(), self.x.first().map_or(0, |x| x.n_chunks()));
        assert!(n_rows <= ROUNDED_ROWS && n_rows.is_multiple_of(2) && n_rows <= self.scales.len());
        assert!(self.x.iter().all(|x| x.n_chunks() == n_chunks));
        assert!(self.n_columns <= n_chunks * LANES && self.n_columns.is_multiple_of(LANES));
        isa.run(self);
    }
}

impl<R: Row> Kernel for RoundRows<'_, R> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let mut factors = [0.0; ROUNDED_ROWS];
        for ((x, scale_out), factor) in self.x.iter().zip(self.scales).zip(&mut factors) {
            // SAFETY: passed on from the caller.
            let most = unsafe { most::<L>(*x) };
            (*scale_out, *factor) = scale(most, self.limit);
        }
        for (i, pair) in self.x.as_chunks::<2>().0.iter().enumerate() {
            let half = pair[0].n_chunks() * LANES / 2;
            let factors = [factors[2 * i], factors[2 * i + 1]];
            let columns = match &mut self.columns {
                [] => &mut [],
                columns => &mut columns[i * self.n_columns..][..self.n_columns],
            };
            let out = match &mut self.out {
                [] => [[].as_mut_slice(), &mut []],
                out => {
                    let (first, second) = out[2 * i * self.out_step..].split_at_mut(self.out_step);
                    [&mut first[..half], &mut second[..half]]
                }
            };
            // SAFETY: passed on from the caller.
            unsafe { round_pair::<L>(*pair, factors, out, columns) };
        }
    }
}

/// The largest magnitude of a row, where infinities are above all numbers and what is none above those.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn most<L: Lanes>(x: impl Row) -> f32 {
    // SAFETY: promised by the caller.
    unsafe {
        let mut most = L::splat(0.0);
        for i in 0..x.n_chunks() {
            most = most.most(x.chunk(i));
        }
        most.most_of_all()
    }
}

/// Rounds two rows; the outputs are as long as the rows, or shorter.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn round_pair<L: Lanes>(
    [x, y]: [impl Row; 2],
    [a, b]: [f32; 2],
    out: [&mut [Pair]; 2],
    columns: &mut [Pair],
) {
    let columns = columns.as_chunks_mut::<LANES>().0;
    let [(x_out, x_end), (y_out, y_end)] = out.map(|out| out.as_chunks_mut::<LANES>());
    // Loops without a question in them, over 32 numbers where rows are stored.
    let n_rows = x_out.len().min(y_out.len());
    let n_both = n_rows.min(columns.len() / 2);
    // SAFETY: promised by the caller.
    unsafe {
        for i in 0..n_both {
            let (x, y) = (round_two::<L>(x, a, i), round_two::<L>(y, b, i));
            L::store_i16(x, &mut x_out[i]);
            L::store_i16(y, &mut y_out[i]);
            L::store_pairs(x[0], y[0], &mut columns[2 * i]);
            L::store_pairs(x[1], y[1], &mut columns[2 * i + 1]);
        }
        for i in n_both..n_rows {
            L::store_i16(round_two(x, a, i), &mut x_out[i]);
            L::store_i16(round_two(y, b, i), &mut y_out[i]);
        }
        for (row, factor, end) in [(x, a, x_end), (y, b, y_end)] {
            if !end.is_empty() {
                let (last, mut two) = (round::<L>(row, factor, 2 * n_rows), [[0; 2]; LANES]);
                L::store_i16([last, last], &mut two);
                end.copy_from_slice(&two[..end.len()]);
            }
        }
        for (i, columns) in columns.iter_mut().enumerate().skip(2 * n_both) {
            L::store_pairs(round(x, a, i), round(y, b, i), columns);
        }
    }
}

/// Sixteen `i` of a row times a factor, plus [`SHIFT`].
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn round<L: Lanes>(row: impl Row, factor: f32, i: usize) -> L {
    // SAFETY: promised by the caller.
    unsafe { shifted(row.chunk::<L>(i), L::splat(factor)) }
}

/// Sixteens `2 · i` and `2 · i + 1`.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn round_two<L: Lanes>(row: impl Row, factor: f32, i: usize) -> [L; 2] {
    // SAFETY: promised by the caller.
    unsafe { [round(row, factor, 2 * i), round(row, factor, 2 * i + 1)] }
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
            let mut most = L::splat(0.0);
            for k in 0..self.n_rows {
                most = most.most(self.row(k));
            }
            let (mut scales, mut factors) = ([0.0; LANES], [0.0; LANES]);
            most.store(&mut factors);
            for (out, factor) in scales.iter_mut().zip(&mut factors) {
                (*out, *factor) = scale(*factor, self.limit);
            }
            let factors = L::load(&factors);
            for k in (0..self.n_rows).step_by(2) {
                let first = shifted(self.row(k), factors);
                let second = if k + 1 < self.n_rows {
                    shifted(self.row(k + 1), factors)
                } else {
                    L::splat(SHIFT)
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
