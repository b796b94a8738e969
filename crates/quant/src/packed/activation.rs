//! Activations as 8-bit integers.

use std::ops::Range;

/// The integer form of a row of activations: `x ≈ da · a`, with the sums that the kernels of a
/// layout start from.
///
/// A row of n columns is, in bytes: `a: i8[n]`, `da: f32[n / block_len]`, `base: i32[n / sub_len]`
/// with `−bias · Σ a` of each sub-block, and where `shift` is not 0 `delta: i32[n / sub_len]` with
/// `shift · Σ a`. n is a multiple of 32, so every part is aligned to 4 bytes.
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
    pub const fn row_bytes(&self, n: usize) -> usize {
        let sums = if self.shift == 0 { 1 } else { 2 };
        n + 4 * (n / self.block_len) + sums * 4 * (n / self.sub_len)
    }

    /// Where the scales are in a row of `n` columns.
    pub const fn scales(&self, n: usize) -> Range<usize> {
        n..n + 4 * (n / self.block_len)
    }

    /// Where the base sums are.
    pub const fn bases(&self, n: usize) -> Range<usize> {
        let start = self.scales(n).end;
        start..start + 4 * (n / self.sub_len)
    }

    /// Where the deltas are, when `shift` is not 0.
    pub const fn deltas(&self, n: usize) -> Range<usize> {
        let start = self.bases(n).end;
        start..start + 4 * (n / self.sub_len)
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
        let (scales, bases, deltas) = (self.scales(n), self.bases(n), self.deltas(n));
        for (b, x) in x.chunks_exact(self.block_len).enumerate() {
            let (scale, inverse) = Self::scale(x);
            put(out, scales.start + 4 * b, scale.to_le_bytes());
            let a = &mut out[b * self.block_len..(b + 1) * self.block_len];
            for (a, x) in a.iter_mut().zip(x) {
                *a = if inverse == 0.0 {
                    0
                } else {
                    (x * inverse).round_ties_even() as i8 as u8
                };
            }
        }
        for k in 0..n / self.sub_len {
            let a = &out[k * self.sub_len..(k + 1) * self.sub_len];
            let sum: i32 = a.iter().map(|a| i32::from(*a as i8)).sum();
            put(out, bases.start + 4 * k, (-self.bias * sum).to_le_bytes());
            if self.shift != 0 {
                put(out, deltas.start + 4 * k, (self.shift * sum).to_le_bytes());
            }
        }
    }

    /// `da` of a block and the factor that makes integers, 0 where all of them are 0.
    fn scale(x: &[f32]) -> (f32, f32) {
        // The bits of magnitudes have the order of the magnitudes; infinities and NaN are above.
        let bits = x.iter().fold(0, |max, x| max.max(x.abs().to_bits()));
        let max = f32::from_bits(bits);
        if !max.is_finite() {
            (f32::NAN, 0.0)
        } else if max < TINY {
            (0.0, 0.0)
        } else {
            (max / 127.0, 127.0 / max)
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: [u8; 4]) {
    bytes[at..at + 4].copy_from_slice(&value);
}
