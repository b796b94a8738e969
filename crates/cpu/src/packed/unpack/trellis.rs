//! Generated values: a product, a mask and a sum of bytes for each.

use perigee_quant::packed::trellis::{MASK, MIDDLE, OFFSET, POWERS};
use perigee_quant::packed::{Codes, Indices, Marks};

use super::{Unpack, is_signed};
use crate::packed::dot::Format;
use crate::simd::quads::{Quads, VECTOR};

/// Sequences of `WIDTH` values whose codes have `8 + HIGH` bits.
pub(in crate::packed) struct Sequences<const WIDTH: usize, const HIGH: usize>;

/// Factors for a sum of four bytes.
const ONES: [i8; 4] = [1; 4];

impl<const WIDTH: usize, const HIGH: usize> Unpack for Sequences<WIDTH, HIGH> {
    const IS_DEAR: bool = true;
    type Tables<S: Quads> = ();

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {}

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        (): &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller; the offsets are those of the chunks of the indices, and
        // `indices` has checked `WIDTH` and `HIGH`.
        unsafe {
            let at = codes.add(chunk * const { F::LAYOUT.codes.chunk_bytes() });
            let marks = at.add(const { indices::<F>(WIDTH, HIGH).marks_offset() });
            let kind = const { indices::<F>(WIDTH, HIGH).marks };
            let mut offset = S::splat(OFFSET as i32);
            if let Marks::Offset(more) = kind {
                let flags = u16::from_le(marks.cast::<u16>().read_unaligned());
                offset = S::add_where(flags, offset, S::splat(more as i32));
            }
            let mut quads = [S::zero(); 8];
            for vector in 0..8 / WIDTH {
                let words = words::<S, WIDTH, HIGH>(at, vector);
                for (p, word) in words.into_iter().enumerate() {
                    let seed = S::add(word, offset);
                    for part in 0..WIDTH / 4 {
                        let q = WIDTH / 4 * (4 * vector + p) + part;
                        quads[q] = values::<S>(seed, 4 * part);
                    }
                }
            }
            let sign = S::splat(0x8080_8080_u32 as i32);
            for (q, quad) in quads.iter_mut().enumerate() {
                if let Marks::Signs = kind {
                    let magnitudes = S::abs(S::xor(*quad, sign));
                    *quad = S::negate(marks.add(8 * q), S::xor(magnitudes, sign), S::zero());
                }
                if const { is_signed::<S>(F::LAYOUT) } {
                    *quad = S::xor(*quad, sign);
                }
            }
            quads
        }
    }
}

/// The codes of points 0 to 3 of a vector of indices, an i32 each.
#[inline(always)]
unsafe fn words<S: Quads, const WIDTH: usize, const HIGH: usize>(
    at: *const u8,
    vector: usize,
) -> [S::V; 4] {
    // SAFETY: promised by the caller.
    unsafe {
        let low = S::load(at.add(VECTOR * vector));
        let masks = at.add(VECTOR * (8 / WIDTH) + 8 * HIGH * vector);
        let mut high = S::zero();
        for k in 0..HIGH {
            let bit = S::splat(0x0101_0101 << k);
            high = S::xor(high, S::bytes_where(masks.add(8 * k), bit));
        }
        let (byte, word) = (S::splat(0x00FF_00FF), S::splat(0xFFFF));
        let even = S::select(byte, low, S::shl16::<8>(high));
        let odd = S::select(byte, S::shr16::<8>(low), high);
        [
            S::and(even, word),
            S::and(odd, word),
            S::and(S::sar32::<16>(even), word),
            S::and(S::sar32::<16>(odd), word),
        ]
    }
}

/// The values `first` to `first + 3` of sequences, plus 128.
#[inline(always)]
unsafe fn values<S: Quads>(seed: S::V, first: usize) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        let v = [
            value::<S>(seed, first),
            value::<S>(seed, first + 1),
            value::<S>(seed, first + 2),
            value::<S>(seed, first + 3),
        ];
        // All are less than 256: the bits of the four do not meet.
        let low = S::xor(v[0], S::shl16::<8>(v[1]));
        let high = S::xor(v[2], S::shl16::<8>(v[3]));
        S::xor(low, S::shl32::<16>(high))
    }
}

#[inline(always)]
unsafe fn value<S: Quads>(seed: S::V, j: usize) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        let product = S::mul(seed, S::splat(POWERS[j] as i32));
        let start = S::splat(128 - i32::from(MIDDLE));
        S::dot::<false>(start, S::and(product, S::splat(MASK as i32)), ONES.as_ptr())
    }
}

/// Where the codes of a layout are, which have `8 + high` bits and stand for `width` columns.
const fn indices<F: Format>(width: usize, high: usize) -> Indices {
    match F::LAYOUT.codes {
        Codes::Trellis(indices) => {
            assert!(indices.width == width && indices.high_bits == high);
            assert!(F::LAYOUT.bias == 128, "the middle of bytes");
            indices
        }
        _ => panic!("a layout with sequences"),
    }
}
