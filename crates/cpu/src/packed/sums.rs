//! The dot products of groups of 16 packed rows with many rows of activations, for
//! instruction sets whose products of bytes come as sums of two in 16 bits. The arithmetic is that of
//! `dot.rs`, to the last bit.
//!
//! As many of those sums are added in 16 bits as cannot overflow, and the multiplication that widens
//! them to 32 bits is that by the scale of the sub-block. Weights are unpacked once for all rows of
//! activations, a span at a time that stays in the first-level cache.

use std::mem::MaybeUninit;

use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS, Layout, SubScales};

use super::dot::Format;
use super::kernels::CACHED_COLUMNS;
use super::unpack::{Unpack, is_signed};
use super::values::{add_scaled, biased};
use crate::simd::quads::{ByteSpan, VECTOR, Words, splat_totals};

/// How many sums of two products with the biased values of a layout 16 bits hold: 1, 2 or 4; `None`
/// for layouts whose values `S` multiplies as they are, signed.
pub(super) const fn sums_in_16_bits<S: Words>(layout: &Layout) -> Option<usize> {
    /// The largest sum of two products with values of 1.
    const TWO: i32 = 2 * 127;
    if is_signed::<S>(layout) {
        return None;
    }
    let mut most = 1;
    let mut i = 0;
    while i < layout.values.len() {
        let (low, high) = biased(layout, i);
        assert!(
            low >= 0 && high <= 128,
            "biased values are small unsigned numbers"
        );
        if high > most {
            most = high;
        }
        i += 1;
    }
    Some(match i16::MAX as i32 / (TWO * most) {
        0 => panic!("16 bits hold a sum of two products"),
        1 => 1,
        2 | 3 => 2,
        _ => 4,
    })
}

/// A row of activations beside a span.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Column {
    /// `Σ ls · Σ v·a` of the block so far, a vector of `S`.
    sum: [i8; VECTOR],
    /// The columns of the span.
    a: *const i8,
}

impl Column {
    const EMPTY: Self = Self {
        sum: [0; VECTOR],
        a: std::ptr::null(),
    };
}

/// `y[g][c][r] = w[g][r] · x[c]` for the 16 rows of some groups and up to [`CACHED_COLUMNS`] rows of
/// activations.
///
/// # Safety
/// The CPU has the instruction set of `S`; each of `groups` points to a group of `n_in` columns in the
/// layout of `F`, and each of `x` to a row of activations of its form.
///
/// # Panics
/// When there are more rows, or not as many results.
#[inline(always)]
pub(super) unsafe fn dot_sums<S: Words, F: Format>(
    groups: &[*const u8],
    n_in: usize,
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    const {
        assert!(!S::EXACT_U8, "nibbles are multiplied as they are");
        assert!(F::LAYOUT.bias != 0 || F::LAYOUT.shift == 0);
    }
    assert_eq!(groups.len() * x.len(), y.len());
    y.fill([0.0; GROUP_ROWS]);
    // SAFETY: promised by the caller; offsets are those of the layout.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        let mut span = ByteSpan::new();
        let columns = &mut [Column::EMPTY; CACHED_COLUMNS][..x.len()];
        for first in (0..n_in).step_by(ByteSpan::LEN) {
            for (column, x) in columns.iter_mut().zip(x) {
                column.a = x.add(first).cast();
            }
            for (group, y) in groups.iter().zip(y.chunks_exact_mut(x.len())) {
                span.unpack::<S, F, true>(&tables, (*group, n_in, x.len()), first);
                multiply::<S, F>(&span, (n_in, first), (x, columns), y);
            }
        }
    }
}

