//! [`Quads`] on AVX-512.
//!
//! The functions are inlined into functions that enable the instruction set; alone, their
//! intrinsics would be calls.

use std::arch::x86_64::*;

use perigee_quant::packed::Grid;

use super::points_avx512::points;
use super::quads::{Quads, Unpacked, built_in};

/// AVX-512 F, BW, VL, VNNI, VBMI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Quads for Avx512 {
    type V = __m512i;
    type F = __m512;
    type Table = __m512i;

    const EXACT_U8: bool = true;
    const SHIFTS_IN_TABLE: bool = true;

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        // SAFETY: here and in all functions below the instruction set and good pointers are
        // promised by the caller.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_loadu_si512(at.cast()) }
    }
    #[inline(always)]
    unsafe fn load_halves(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(low.cast()));
            _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(high.cast()))
        }
    }
    #[inline(always)]
    unsafe fn load_doubled(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let low = _mm256_castsi128_si256(_mm_loadu_si128(low.cast()));
            let both = _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(high.cast()));
            let wide = _mm512_cvtepu8_epi16(both);
            _mm512_or_si512(wide, _mm512_slli_epi16::<8>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_nibbles(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(low.cast()));
            let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(high.cast()));
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            let shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
            let nibbles = _mm512_srlv_epi64(both, shifts);
            _mm512_and_si512(nibbles, _mm512_set1_epi8(15))
        }
    }
    #[inline(always)]
    unsafe fn load_eight(at: *const i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_zextsi256_si512(_mm256_loadu_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn widen_i8(at: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn widen_u8(at: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn add_where(flags: u16, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_mask_add_epi32(a, flags, a, b) }
    }
    #[inline(always)]
    unsafe fn negate(mask: *const u8, a: Self::V, twice: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let mask = mask.cast::<u64>().read_unaligned();
            _mm512_mask_sub_epi8(a, mask, twice, a)
        }
    }
    #[inline(always)]
    unsafe fn points<const WIDTH: usize, const HIGH: usize>(
        grid: &Grid,
        at: *const u8,
    ) -> [Self::V; 8] {
        // SAFETY: see `zero`.
        unsafe { points::<WIDTH, HIGH>(grid, at) }
    }
    #[inline(always)]
    unsafe fn bytes_where(mask: *const u8, a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_maskz_mov_epi8(mask.cast::<u64>().read_unaligned(), a) }
    }
    #[inline(always)]
    unsafe fn abs(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_abs_epi8(a) }
    }
    #[inline(always)]
    unsafe fn and(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn xor(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn select(mask: Self::V, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_ternarylogic_epi32::<0xCA>(mask, a, b) }
    }
    #[inline(always)]
    unsafe fn shr16<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_srl_epi16(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    unsafe fn shr_halves(a: Self::V, low: i32, high: i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let low = _mm512_castsi256_si512(_mm256_set1_epi16(low as i16));
            let shifts = _mm512_inserti64x4::<1>(low, _mm256_set1_epi16(high as i16));
            _mm512_srlv_epi16(a, shifts)
        }
    }
    #[inline(always)]
    unsafe fn shl16<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_sll_epi16(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    unsafe fn shl32<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    unsafe fn sar32<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_mullo_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn dot16(acc: Self::V, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_dpwssd_epi32(acc, a, b) }
    }
    #[inline(always)]
    unsafe fn double_low(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(doubled(0))) }
    }
    #[inline(always)]
    unsafe fn double_high(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(doubled(2))) }
    }
    #[inline(always)]
    unsafe fn interleave(even: Self::V, odd: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_mask_blend_epi8(0xAAAA_AAAA_AAAA_AAAA, even, odd) }
    }
    #[inline(always)]
    unsafe fn table(bytes: &[u8; 64]) -> Self::Table {
        // SAFETY: see `zero`.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    unsafe fn lookup<const BITS: u32, const SHIFT: i32>(
        table: &Self::Table,
        z: Self::V,
    ) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let index = if built_in(BITS, SHIFT) == SHIFT {
                z
            } else {
                Self::shr16::<SHIFT>(z)
            };
            _mm512_permutexvar_epi8(index, *table)
        }
    }
    #[inline(always)]
    unsafe fn dot_lanes<const WIDE: bool>(acc: Self::V, w: Self::V, a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_dpbusd_epi32(acc, w, a) }
    }
    #[inline(always)]
    unsafe fn spread<const LANES: usize>(a: Self::V, v: usize) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let lanes = _mm512_srl_epi32(lanes, _mm_cvtsi32_si128(LANES.ilog2() as i32));
            let lanes = _mm512_add_epi32(lanes, _mm512_set1_epi32((16 * v / LANES) as i32));
            _mm512_permutexvar_epi32(lanes, a)
        }
    }
    #[inline(always)]
    unsafe fn sum(a: Self::V) -> i32 {
        // SAFETY: see `zero`.
        unsafe { _mm512_reduce_add_epi32(a) }
    }
    #[inline(always)]
    unsafe fn eights(a: [Self::V; 4]) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let pair =
                |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (first, second) = (pair(a[0], a[1]), pair(a[2], a[3]));
            // Every 128 bits: a sum of four lanes of each.
            let fours = _mm512_add_epi32(
                _mm512_unpacklo_epi64(first, second),
                _mm512_unpackhi_epi64(first, second),
            );
            let order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
            let ordered = _mm512_permutexvar_epi32(order, fours);
            let (low, high) = (
                _mm512_castsi512_si256(ordered),
                _mm512_extracti64x4_epi64::<1>(ordered),
            );
            _mm512_zextsi256_si512(_mm256_add_epi32(low, high))
        }
    }
    #[inline(always)]
    unsafe fn f_zero() -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn f_splat(value: f32) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn f_load_f16(at: *const u8) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn f_load(at: *const u8) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_loadu_ps(at.cast()) }
    }
    #[inline(always)]
    unsafe fn f_store(values: Self::F, at: *mut f32) {
        // SAFETY: see `zero`.
        unsafe { _mm512_storeu_ps(at, values) }
    }
    #[inline(always)]
    unsafe fn f_from(a: Self::V) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn f_from_bits(a: Self::V) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_castsi512_ps(a) }
    }
    #[inline(always)]
    unsafe fn f_mul(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn f_neg(a: Self::F) -> Self::F {
        // SAFETY: see `zero`.
        unsafe {
            let sign = _mm512_set1_epi32(i32::MIN);
            _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), sign))
        }
    }
    #[inline(always)]
    unsafe fn f_fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}

