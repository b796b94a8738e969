//! Types whose values are generated: a code seeds a sequence of four or eight values.
//!
//! The seed is the code plus [`OFFSET`], and plus the number in [`Marks::Offset`] where its bit is
//! set. Value j is the sum of the low six bits of the four bytes of seed · [`POWERS`]\[j\] modulo
//! 2³², less [`MIDDLE`]; with [`Marks::Signs`] it is the magnitude of that, negated where its bit is
//! set.

use super::{Indices, Marks};
use crate::super_block::SUPER_BLOCK;

/// What a seed is multiplied by for the first value, and again for each next one.
pub(crate) const MULTIPLIER: u32 = 0xCBAC_1FED;
/// Added to a code to make a seed.
pub const OFFSET: u32 = 4096;
/// Sums of bytes that are zero.
pub const MIDDLE: i16 = 126;
/// The lowest powers of the multiplier, from the first on.
pub const POWERS: [u32; 8] = {
    let mut powers = [MULTIPLIER; 8];
    let mut j = 1;
    while j < 8 {
        powers[j] = powers[j - 1].wrapping_mul(MULTIPLIER);
        j += 1;
    }
    powers
};
/// The bits of a product that count.
pub const MASK: u32 = 0x3F3F_3F3F;

/// Value `j` after a seed, −126..=126.
#[inline]
pub(crate) fn generate(seed: u32, j: usize) -> i16 {
    let bytes = seed.wrapping_mul(POWERS[j]) & MASK;
    // The sum of the bytes is the highest byte of a product: none of them exceeds 63.
    (bytes.wrapping_mul(0x0101_0101) >> 24) as i16 - MIDDLE
}

/// The values of all columns of a block.
#[inline(always)]
pub(super) fn values(indices: &Indices, codes: &[u8; SUPER_BLOCK], out: &mut [i8; SUPER_BLOCK]) {
    for (p, out) in out.chunks_exact_mut(indices.width).enumerate() {
        let mut seed = u32::from(indices.index(codes, p)) + OFFSET;
        if let Marks::Offset(more) = indices.marks {
            seed += more * u32::from(indices.marks(codes, p * indices.width / 32 * 4));
        }
        for (j, out) in out.iter_mut().enumerate() {
            let value = generate(seed, j);
            *out = match indices.marks {
                Marks::Signs => value.abs() as i8,
                _ => value as i8,
            };
        }
    }
    indices.mark_all(codes, out);
}
