//! Activations as 8-bit integers.

use std::ops::Range;

use super::CHUNK_LEN;

/// The integer form of a row of activations: `x ≈ da · a`, with the sums that the kernels of a
/// layout start from.
///
/// A row of n columns is, in bytes: `a: i8[n]`, `da: f32[n / block_len]`, `base: i32[n / sub_len]`
/// with `−bias · Σ a` of each sub-block, where `shift` is not 0 `delta: i32[n / sub_len]` with
/// `shift · Σ a`, and where blocks have sub-blocks `total: i16[n / sub_len]` with `Σ a`. n is a
/// multiple of the block's length, so every part is aligned to 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Columns that share a float scale.
    pub block_len: usize,
    /// Columns that share a sum.
    pub sub_len: usize,
    /// Of the values of the weights.
    pub bias: i32,
    /// Between the two tables of values; 1 for types with minima.
    pub shift: i32,
}

/// Below this magnitude a block counts as zero: its inverse would overflow.
const TINY: f32 = 1e-30;

impl Form {
    /// Bytes of a row of `n` columns.
    #[inline]
    pub const fn row_bytes(&self, n: usize) -> usize {
        self.totals(n).end
    }

    /// Where the scales are in a row of `n` columns.
    #[inline]
    pub const fn scales(&self, n: usize) -> Range<usize> {
        n..n + 4 * (n / self.block_len)
    }

    /// Where the base sums are.
    #[inline]
    pub const fn bases(&self, n: usize) -> Range<usize> {
        let start = self.scales(n).end;
        start..start + 4 * (n / self.sub_len)
    }

    /// Where the deltas are, when `shift` is not 0.
    #[inline]
    pub const fn deltas(&self, n: usize) -> Range<usize> {
        let start = self.bases(n).end;
        let len = if self.shift == 0 {
            0
        } else {
            4 * (n / self.sub_len)
        };
        start..start + len
    }

    /// Whether a row has totals: where blocks have sub-blocks.
    #[inline]
    pub const fn has_totals(&self) -> bool {
        self.sub_len < self.block_len
    }

    /// Where the totals are, when there are such.
    #[inline]
    pub const fn totals(&self, n: usize) -> Range<usize> {
        let start = self.deltas(n).end;
        let len = if self.has_totals() {
            2 * (n / self.sub_len)
        } else {
            0
        };
        start..start + len
    }

    /// Rounds `x` to the form: `da = max|x| / 127` of the block, `a` the nearest integer to
    /// `x · (127 / max|x|)`, halves to even. A block with a number that is not finite has
    /// `da` = NaN and a = 0, so that its fault stays a fault.
    ///
    /// # Panics
    /// When `x` is no whole number of blocks or `out` not of [`row_bytes`](Self::row_bytes).
    pub fn quantize(&self, x: &[f32], out: &mut [u8]) {
        let n = x.len();
        assert!(n.is_multiple_of(self.block_len) && out.len() == self.row_bytes(n));
        let (a, rest) = out.split_at_mut(n);
        let (scales, sums) = rest.split_at_mut(self.scales(n).len());
        let chunks = x.as_chunks::<CHUNK_LEN>().0;
        let rounded = a.as_chunks_mut::<CHUNK_LEN>().0;
        let per_block = self.block_len / CHUNK_LEN;
        let blocks = (chunks.chunks_exact(per_block)).zip(rounded.chunks_exact_mut(per_block));
        for ((x, a), out) in blocks.zip(scales.as_chunks_mut::<4>().0) {
            let (scale, inverse) = Self::scale(most(x));
            *out = scale.to_le_bytes();
            if inverse == 0.0 {
                a.as_flattened_mut().fill(0);
            } else {
                for (a, x) in a.iter_mut().zip(x) {
                    *a = x.map(|x| nearest(x * inverse));
                }
            }
        }
        for (k, a) in a.chunks_exact(self.sub_len).enumerate() {
            let sum = a.iter().map(|a| i32::from(*a as i8)).sum();
            self.store_sums(&[sum], k, n, sums);
        }
    }

    /// `da` of a block whose largest magnitude is `max`, and the factor that makes its integers: 0
    /// where all of them are 0.
    #[inline(always)]
    pub fn scale(max: f32) -> (f32, f32) {
        if !max.is_finite() {
            (f32::NAN, 0.0)
        } else if max < TINY {
            (0.0, 0.0)
        } else {
            (max / 127.0, 127.0 / max)
        }
    }

    /// Stores what kernels need of the sums `Σ a` of sub-blocks from `first` on, in `out`: what a row of
    /// `n` columns has from its bases on.
    ///
    /// # Panics
    /// When `out` is shorter, or there are fewer sub-blocks.
    #[inline(always)]
    pub fn store_sums(&self, sums: &[i32], first: usize, n: usize, out: &mut [u8]) {
        let (bases, rest) = out.split_at_mut(self.bases(n).len());
        let (deltas, totals) = rest.split_at_mut(self.deltas(n).len());
        let these = first..first + sums.len();
        for (base, sum) in bases.as_chunks_mut().0[these.clone()].iter_mut().zip(sums) {
            *base = (-self.bias * sum).to_le_bytes();
        }
        if self.shift != 0 {
            let deltas = &mut deltas.as_chunks_mut().0[these.clone()];
            for (delta, sum) in deltas.iter_mut().zip(sums) {
                *delta = (self.shift * sum).to_le_bytes();
            }
        }
        if self.has_totals() {
            for (total, sum) in totals.as_chunks_mut().0[these].iter_mut().zip(sums) {
                // At most 32 · 127.
                *total = (*sum as i16).to_le_bytes();
            }
        }
    }
}

/// The integer nearest to a number of up to 127 in magnitude, halves to even, as the byte of an i8.
fn nearest(x: f32) -> u8 {
    /// Numbers near it have a unit in the last place of 1, so that the addition rounds; its own low
    /// byte is 0.
    const LARGE: f32 = 12_582_912.0;
    (x + LARGE).to_bits() as u8
}

/// The largest magnitude of a block.
fn most(x: &[[f32; CHUNK_LEN]]) -> f32 {
    // The bits of magnitudes have the order of the magnitudes; infinities and NaN are above.
    let bits = x.as_flattened().iter().map(|x| x.abs().to_bits());
    f32::from_bits(bits.fold(0, u32::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_integer_is_that_of_the_standard_library() {
        let eighths = (-127 * 8..=127 * 8).map(|i| i as f32 / 8.0);
        for x in eighths.flat_map(|x| [x.next_down(), x, x.next_up()]) {
            assert_eq!(nearest(x), x.round_ties_even() as i8 as u8, "{x}");
        }
    }
}