impl Unpacked for Avx512 {
    #[inline(always)]
    unsafe fn store(a: Self::V, at: *mut i8) {
        // SAFETY: see `zero`.
        unsafe { _mm512_storeu_si512(at.cast(), a) }
    }
    #[inline(always)]
    unsafe fn sub_bytes(a: Self::V, bias: i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_sub_epi8(a, _mm512_set1_epi8(bias as i8)) }
    }
    #[inline(always)]
    unsafe fn select_lanes(flags: u16, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { _mm512_mask_blend_epi32(flags, b, a) }
    }
}

/// Shuffle of a 128-bit part: bytes `from`, `from`, `from + 1`, `from + 1` of every lane.
#[inline(always)]
pub(super) fn doubled(from: i8) -> __m128i {
    let lane = |r: i8| 4 * r + from;
    // SAFETY: SSE2 is part of x86-64.
    unsafe {
        _mm_setr_epi8(
            lane(0),
            lane(0),
            lane(0) + 1,
            lane(0) + 1,
            lane(1),
            lane(1),
            lane(1) + 1,
            lane(1) + 1,
            lane(2),
            lane(2),
            lane(2) + 1,
            lane(2) + 1,
            lane(3),
            lane(3),
            lane(3) + 1,
            lane(3) + 1,
        )
    }
}
