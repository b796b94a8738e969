//! [`Words`] on AVX2.
//!
//! `VPMADDUBSW` multiplies bytes only if one factor is not negative, and its sums of 16 bits overflow
//! when weights have all 8. Making a factor positive costs an instruction for each product; words
//! cost two multiplications where bytes take two and that instruction.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS};

use super::quads::{WordSpan, Words};
use super::quads_avx2::Avx2;

impl Words for Avx2<false> {
    #[inline(always)]
    unsafe fn pair_sums(w: Self::V, a: Self::V) -> Self::V {
        // SAFETY: here and in the functions below the instruction set and good pointers are
        // promised by the caller.
        unsafe {
            [
                _mm256_maddubs_epi16(w[0], a[0]),
                _mm256_maddubs_epi16(w[1], a[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add16(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `pair_sums`.
        unsafe { [_mm256_add_epi16(a[0], b[0]), _mm256_add_epi16(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn mul16(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: see `pair_sums`.
        unsafe {
            [
                _mm256_mullo_epi16(a[0], b[0]),
                _mm256_mullo_epi16(a[1], b[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn words(a: Self::V) -> [Self::V; 2] {
        // SAFETY: see `pair_sums`.
        unsafe {
            let (low, high) = (words(a[0]), words(a[1]));
            [[low[0], high[0]], [low[1], high[1]]]
        }
    }

    #[inline(always)]
    unsafe fn multiply<const N: usize>(
        span: &WordSpan,
        a: &[*const i8; N],
        da: &[*const f32; N],
        y: &mut [[f32; GROUP_ROWS]; N],
    ) {
        // SAFETY: see `pair_sums`.
        unsafe { multiply(span, a, da, y) }
    }
}

/// [`Words::words`] of a half.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn words(a: __m256i) -> [__m256i; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        [
            _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a)),
            _mm256_srai_epi16::<8>(a),
        ]
    }
}

/// See [`Words::multiply`]. A function of its own: it is the same for all types.
///
/// # Safety
/// The CPU has AVX2 and FMA; `a` and `da` point to as many bytes and floats as the span has columns and
/// blocks.
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply<const N: usize>(
    span: &WordSpan,
    a: &[*const i8; N],
    da: &[*const f32; N],
    y: &mut [[f32; GROUP_ROWS]; N],
) {
    /// Pairs of activations in the order of the weights' words.
    type Chunk = [i32; CHUNK_LEN / 2];
    #[repr(C, align(32))]
    struct Pairs<const N: usize>([[Chunk; WordSpan::LEN / CHUNK_LEN]; N]);
    /// Steps between two tests of the loop.
    const UNROLLED: usize = 4;

    let chunks_per_block = span.block_len / CHUNK_LEN;
    let n_chunks = span.n_blocks * chunks_per_block;
    // Not filled first: that would cost as much as the conversion.
    let mut pairs = MaybeUninit::<Pairs<N>>::uninit();
    let pairs = pairs
        .as_mut_ptr()
        .cast::<[Chunk; WordSpan::LEN / CHUNK_LEN]>();
    for (c, a) in a.iter().enumerate() {
        for k in 0..n_chunks {
            // SAFETY: the chunk is in the span, whose columns are promised by the caller, and there
            // is room for those of a whole one.
            unsafe {
                let to = (&raw mut (*pairs.add(c))[k]).cast::<__m256i>();
                let [first, second] = words(_mm256_loadu_si256(a.add(k * CHUNK_LEN).cast()));
                _mm256_store_si256(to, first);
                _mm256_store_si256(to.add(1), second);
            }
        }
    }
    let blocks = span.words[..n_chunks].chunks_exact(chunks_per_block);
    for (b, (words, scales)) in blocks.zip(&span.scales).enumerate() {
        let mut sums = [[_mm256_setzero_si256(); 2]; N];
        // A chunk's 16 steps, some at a time to save the loop's own instructions.
        let steps = words.as_flattened().as_chunks::<UNROLLED>().0;
        for (p, steps) in steps.iter().enumerate() {
            for (i, words) in steps.iter().enumerate() {
                // SAFETY: a step's words are 64 bytes and lie at a multiple of 64.
                let words = unsafe {
                    let at = words.as_ptr().cast::<__m256i>();
                    [_mm256_load_si256(at), _mm256_load_si256(at.add(1))]
                };
                let at = b * chunks_per_block * CHUNK_LEN / 2 + p * UNROLLED + i;
                for c in 0..N {
                    // SAFETY: a pair for each step, made above.
                    let pair = unsafe { pairs.add(c).cast::<i32>().add(at).read() };
                    let pair = _mm256_set1_epi32(pair);
                    for half in 0..2 {
                        let product = _mm256_madd_epi16(words[half], pair);
                        sums[c][half] = _mm256_add_epi32(sums[c][half], product);
                    }
                }
            }
        }
        for (c, (y, sums)) in y.iter_mut().zip(sums).enumerate() {
            // SAFETY: a float for each block, promised by the caller.
            let da = unsafe { _mm256_set1_ps(da[c].add(b).read_unaligned()) };
            for (half, sum) in sums.into_iter().enumerate() {
                // SAFETY: eight of sixteen floats each.
                unsafe {
                    let at = y.as_mut_ptr().add(8 * half);
                    let scale = _mm256_loadu_ps(scales.as_ptr().add(8 * half));
                    let scale = _mm256_mul_ps(scale, da);
                    let sum = _mm256_cvtepi32_ps(sum);
                    _mm256_storeu_ps(at, _mm256_fmadd_ps(scale, sum, _mm256_loadu_ps(at)));
                }
            }
        }
    }
}
