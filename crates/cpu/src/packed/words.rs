//! The dot products of groups of 16 packed rows with many rows of activations, by words: for
//! instruction sets whose products of bytes are no better. The arithmetic is that of `dot.rs`, to
//! the last bit.
//!
//! Weights are unpacked once for all rows of activations, a span at a time that stays in the
//! first-level cache, and multiplied by the scales of their sub-blocks on the way.

use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS, SubScales};

use super::dot::{Format, SubBlocks, block_scales, prefetch_ahead};
use super::unpack::Unpack;
use super::values::{signed, word_pair};
use crate::simd::quads::{VECTOR, WordSpan, Words};

/// Most rows of activations that are multiplied side by side: two registers of sums each, beside two
/// of weights.
const SIDE_BY_SIDE: usize = 6;

/// `y[g][c][r] = w[g][r] · x[c]` for the 16 rows of some groups and seven or more rows of activations.
///
/// # Safety
/// The CPU has the instruction set of `S`; each of `groups` points to a group of `n_in` columns in the
/// layout of `F`, and each of `x` to a row of activations of its form.
///
/// # Panics
/// When there are fewer rows, or not as many results.
#[inline(always)]
pub(super) unsafe fn dot_words<S: Words, F: Format>(
    groups: &[*const u8],
    n_in: usize,
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    const { assert!(!F::LAYOUT.has_mins(), "minima have no place here") };
    assert_eq!(groups.len() * x.len(), y.len());
    y.fill([0.0; GROUP_ROWS]);
    // SAFETY: promised by the caller; offsets are those of the layout.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        let mut span = WordSpan::new(F::LAYOUT.block_len);
        for first in (0..n_in).step_by(WordSpan::LEN) {
            for (group, y) in groups.iter().zip(y.chunks_exact_mut(x.len())) {
                unpack::<S, F>(&mut span, &tables, (*group, n_in, x.len()), first);
                multiply_all::<S, F>(&span, (n_in, first), x, y);
            }
        }
    }
}

/// Unpacks the columns from `first` on of a group of `n_in`, for products with `n_columns` rows of
/// activations.
///
/// # Safety
/// As [`signed`]; `group` points to a group of `n_in` columns in the layout of `F`.
#[inline(always)]
unsafe fn unpack<S: Words, F: Format>(
    span: &mut WordSpan,
    tables: &<F::Codes as Unpack>::Tables<S>,
    (group, n_in, n_columns): (*const u8, usize, usize),
    first: usize,
) {
    let layout = F::LAYOUT;
    let blocks = first / layout.block_len..n_in.min(first + WordSpan::LEN) / layout.block_len;
    span.n_blocks = blocks.len();
    // SAFETY: promised by the caller; offsets are those of the layout.
    unsafe {
        for (i, b) in blocks.enumerate() {
            let block = group.add(layout.group_meta_bytes() + b * F::BLOCK_BYTES);
            prefetch_ahead::<F>(block, n_columns);
            let d = block_scales::<S, F>(group, block);
            S::f_store(d, span.scales[i].as_mut_ptr());
            let chunks = layout.block_len / CHUNK_LEN;
            let words = span.words[i * chunks..].as_mut_ptr();
            for chunk in 0..chunks {
                store::<S, F>(tables, block, chunk, words.add(chunk).cast());
            }
        }
    }
}

/// Adds the products of a span with rows of activations of `n_in` columns, of which it has those from
/// `first` on, some side by side.
///
/// # Safety
/// As [`dot_words`]; `y` has a result for each row.
#[inline(always)]
unsafe fn multiply_all<S: Words, F: Format>(
    span: &WordSpan,
    at: (usize, usize),
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    let mut done = 0;
    // As many each as possible: six would leave a few for a slow last turn. From seven on there are
    // never fewer than three.
    for turn in (1..=x.len().div_ceil(SIDE_BY_SIDE)).rev() {
        let n = (x.len() - done).div_ceil(turn);
        let (x, y) = (&x[done..done + n], &mut y[done..done + n]);
        done += n;
        // SAFETY: promised by the caller.
        unsafe {
            match n {
                3 => multiply::<S, F, 3>(span, at, x, y),
                4 => multiply::<S, F, 4>(span, at, x, y),
                5 => multiply::<S, F, 5>(span, at, x, y),
                _ => multiply::<S, F, SIDE_BY_SIDE>(span, at, x, y),
            }
        }
    }
}

/// The words of a chunk of a block.
///
/// # Safety
/// As [`signed`]; `to` has room for 32 columns of words.
#[inline(always)]
unsafe fn store<S: Words, F: Format>(
    tables: &<F::Codes as Unpack>::Tables<S>,
    block: *const u8,
    chunk: usize,
    to: *mut i8,
) {
    let layout = F::LAYOUT;
    // SAFETY: promised by the caller.
    unsafe {
        let quads = signed::<S, F>(tables, block, chunk);
        let scales = SubBlocks::<S>::of::<F>(block, chunk).scales;
        let scales = [
            word_pair::<S>(scales[0], scales[0]),
            word_pair::<S>(scales[1], scales[1]),
        ];
        // Loops over numbers: those over arrays keep them in memory.
        for q in 0..8 {
            let words = S::words(quads[q]);
            let scale = scales[q / 4 * (CHUNK_LEN / 2) / layout.sub_len];
            for part in 0..2 {
                let words = match layout.sub_scales {
                    SubScales::None => words[part],
                    _ => S::mul16(words[part], scale),
                };
                S::store(words, to.add((8 * part + q) * VECTOR));
            }
        }
    }
}

/// Adds the products of a span with `N` rows of activations of `n_in` columns, of which it has those
/// from `first` on.
///
/// # Safety
/// As [`dot_words`].
///
/// # Panics
/// When there are not `N` rows and sums.
#[inline(always)]
unsafe fn multiply<S: Words, F: Format, const N: usize>(
    span: &WordSpan,
    (n_in, first): (usize, usize),
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    let layout = F::LAYOUT;
    let form = layout.form();
    let x: &[_; N] = x.try_into().expect("as many as the turn has");
    let y: &mut [_; N] = y.try_into().expect("as many as the turn has");
    let mut a = [std::ptr::null(); N];
    let mut da = [std::ptr::null::<f32>(); N];
    // SAFETY: promised by the caller; offsets are those of the form.
    unsafe {
        for c in 0..N {
            a[c] = x[c].add(first).cast();
            let scales = x[c].add(form.scales(n_in).start).cast::<f32>();
            da[c] = scales.add(first / layout.block_len);
        }
        S::multiply(span, &a, &da, y);
    }
}
