//! [`Quads`] on AVX2: vectors of two halves.
//!
//! As in `quads_avx512.rs`, the functions are inlined into functions that enable the instruction
//! set.

use std::arch::x86_64::*;

use perigee_quant::packed::Grid;

use super::points_avx2::{points, spread_bits};
use super::quads::{Quads, Unpacked};
use super::quads_avx512::doubled;

/// AVX2, FMA, F16C; with `VNNI` also AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

/// Applies an intrinsic to both halves.
macro_rules! halves {
    ($f:ident, $a:expr) => {
        [$f($a[0]), $f($a[1])]
    };
    ($f:ident, $a:expr, $b:expr) => {
        [$f($a[0], $b[0]), $f($a[1], $b[1])]
    };
    ($f:ident, $a:expr, $b:expr, $c:expr) => {
        [$f($a[0], $b[0], $c[0]), $f($a[1], $b[1], $c[1])]
    };
}

impl<const VNNI: bool> Quads for Avx2<VNNI> {
    type V = [__m256i; 2];
    type F = [__m256; 2];
    type Table = [__m256i; 4];

    const EXACT_U8: bool = VNNI;
    const SHIFTS_IN_TABLE: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        // SAFETY: here and in all functions below the instruction set and good pointers are
        // promised by the caller.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [_mm256_set1_epi32(value); 2] }
    }
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            [
                _mm256_loadu_si256(at.cast()),
                _mm256_loadu_si256(at.add(32).cast()),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load_halves(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            [
                _mm256_loadu_si256(low.cast()),
                _mm256_loadu_si256(high.cast()),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load_doubled(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [doubled_bytes(low), doubled_bytes(high)] }
    }
    #[inline(always)]
    unsafe fn load_nibbles(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [nibbles(low), nibbles(high)] }
    }
    #[inline(always)]
    unsafe fn load_eight(at: *const i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [_mm256_loadu_si256(at.cast()), _mm256_setzero_si256()] }
    }
    #[inline(always)]
    unsafe fn widen_i8(at: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let bytes = _mm_loadu_si128(at.cast());
            [
                _mm256_cvtepi8_epi32(bytes),
                _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn widen_u8(at: *const u8) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let bytes = _mm_loadu_si128(at.cast());
            [
                _mm256_cvtepu8_epi32(bytes),
                _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn add_where(flags: u16, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let masks = lane_masks(flags);
            Self::add(a, Self::and(masks, b))
        }
    }
    #[inline(always)]
    unsafe fn negate(mask: *const u8, a: Self::V, twice: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let masks = byte_masks(mask);
            Self::select(masks, halves!(_mm256_sub_epi8, twice, a), a)
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
        unsafe { Self::and(byte_masks(mask), a) }
    }
    #[inline(always)]
    unsafe fn abs(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_abs_epi8, a) }
    }
    #[inline(always)]
    unsafe fn and(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_and_si256, a, b) }
    }
    #[inline(always)]
    unsafe fn xor(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_xor_si256, a, b) }
    }
    #[inline(always)]
    unsafe fn select(mask: Self::V, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let (a, b) = (Self::and(mask, a), halves!(_mm256_andnot_si256, mask, b));
            halves!(_mm256_or_si256, a, b)
        }
    }
    #[inline(always)]
    unsafe fn shr16<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [_mm256_srli_epi16::<N>(a[0]), _mm256_srli_epi16::<N>(a[1])] }
    }
    #[inline(always)]
    unsafe fn shr_halves(a: Self::V, low: i32, high: i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            [
                _mm256_srl_epi16(a[0], _mm_cvtsi32_si128(low)),
                _mm256_srl_epi16(a[1], _mm_cvtsi32_si128(high)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn shl16<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [_mm256_slli_epi16::<N>(a[0]), _mm256_slli_epi16::<N>(a[1])] }
    }
    #[inline(always)]
    unsafe fn shl32<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [_mm256_slli_epi32::<N>(a[0]), _mm256_slli_epi32::<N>(a[1])] }
    }
    #[inline(always)]
    unsafe fn sar32<const N: i32>(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { [_mm256_srai_epi32::<N>(a[0]), _mm256_srai_epi32::<N>(a[1])] }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_add_epi32, a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_mullo_epi32, a, b) }
    }
    #[inline(always)]
    unsafe fn dot16(acc: Self::V, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { Self::add(acc, halves!(_mm256_madd_epi16, a, b)) }
    }
    #[inline(always)]
    unsafe fn double_low(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let order = [_mm256_broadcastsi128_si256(doubled(0)); 2];
            halves!(_mm256_shuffle_epi8, a, order)
        }
    }
    #[inline(always)]
    unsafe fn double_high(a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let order = [_mm256_broadcastsi128_si256(doubled(2)); 2];
            halves!(_mm256_shuffle_epi8, a, order)
        }
    }
    #[inline(always)]
    unsafe fn interleave(even: Self::V, odd: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let mask = [_mm256_set1_epi16(0x00FF); 2];
            Self::select(mask, even, odd)
        }
    }
    #[inline(always)]
    unsafe fn table(bytes: &[u8; 64]) -> Self::Table {
        let [a, b, c, d] = [0, 16, 32, 48].map(|i| bytes[i..].as_ptr());
        // SAFETY: see `zero`; a part has 16 bytes.
        unsafe {
            [
                _mm256_broadcastsi128_si256(_mm_loadu_si128(a.cast())),
                _mm256_broadcastsi128_si256(_mm_loadu_si128(b.cast())),
                _mm256_broadcastsi128_si256(_mm_loadu_si128(c.cast())),
                _mm256_broadcastsi128_si256(_mm_loadu_si128(d.cast())),
            ]
        }
    }
    #[inline(always)]
    unsafe fn lookup<const BITS: u32, const SHIFT: i32>(
        table: &Self::Table,
        z: Self::V,
    ) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let z = Self::shr16::<SHIFT>(z);
            [
                lookup_half::<BITS>(table, z[0]),
                lookup_half::<BITS>(table, z[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn dot_lanes<const WIDE: bool>(acc: Self::V, w: Self::V, a: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            if VNNI {
                return [
                    _mm256_dpbusd_avx_epi32(acc[0], w[0], a[0]),
                    _mm256_dpbusd_avx_epi32(acc[1], w[1], a[1]),
                ];
            }
            let sums = [dot_half::<WIDE>(w[0], a[0]), dot_half::<WIDE>(w[1], a[1])];
            Self::add(acc, sums)
        }
    }
    #[inline(always)]
    unsafe fn spread<const LANES: usize>(a: Self::V, v: usize) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let lanes = _mm256_srl_epi32(lanes, _mm_cvtsi32_si128(LANES.ilog2() as i32));
            let first = 16 * v / LANES;
            let second = (16 * v + 8) / LANES;
            let from = |first: usize| _mm256_add_epi32(lanes, _mm256_set1_epi32(first as i32 % 8));
            [
                _mm256_permutevar8x32_epi32(a[first / 8], from(first)),
                _mm256_permutevar8x32_epi32(a[second / 8], from(second)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn sum(a: Self::V) -> i32 {
        // SAFETY: see `zero`.
        unsafe {
            let eight = _mm256_add_epi32(a[0], a[1]);
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            _mm_cvtsi128_si32(two) + _mm_extract_epi32::<1>(two)
        }
    }
    #[inline(always)]
    unsafe fn eights(a: [Self::V; 4]) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let first = _mm256_hadd_epi32(
                _mm256_hadd_epi32(a[0][0], a[0][1]),
                _mm256_hadd_epi32(a[1][0], a[1][1]),
            );
            let second = _mm256_hadd_epi32(
                _mm256_hadd_epi32(a[2][0], a[2][1]),
                _mm256_hadd_epi32(a[3][0], a[3][1]),
            );
            // Both: sums of the lower four lanes of each, then of the upper ones.
            let lower = _mm256_permute2x128_si256::<0x20>(first, second);
            let upper = _mm256_permute2x128_si256::<0x31>(first, second);
            [_mm256_add_epi32(lower, upper), _mm256_setzero_si256()]
        }
    }
    #[inline(always)]
    unsafe fn f_zero() -> Self::F {
        // SAFETY: see `zero`.
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn f_splat(value: f32) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    unsafe fn f_load_f16(at: *const u8) -> Self::F {
        // SAFETY: see `zero`.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(at.add(16).cast())),
            ]
        }
    }
    #[inline(always)]
    unsafe fn f_load(at: *const u8) -> Self::F {
        // SAFETY: see `zero`.
        unsafe {
            [
                _mm256_loadu_ps(at.cast()),
                _mm256_loadu_ps(at.add(32).cast()),
            ]
        }
    }
    #[inline(always)]
    unsafe fn f_store(values: Self::F, at: *mut f32) {
        // SAFETY: see `zero`.
        unsafe {
            _mm256_storeu_ps(at, values[0]);
            _mm256_storeu_ps(at.add(8), values[1]);
        }
    }
    #[inline(always)]
    unsafe fn f_from(a: Self::V) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_cvtepi32_ps, a) }
    }
    #[inline(always)]
    unsafe fn f_from_bits(a: Self::V) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { [_mm256_castsi256_ps(a[0]), _mm256_castsi256_ps(a[1])] }
    }
    #[inline(always)]
    unsafe fn f_mul(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_mul_ps, a, b) }
    }
    #[inline(always)]
    unsafe fn f_neg(a: Self::F) -> Self::F {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_xor_ps, a, [_mm256_set1_ps(-0.0); 2]) }
    }
    #[inline(always)]
    unsafe fn f_fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: see `zero`.
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }
}

