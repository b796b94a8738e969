//! Products of weights that are unpacked to memory as bytes, for instruction sets whose products of
//! bytes add up in 32 bits. The arithmetic is that of `packed/dot.rs`, to the last bit.

use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS};

use super::quads::{ByteSpan, Bytes, VECTOR, splat_totals};

/// A row of activations beside a span.
#[derive(Clone, Copy)]
pub(crate) struct ByteColumn {
    /// The columns of the span.
    pub(crate) a: *const i8,
    /// `Σ a` of each sub-block, a word.
    pub(crate) totals: *const u8,
    /// Their float scale.
    pub(crate) da: f32,
}

impl ByteColumn {
    /// Of no row.
    pub(crate) const EMPTY: Self = Self {
        a: std::ptr::null(),
        totals: std::ptr::null(),
        da: 0.0,
    };
}

/// See [`Bytes::multiply`].
///
/// # Safety
/// The CPU has the instruction set of `S`; the rest as there.
#[inline(always)]
unsafe fn multiply<S: Bytes, const SUB_LEN: usize, const N: usize>(
    span: &ByteSpan,
    columns: &[ByteColumn; N],
    y: &mut [[f32; GROUP_ROWS]; N],
) {
    // SAFETY: promised by the caller.
    unsafe {
        let dots = dot_sub_blocks::<S, SUB_LEN, N>(span, columns);
        let d = S::f_load(span.d[0].as_ptr().cast());
        for c in 0..N {
            let scale = S::f_mul(d, S::f_splat(columns[c].da));
            let sum = S::f_load(y[c].as_ptr().cast());
            let sum = S::f_fma(scale, S::f_from(dots[c]), sum);
            S::f_store(sum, y[c].as_mut_ptr());
        }
    }
}

/// `Σ ls · Σ v·a` of a block of 256 columns.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn dot_sub_blocks<S: Bytes, const SUB_LEN: usize, const N: usize>(
    span: &ByteSpan,
    columns: &[ByteColumn; N],
) -> [S::V; N] {
    // SAFETY: promised by the caller.
    unsafe {
        let mut a = [std::ptr::null(); N];
        for c in 0..N {
            a[c] = columns[c].a;
        }
        let mut dots = [S::zero(); N];
        if span.has_bias {
            for chunk in 0..ByteSpan::LEN / CHUNK_LEN {
                let biases = S::load(span.biases[chunk].as_ptr().cast());
                for c in 0..N {
                    let totals = columns[c].totals.add(chunk * CHUNK_LEN / SUB_LEN * 2);
                    let totals = splat_totals::<S, SUB_LEN>(totals);
                    dots[c] = S::dot16(dots[c], totals, biases);
                }
            }
        }
        for k in 0..ByteSpan::LEN / SUB_LEN {
            let mut acc = [S::zero(); N];
            if SUB_LEN == CHUNK_LEN {
                add_quads::<S, { CHUNK_LEN / 4 }, N>(span, k * SUB_LEN, &a, &mut acc);
            } else {
                add_quads::<S, { CHUNK_LEN / 8 }, N>(span, k * SUB_LEN, &a, &mut acc);
            }
            let scale = S::load(span.scales[k].as_ptr().cast());
            for c in 0..N {
                dots[c] = S::add(dots[c], S::mul(acc[c], scale));
            }
        }
        dots
    }
}

/// Adds the products of `QUADS` quads from column `first` on.
///
/// # Safety
/// As [`multiply`]; the span has these columns.
#[inline(always)]
unsafe fn add_quads<S: Bytes, const QUADS: usize, const N: usize>(
    span: &ByteSpan,
    first: usize,
    a: &[*const i8; N],
    sums: &mut [S::V; N],
) {
    // SAFETY: promised by the caller.
    unsafe {
        let quads = span.quads.as_ptr().cast::<u8>().add(first / 4 * VECTOR);
        for q in 0..QUADS {
            let w = S::load(quads.add(q * VECTOR));
            for c in 0..N {
                sums[c] = S::dot::<false>(sums[c], w, a[c].add(first + 4 * q));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx_vnni {
    use super::*;
    use crate::simd::quads_avx2::Avx2;

    impl Bytes for Avx2<true> {
        const SIDE_BY_SIDE: usize = 3;

        #[inline(always)]
        unsafe fn multiply<const SUB_LEN: usize, const N: usize>(
            span: &ByteSpan,
            columns: &[ByteColumn; N],
            y: &mut [[f32; GROUP_ROWS]; N],
        ) {
            // SAFETY: promised by the caller.
            unsafe { compiled::<SUB_LEN, N>(span, columns, y) }
        }
    }

    /// See [`Bytes::multiply`]. A function of its own: it is the same for all types of a shape.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and AVX-VNNI; the rest as there.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn compiled<const SUB_LEN: usize, const N: usize>(
        span: &ByteSpan,
        columns: &[ByteColumn; N],
        y: &mut [[f32; GROUP_ROWS]; N],
    ) {
        // SAFETY: this function has the instruction set; the rest is promised by the caller.
        unsafe { multiply::<Avx2<true>, SUB_LEN, N>(span, columns, y) }
    }
}