/// Adds the products of a span with rows of activations of `n_in` columns, of which it has those from
/// `first` on.
///
/// # Safety
/// As [`dot_sums`]; the span is filled, and `columns` has its columns of every row.
#[inline(always)]
unsafe fn multiply<S: Words, F: Format>(
    span: &ByteSpan,
    (n_in, first): (usize, usize),
    (x, columns): (&[*const u8], &mut [Column]),
    y: &mut [[f32; GROUP_ROWS]],
) {
    let layout = F::LAYOUT;
    let form = layout.form();
    // SAFETY: promised by the caller; offsets are those of the form.
    unsafe {
        let chunks = layout.block_len / CHUNK_LEN;
        for b in 0..span.n_blocks {
            let first = first + b * layout.block_len;
            for (column, x) in columns.iter_mut().zip(x) {
                let start = start_of::<S, F>(span, b * chunks, (*x, n_in), first);
                S::store(start, column.sum.as_mut_ptr());
            }
            for half in 2 * b * chunks..2 * (b + 1) * chunks {
                add_half::<S, F>(span, half, columns);
            }
            let d = S::f_load(span.d[b].as_ptr().cast());
            for ((column, x), y) in columns.iter().zip(x).zip(&mut *y) {
                let da = x.add(form.scales(n_in).start).cast::<f32>();
                let da = da.add(first / layout.block_len).read_unaligned();
                add_scaled::<S>(S::load(column.sum.as_ptr().cast()), d, da, y);
                if layout.has_mins() {
                    let sum = times_totals::<S, F>(&span.mins[b * chunks..], (*x, n_in), first);
                    add_scaled::<S>(sum, S::f_load(span.dmin[b].as_ptr().cast()), da, y);
                }
            }
        }
    }
}

/// Adds the products of a half of a chunk with rows of activations.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn add_half<S: Words, F: Format>(span: &ByteSpan, half: usize, columns: &mut [Column]) {
    /// Quads of half a chunk.
    const N: usize = 4;
    let layout = F::LAYOUT;
    let n_sums = const {
        match sums_in_16_bits::<S>(F::LAYOUT) {
            Some(n) => n,
            None => panic!("values are multiplied unsigned"),
        }
    };
    let first = half * CHUNK_LEN / 2;
    // SAFETY: promised by the caller.
    unsafe {
        let mut w = [S::zero(); N];
        for q in 0..N {
            w[q] = S::load(span.quads[N * half + q].as_ptr().cast());
        }
        let scale = match layout.sub_scales {
            SubScales::None => S::splat(0x0001_0001),
            _ => S::load(span.scales[first / layout.sub_len].as_ptr().cast()),
        };
        for column in columns {
            let mut products = [S::zero(); N];
            for q in 0..N {
                let quad = column.a.add(first + 4 * q).cast::<i32>().read_unaligned();
                products[q] = S::pair_sums(w[q], S::splat(quad));
            }
            let mut total = S::load(column.sum.as_ptr().cast());
            for q in (0..N).step_by(n_sums) {
                let mut part = products[q];
                for more in 1..n_sums {
                    part = S::add16(part, products[q + more]);
                }
                total = S::dot16(total, part, scale);
            }
            S::store(total, column.sum.as_mut_ptr());
        }
    }
}

/// What takes the bias and the shift out of the products of a block, whose first chunk is `k` of the
/// span, with the activations from `first` on of a row of `n_in`.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn start_of<S: Words, F: Format>(
    span: &ByteSpan,
    k: usize,
    (x, n_in): (*const u8, usize),
    first: usize,
) -> S::V {
    let layout = F::LAYOUT;
    let form = layout.form();
    // SAFETY: promised by the caller; offsets are those of the form.
    unsafe {
        if layout.bias == 0 {
            return S::zero();
        }
        if layout.sub_scales == SubScales::None {
            let bases = x.add(form.bases(n_in).start).cast::<i32>();
            return S::splat(bases.add(first / layout.sub_len).read_unaligned());
        }
        times_totals::<S, F>(&span.biases[k..], (x, n_in), first)
    }
}

/// The sums of the activations of a block, from column `first` on of a row of `n_in`, times words of its
/// sub-blocks, a vector for each chunk.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn times_totals<S: Words, F: Format>(
    words: &[MaybeUninit<[i8; VECTOR]>],
    (x, n_in): (*const u8, usize),
    first: usize,
) -> S::V {
    let layout = F::LAYOUT;
    let totals = layout.form().totals(n_in).start;
    let words = words[..layout.block_len / CHUNK_LEN].iter();
    // SAFETY: promised by the caller; offsets are those of the form.
    unsafe {
        let mut sum = S::zero();
        for (chunk, words) in words.enumerate() {
            let sub = (first + chunk * CHUNK_LEN) / layout.sub_len;
            let total = x.add(totals + size_of::<i16>() * sub);
            let total = match layout.sub_len {
                CHUNK_LEN => splat_totals::<S, CHUNK_LEN>(total),
                _ => splat_totals::<S, { CHUNK_LEN / 2 }>(total),
            };
            sum = S::dot16(sum, total, S::load(words.as_ptr().cast()));
        }
        sum
    }
}