impl<const VNNI: bool> Unpacked for Avx2<VNNI> {
    #[inline(always)]
    unsafe fn store(a: Self::V, at: *mut i8) {
        // SAFETY: see `zero`.
        unsafe {
            _mm256_storeu_si256(at.cast(), a[0]);
            _mm256_storeu_si256(at.add(32).cast(), a[1]);
        }
    }
    #[inline(always)]
    unsafe fn sub_bytes(a: Self::V, bias: i32) -> Self::V {
        // SAFETY: see `zero`.
        unsafe { halves!(_mm256_sub_epi8, a, [_mm256_set1_epi8(bias as i8); 2]) }
    }
    #[inline(always)]
    unsafe fn select_lanes(flags: u16, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `zero`.
        unsafe {
            let masks = lane_masks(flags);
            halves!(_mm256_blendv_epi8, b, a, masks)
        }
    }
}

/// 16 bytes, every one twice.
///
/// # Safety
/// The CPU has AVX2; `at` points to the bytes.
#[inline(always)]
unsafe fn doubled_bytes(at: *const u8) -> __m256i {
    // SAFETY: promised by the caller.
    unsafe {
        let wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(at.cast()));
        _mm256_or_si256(wide, _mm256_slli_epi16::<8>(wide))
    }
}

/// The low nibbles of 16 bytes, then the high ones.
///
/// # Safety
/// As [`doubled_bytes`].
#[inline(always)]
unsafe fn nibbles(at: *const u8) -> __m256i {
    // SAFETY: promised by the caller.
    unsafe {
        let bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(at.cast()));
        let shifted = _mm256_srlv_epi64(bytes, _mm256_setr_epi64x(0, 0, 4, 4));
        _mm256_and_si256(shifted, _mm256_set1_epi8(15))
    }
}

