//! Points of grids on AVX-512: bytes of words looked up in registers, then cut into codes.

use std::arch::x86_64::*;

use perigee_quant::packed::{Grid, Steps};

use super::quads::Quads;
use super::quads_avx512::Avx512;

/// See [`Quads::points`].
///
/// # Safety
/// As for [`Quads`].
#[inline(always)]
pub(super) unsafe fn points<const WIDTH: usize, const HIGH: usize>(
    grid: &Grid,
    at: *const u8,
) -> [__m512i; 8] {
    // SAFETY: promised by the caller; a grid has a byte of each kind for all indices.
    unsafe {
        let mut quads = [_mm512_setzero_si512(); 8];
        let n_vectors = 8 / WIDTH;
        for vector in 0..n_vectors {
            let z = Avx512::load(at.add(64 * vector));
            let mut bits = [_mm512_movepi8_mask(z); 4];
            for k in 0..HIGH {
                let mask = at.add(64 * n_vectors + 8 * (vector * HIGH + k));
                bits[1 + k] = mask.cast::<u64>().read_unaligned();
            }
            let low = find::<HIGH>(grid.bytes[0].as_ptr(), z, &bits);
            let high = match grid.steps {
                Some(steps) => find_step(steps, z, &bits),
                None => find::<HIGH>(grid.bytes[1].as_ptr(), z, &bits),
            };
            if WIDTH == 8 {
                // Byte g of a lane has the codes of quad 2g or of quad 2g + 1.
                for g in 0..4 {
                    let fields = fields(8 * g as i64, 2);
                    quads[2 * g] = _mm512_multishift_epi64_epi8(fields, low);
                    quads[2 * g + 1] = _mm512_multishift_epi64_epi8(fields, high);
                }
            } else {
                // Words of points 0 and 2, and of points 1 and 3.
                let first = _mm512_set1_epi16(0x00FF);
                let even = Avx512::select(first, low, _mm512_slli_epi16::<8>(high));
                let odd = Avx512::select(first, _mm512_srli_epi16::<8>(low), high);
                for half in 0..2 {
                    let fields = fields(16 * half as i64, 3);
                    quads[4 * vector + 2 * half] = _mm512_multishift_epi64_epi8(fields, even);
                    quads[4 * vector + 2 * half + 1] = _mm512_multishift_epi64_epi8(fields, odd);
                }
            }
        }
        quads
    }
}

/// For each byte of a lane where its code is among the bits of two lanes: `bits` bits each, from
/// bit `start` of the lane on.
#[inline(always)]
unsafe fn fields(start: i64, bits: i64) -> __m512i {
    let lane = (0..4).fold(0, |lane, c| lane | (start + bits * c) << (8 * c));
    // SAFETY: promised by the caller.
    unsafe { _mm512_set1_epi64(lane | (lane + 0x2020_2020) << 32) }
}

/// The bytes of a table of `256 << HIGH` bytes: bits 0 to 6 of an index are in `z`, bit `7 + k`
/// in `bits[k]`.
#[inline(always)]
unsafe fn find<const HIGH: usize>(table: *const u8, z: __m512i, bits: &[u64; 4]) -> __m512i {
    // SAFETY: promised by the caller.
    unsafe {
        match HIGH {
            0 => find_8(table, z, bits),
            1 => find_9(table, z, bits),
            2 => find_10(table, z, bits),
            _ => find_11(table, z, bits),
        }
    }
}

/// [`find`] in a table of 128 bytes.
#[inline(always)]
unsafe fn find_7(table: *const u8, z: __m512i, _: &[u64; 4]) -> __m512i {
    // SAFETY: promised by the caller.
    unsafe { _mm512_permutex2var_epi8(Avx512::load(table), z, Avx512::load(table.add(64))) }
}

/// [`find`] with one bit more.
macro_rules! wider {
    ($name:ident, $half:ident, $bit:literal) => {
        #[inline(always)]
        unsafe fn $name(table: *const u8, z: __m512i, bits: &[u64; 4]) -> __m512i {
            // SAFETY: promised by the caller.
            unsafe {
                let low = $half(table, z, bits);
                let high = $half(table.add(1 << $bit), z, bits);
                _mm512_mask_blend_epi8(bits[$bit - 7], low, high)
            }
        }
    };
}
wider!(find_8, find_7, 7);
wider!(find_9, find_8, 8);
wider!(find_10, find_9, 9);
wider!(find_11, find_10, 10);

/// The high bytes of words.
#[inline(always)]
unsafe fn find_step(steps: &Steps, z: __m512i, bits: &[u64; 4]) -> __m512i {
    // SAFETY: promised by the caller; `first` is less than 127.
    unsafe {
        let first = find_8(steps.first.as_ptr(), z, bits);
        let at = find_8(steps.at.as_ptr(), z, bits);
        let mut others = _mm512_setzero_si512();
        for k in 0..3 {
            let bit = _mm512_set1_epi8(1 << k);
            others = _mm512_mask_add_epi8(others, bits[1 + k], others, bit);
        }
        let is_second = _mm512_cmpge_epu8_mask(others, at);
        let place = _mm512_mask_add_epi8(first, is_second, first, _mm512_set1_epi8(1));
        find_7(steps.bytes.as_ptr(), place, bits)
    }
}
