//! Points of grids on AVX2: loads from the table of their codes.

use std::arch::x86_64::*;

use perigee_quant::packed::Grid;

/// Where the indices of the first point of rows 0 to 7 are in [`words`] of 32 bytes; those of
/// their other points follow.
const ROWS: [usize; 8] = [0, 4, 16, 20, 8, 12, 24, 28];

/// See [`Quads::points`](super::quads::Quads::points).
///
/// # Safety
/// As for `Quads`.
#[inline(always)]
pub(super) unsafe fn points<const WIDTH: usize, const HIGH: usize>(
    grid: &Grid,
    at: *const u8,
) -> [[__m256i; 2]; 8] {
    let codes = grid.codes.as_ptr();
    // SAFETY: promised by the caller; a grid has points for all indices of its bits.
    unsafe {
        let mut quads = [[_mm256_setzero_si256(); 2]; 8];
        let n_vectors = 8 / WIDTH;
        for vector in 0..n_vectors {
            for half in 0..2 {
                let masks = at.add(64 * n_vectors + 8 * vector * HIGH + 4 * half);
                let words = words::<HIGH>(at.add(64 * vector + 32 * half), masks);
                for p in 0..4 {
                    if WIDTH == 8 {
                        let low =
                            four_points(codes, &words, [ROWS[0], ROWS[1], ROWS[2], ROWS[3]], p);
                        let high =
                            four_points(codes, &words, [ROWS[4], ROWS[5], ROWS[6], ROWS[7]], p);
                        quads[2 * p][half] = dwords::<0x88>(low, high);
                        quads[2 * p + 1][half] = dwords::<0xDD>(low, high);
                    } else {
                        quads[4 * vector + p][half] = eight_points(codes, &words, p);
                    }
                }
            }
        }
        quads
    }
}

/// The 32 indices whose low bytes are at `low`; bit `8 + k` of the first is the lowest bit of the
/// byte `masks + 8k`. [`ROWS`] is their order.
#[inline(always)]
unsafe fn words<const HIGH: usize>(low: *const u8, masks: *const u8) -> [u16; 32] {
    let mut words = [0u16; 32];
    // SAFETY: promised by the caller.
    unsafe {
        let low = _mm256_loadu_si256(low.cast());
        let mut high = _mm256_setzero_si256();
        for k in 0..HIGH {
            let mask = spread_bits(masks.add(8 * k).cast::<i32>().read_unaligned());
            high = _mm256_or_si256(high, _mm256_and_si256(mask, _mm256_set1_epi8(1 << k)));
        }
        let out = words.as_mut_ptr();
        _mm256_storeu_si256(out.cast(), _mm256_unpacklo_epi8(low, high));
        _mm256_storeu_si256(out.add(16).cast(), _mm256_unpackhi_epi8(low, high));
    }
    words
}

/// Bytes of ones where bits are set.
#[inline(always)]
pub(super) unsafe fn spread_bits(mask: i32) -> __m256i {
    // SAFETY: AVX2 is promised by the caller.
    unsafe {
        // Each byte of the mask eight times, one bit of it in each place.
        let order = _mm256_setr_epi64x(
            0,
            0x0101_0101_0101_0101,
            0x0202_0202_0202_0202,
            0x0303_0303_0303_0303,
        );
        let bits = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(mask), order);
        _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits)
    }
}

/// The codes of point `p` of four rows, eight bytes each.
#[inline(always)]
unsafe fn four_points(codes: *const u8, words: &[u16; 32], rows: [usize; 4], p: usize) -> __m256i {
    let mut points = [0; 4];
    for (point, row) in points.iter_mut().zip(rows) {
        // SAFETY: promised by the caller.
        *point = unsafe {
            codes
                .cast::<i64>()
                .add(usize::from(words[row + p]))
                .read_unaligned()
        };
    }
    // SAFETY: AVX2 is promised by the caller.
    unsafe { _mm256_setr_epi64x(points[0], points[1], points[2], points[3]) }
}

/// The codes of point `p` of eight rows, four bytes each.
#[inline(always)]
unsafe fn eight_points(codes: *const u8, words: &[u16; 32], p: usize) -> __m256i {
    let mut points = [0; 8];
    for (point, row) in points.iter_mut().zip(ROWS) {
        // SAFETY: promised by the caller.
        *point = unsafe {
            codes
                .cast::<i32>()
                .add(usize::from(words[row + p]))
                .read_unaligned()
        };
    }
    let [a, b, c, d, e, f, g, h] = points;
    // SAFETY: AVX2 is promised by the caller.
    unsafe { _mm256_setr_epi32(a, b, c, d, e, f, g, h) }
}

/// The even dwords of two vectors for the order 0x88, the odd ones for 0xDD.
#[inline(always)]
unsafe fn dwords<const ORDER: i32>(low: __m256i, high: __m256i) -> __m256i {
    // SAFETY: AVX2 is promised by the caller.
    unsafe {
        let (low, high) = (_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
        let both = _mm256_castps_si256(_mm256_shuffle_ps::<ORDER>(low, high));
        _mm256_permute4x64_epi64::<0xD8>(both)
    }
}