/// Lanes of ones where bits of `flags` are set.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn lane_masks(flags: u16) -> [__m256i; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        let flags = _mm256_set1_epi32(i32::from(flags));
        let bits = [
            _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128),
            _mm256_setr_epi32(256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
        ];
        let set = halves!(_mm256_and_si256, bits, [flags; 2]);
        halves!(_mm256_cmpeq_epi32, set, bits)
    }
}

/// Bytes of ones where bits of the u64 at `mask` are set.
///
/// # Safety
/// The CPU has AVX2; `mask` points to eight bytes.
#[inline(always)]
unsafe fn byte_masks(mask: *const u8) -> [__m256i; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        let [low, high] = mask.cast::<[i32; 2]>().read_unaligned();
        [spread_bits(low), spread_bits(high)]
    }
}

/// [`Quads::lookup`] of the codes in the lowest bits, other bits being anything.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn lookup_half<const BITS: u32>(table: &[__m256i; 4], z: __m256i) -> __m256i {
    // SAFETY: promised by the caller.
    unsafe {
        let index = _mm256_and_si256(z, _mm256_set1_epi8(((1u32 << BITS) - 1) as i8));
        // A shuffle looks at the low four bits, a blend at the highest.
        let first = _mm256_shuffle_epi8(table[0], index);
        if BITS <= 4 {
            return first;
        }
        let bit_4 = _mm256_slli_epi16::<3>(index);
        let low = _mm256_blendv_epi8(first, _mm256_shuffle_epi8(table[1], index), bit_4);
        if BITS == 5 {
            return low;
        }
        let high = _mm256_blendv_epi8(
            _mm256_shuffle_epi8(table[2], index),
            _mm256_shuffle_epi8(table[3], index),
            bit_4,
        );
        _mm256_blendv_epi8(low, high, _mm256_slli_epi16::<2>(index))
    }
}

/// Sums of four products, of signed bytes with `WIDE`, else of unsigned ones up to 128.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn dot_half<const WIDE: bool>(w: __m256i, a: __m256i) -> __m256i {
    // SAFETY: promised by the caller.
    unsafe {
        let pairs = if WIDE {
            // |w| ≤ 128 and |a| ≤ 127: sums of two products fit 16 bits.
            _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w))
        } else {
            _mm256_maddubs_epi16(w, a)
        };
        _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
    }
}
