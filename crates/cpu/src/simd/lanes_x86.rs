//! Sixteen floats in registers of AVX-512 and AVX2.

use std::arch::x86_64::*;

use super::lanes::{LANES, Lanes, Pair, SHIFT};

/// Where the low halves of two times sixteen lanes are.
const LOW_HALVES: [u16; 2 * LANES] = {
    let mut halves = [0; 2 * LANES];
    let mut l = 0;
    while l < halves.len() {
        halves[l] = 2 * l as u16;
        l += 1;
    }
    halves
};

impl Lanes for __m512 {
    const MANY_REGISTERS: bool = true;
    type Ints = __m512i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: AVX-512, promised by the caller (as for all below).
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: see `splat`; 16 floats, unaligned load.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: see `splat`; 16 floats, unaligned store.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self) }
    }
    #[inline(always)]
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes(bytes))) }
    }
    #[inline(always)]
    unsafe fn from_f16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see `splat`; 32 bytes, unaligned load.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.as_ptr().cast())) }
    }
    #[inline(always)]
    unsafe fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see `splat`; unaligned load of 32 bytes.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }
    #[inline(always)]
    unsafe fn from_i8(bytes: &[u8; LANES]) -> Self {
        // SAFETY: see `splat`; 16 bytes, unaligned load.
        unsafe {
            let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_mul_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_div_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: see `splat`. The instruction yields its second operand unless the first is
        // above it.
        unsafe { _mm512_max_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: see `max`.
        unsafe { _mm512_min_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn zero_below(self, x: Self, limit: f32) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(limit));
            _mm512_maskz_mov_ps(kept, self)
        }
    }
    #[inline(always)]
    unsafe fn scale(self, shifted: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            let n = _mm512_sub_ps(shifted, _mm512_set1_ps(SHIFT));
            _mm512_scalef_ps(self, n)
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see `splat`.
        unsafe {
            let swapped = _mm512_shuffle_f32x4::<0b01_00_11_10>(self, self);
            let eight = _mm512_add_ps(self, swapped);
            let swapped = _mm512_shuffle_f32x4::<0b10_11_00_01>(eight, eight);
            sum_four(_mm512_castps512_ps128(_mm512_add_ps(eight, swapped)))
        }
    }
    #[inline(always)]
    unsafe fn most(self, x: Self) -> Self {
        // SAFETY: see `splat`. Magnitudes are ordered as their bits are.
        unsafe {
            let magnitude = _mm512_castps_si512(_mm512_abs_ps(x));
            _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(self), magnitude))
        }
    }
    #[inline(always)]
    unsafe fn most_of_all(self) -> f32 {
        // SAFETY: see `splat`.
        unsafe { f32::from_bits(_mm512_reduce_max_epu32(_mm512_castps_si512(self))) }
    }
    #[inline(always)]
    unsafe fn store_i16([low, high]: [Self; 2], to: &mut [Pair; LANES]) {
        // SAFETY: see `splat`; 64 bytes, unaligned load and store.
        unsafe {
            let (low, high) = (_mm512_castps_si512(low), _mm512_castps_si512(high));
            let halves = _mm512_loadu_si512(LOW_HALVES.as_ptr().cast());
            let low_halves = _mm512_permutex2var_epi16(low, halves, high);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), low_halves);
        }
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: &mut [u8; LANES]) {
        // SAFETY: see `splat`; 16 bytes, unaligned store.
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(self));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        }
    }
    #[inline(always)]
    unsafe fn store_pairs(first: Self, second: Self, to: &mut [Pair; LANES]) {
        // SAFETY: see `splat`; 64 bytes, unaligned store.
        unsafe {
            let second = _mm512_slli_epi32::<16>(_mm512_castps_si512(second));
            let pairs = _mm512_mask_blend_epi16(0xAAAA_AAAA, _mm512_castps_si512(first), second);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), pairs);
        }
    }
    #[inline(always)]
    unsafe fn no_ints() -> __m512i {
        // SAFETY: see `splat`.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn add_pairs(sums: __m512i, a: Pair, b: &[Pair; LANES]) -> __m512i {
        // SAFETY: see `splat`, and VNNI, which comes with it here; 64 bytes, unaligned load.
        unsafe {
            let b = _mm512_loadu_si512(b.as_ptr().cast());
            dpwssd(sums, _mm512_set1_epi32(bits(a)), b)
        }
    }
    #[inline(always)]
    unsafe fn from_ints(ints: __m512i) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_cvtepi32_ps(ints) }
    }
}

impl Lanes for [__m256; 2] {
    const MANY_REGISTERS: bool = false;
    type Ints = [__m256i; 2];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: AVX2, FMA and F16C, promised by the caller (as for all below).
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: see `splat`; two times 8 of 16 floats, unaligned loads.
        unsafe {
            let start = from.as_ptr();
            [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8))]
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: see `splat`; two times 8 of 16 floats, unaligned stores.
        unsafe {
            let start = to.as_mut_ptr();
            _mm256_storeu_ps(start, self[0]);
            _mm256_storeu_ps(start.add(8), self[1]);
        }
    }
    #[inline(always)]
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self {
        // SAFETY: see `splat`.
        unsafe { [_mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(bytes))); 2] }
    }
    #[inline(always)]
    unsafe fn from_f16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see `splat`; two times 16 of 32 bytes, unaligned loads.
        unsafe {
            let start = bytes.as_ptr().cast::<__m128i>();
            [
                _mm256_cvtph_ps(_mm_loadu_si128(start)),
                _mm256_cvtph_ps(_mm_loadu_si128(start.add(1))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see `splat`; unaligned loads of 16 bytes each.
        unsafe {
            let first = _mm_loadu_si128(bytes.as_ptr().cast());
            let second = _mm_loadu_si128(bytes.as_ptr().add(16).cast());
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(first))),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(second))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn from_i8(bytes: &[u8; LANES]) -> Self {
        // SAFETY: see `splat`; 16 bytes, unaligned load.
        unsafe {
            let low = _mm_loadu_si128(bytes.as_ptr().cast());
            let high = _mm_srli_si128::<8>(low);
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn add(self, [c, d]: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { [_mm256_add_ps(self[0], c), _mm256_add_ps(self[1], d)] }
    }
    #[inline(always)]
    unsafe fn mul(self, [c, d]: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { [_mm256_mul_ps(self[0], c), _mm256_mul_ps(self[1], d)] }
    }
    #[inline(always)]
    unsafe fn div(self, [c, d]: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { [_mm256_div_ps(self[0], c), _mm256_div_ps(self[1], d)] }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], self[0]),
                _mm256_fmadd_ps(a[1], b[1], self[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn max(self, [c, d]: Self) -> Self {
        // SAFETY: see `splat`. The instruction yields its second operand unless the first is
        // above it.
        unsafe { [_mm256_max_ps(self[0], c), _mm256_max_ps(self[1], d)] }
    }
    #[inline(always)]
    unsafe fn min(self, [c, d]: Self) -> Self {
        // SAFETY: see `max`.
        unsafe { [_mm256_min_ps(self[0], c), _mm256_min_ps(self[1], d)] }
    }
    #[inline(always)]
    unsafe fn zero_below(mut self, x: Self, limit: f32) -> Self {
        for half in 0..2 {
            // SAFETY: see `splat`.
            self[half] = unsafe {
                let below = _mm256_cmp_ps::<_CMP_LT_OQ>(x[half], _mm256_set1_ps(limit));
                _mm256_andnot_ps(below, self[half])
            };
        }
        self
    }
    #[inline(always)]
    unsafe fn scale(mut self, shifted: Self) -> Self {
        for half in 0..2 {
            // SAFETY: see `splat`.
            self[half] = unsafe {
                let shift = _mm256_set1_epi32(SHIFT.to_bits() as i32);
                let n = _mm256_sub_epi32(_mm256_castps_si256(shifted[half]), shift);
                let a = _mm256_srai_epi32::<1>(n);
                let b = _mm256_sub_epi32(n, a);
                _mm256_mul_ps(_mm256_mul_ps(self[half], power(a)), power(b))
            };
        }
        self
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see `splat`.
        unsafe {
            let eight = _mm256_add_ps(self[0], self[1]);
            let high = _mm256_extractf128_ps::<1>(eight);
            sum_four(_mm_add_ps(_mm256_castps256_ps128(eight), high))
        }
    }
    #[inline(always)]
    unsafe fn most(mut self, x: Self) -> Self {
        for half in 0..2 {
            // SAFETY: see `splat`. Magnitudes are ordered as their bits are.
            self[half] = unsafe {
                let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), x[half]);
                let most = _mm256_castps_si256(self[half]);
                _mm256_castsi256_ps(_mm256_max_epu32(most, _mm256_castps_si256(magnitude)))
            };
        }
        self
    }
    #[inline(always)]
    unsafe fn most_of_all(self) -> f32 {
        // SAFETY: see `splat`.
        unsafe {
            let (low, high) = (_mm256_castps_si256(self[0]), _mm256_castps_si256(self[1]));
            let eight = _mm256_max_epu32(low, high);
            let high = _mm256_extracti128_si256::<1>(eight);
            let four = _mm_max_epu32(_mm256_castsi256_si128(eight), high);
            let two = _mm_max_epu32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_max_epu32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            f32::from_bits(_mm_cvtsi128_si32(one) as u32)
        }
    }
    #[inline(always)]
    unsafe fn store_i16(two: [Self; 2], to: &mut [Pair; LANES]) {
        for (i, [low, high]) in two.into_iter().enumerate() {
            // SAFETY: see `splat`; two times 32 of 64 bytes, unaligned stores.
            unsafe {
                let mask = _mm256_set1_epi32(0xFFFF);
                let low = _mm256_and_si256(_mm256_castps_si256(low), mask);
                let high = _mm256_and_si256(_mm256_castps_si256(high), mask);
                // Packing takes halves in turn.
                let packed = _mm256_packus_epi32(low, high);
                let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                _mm256_storeu_si256(to.as_mut_ptr().add(8 * i).cast(), packed);
            }
        }
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: &mut [u8; LANES]) {
        // SAFETY: see `splat`; 16 bytes, unaligned store.
        unsafe {
            let mask = _mm256_set1_epi32(0xFF);
            let low = _mm256_and_si256(_mm256_castps_si256(self[0]), mask);
            let high = _mm256_and_si256(_mm256_castps_si256(self[1]), mask);
            // Packing takes halves in turn.
            let words = _mm256_packus_epi32(low, high);
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let (low, high) = (
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packus_epi16(low, high));
        }
    }
    #[inline(always)]
    unsafe fn store_pairs(first: Self, second: Self, to: &mut [Pair; LANES]) {
        for half in 0..2 {
            // SAFETY: see `splat`; two times 32 of 64 bytes, unaligned stores.
            unsafe {
                let first = _mm256_castps_si256(first[half]);
                let second = _mm256_slli_epi32::<16>(_mm256_castps_si256(second[half]));
                let pairs = _mm256_blend_epi16::<0xAA>(first, second);
                _mm256_storeu_si256(to.as_mut_ptr().add(8 * half).cast(), pairs);
            }
        }
    }
    #[inline(always)]
    unsafe fn no_ints() -> Self::Ints {
        // SAFETY: see `splat`.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn add_pairs(mut sums: Self::Ints, a: Pair, b: &[Pair; LANES]) -> Self::Ints {
        for half in 0..2 {
            // SAFETY: see `splat`; two times 32 of 64 bytes, unaligned loads.
            sums[half] = unsafe {
                let b = _mm256_loadu_si256(b.as_ptr().add(8 * half).cast());
                let products = _mm256_madd_epi16(_mm256_set1_epi32(bits(a)), b);
                _mm256_add_epi32(sums[half], products)
            };
        }
        sums
    }
    #[inline(always)]
    unsafe fn from_ints(ints: Self::Ints) -> Self {
        // SAFETY: see `splat`.
        unsafe { [_mm256_cvtepi32_ps(ints[0]), _mm256_cvtepi32_ps(ints[1])] }
    }
}

/// `_mm512_dpwssd_epi32`, which the compiler takes apart in order to add sooner; but nobody waits
/// for the sum, and two instructions are slower by half.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dpwssd(mut sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: an instruction of this instruction set that touches registers only.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {sums}, {a}, {b}",
            sums = inout(zmm_reg) sums,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// A pair as it lies in a lane.
#[inline(always)]
fn bits([low, high]: Pair) -> i32 {
    i32::from(high) << 16 | i32::from(low as u16)
}

/// `2ⁿ` of eight exponents.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn power(n: __m256i) -> __m256 {
    // SAFETY: promised by the caller.
    unsafe {
        let biased = _mm256_add_epi32(n, _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
    }
}

/// The last two steps of the tree.
#[inline(always)]
fn sum_four(four: __m128) -> f32 {
    // SAFETY: SSE is part of x86-64.
    unsafe {
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}
