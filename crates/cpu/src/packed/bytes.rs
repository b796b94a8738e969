//! The dot products of a group of 16 packed rows with many rows of activations, by bytes: for
//! instruction sets whose products of bytes add up in 32 bits, and types with sub-blocks. The arithmetic is that of `dot.rs`, to
//! the last bit.
//!
//! Weights are unpacked once for all rows of activations, a span at a time that stays in the
//! first-level cache, and what their bias adds is taken out a block at a time: the products
//! themselves are all that is left to do for each row of activations.

use perigee_quant::packed::GROUP_ROWS;

use super::dot::Format;
use super::kernels::MAX_COLUMNS;
use super::unpack::Unpack;
use super::values::{Mins, add_scaled};
use crate::simd::bytes::ByteColumn;
use crate::simd::quads::{ByteSpan, Bytes};

/// `y[c][r] = w[r] · x[c]` for the 16 rows of a group and up to [`MAX_COLUMNS`] rows of activations.
///
/// # Safety
/// The CPU has the instruction set of `S`; `group` points to a group of `n_in` columns in the
/// layout of `F`, and each of `x` to a row of activations of its form.
///
/// # Panics
/// When there are more rows, or not as many results.
#[inline(always)]
pub(super) unsafe fn dot_bytes<S: Bytes, F: Format>(
    group: *const u8,
    n_in: usize,
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    const {
        assert!(S::EXACT_U8, "values are multiplied unsigned");
        assert!(F::LAYOUT.n_sub() > 0 && F::LAYOUT.block_len == ByteSpan::LEN);
        assert!(F::LAYOUT.bias != 0 || F::LAYOUT.shift == 0);
    }
    let layout = F::LAYOUT;
    let form = layout.form();
    assert_eq!(x.len(), y.len());
    y.fill([0.0; GROUP_ROWS]);
    // SAFETY: promised by the caller; offsets are those of the layout and of the form.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        let mut span = ByteSpan::new(layout.bias != 0);
        let columns = &mut [ByteColumn::EMPTY; MAX_COLUMNS][..x.len()];
        for first in (0..n_in).step_by(ByteSpan::LEN) {
            span.unpack::<S, F, false>(&tables, (group, n_in, x.len()), first);
            for (column, x) in columns.iter_mut().zip(x) {
                let da = x.add(form.scales(n_in).start).cast::<f32>();
                let first_total = first / layout.sub_len * size_of::<i16>();
                *column = ByteColumn {
                    a: x.add(first).cast(),
                    totals: x.add(form.totals(n_in).start + first_total),
                    da: da.add(first / layout.block_len).read_unaligned(),
                };
            }
            multiply::<S, F>(&span, columns, y);
            if layout.has_mins() {
                let first_block = first / layout.block_len * F::BLOCK_BYTES;
                let first_block = group.add(layout.group_meta_bytes() + first_block);
                let mins = Mins::<S>::of::<F>(first_block);
                for ((column, x), y) in columns.iter().zip(x).zip(&mut *y) {
                    let deltas = x.add(form.deltas(n_in).start).cast::<i32>();
                    let sum = mins.sum::<F>(deltas.add(first / layout.sub_len), 1);
                    add_scaled::<S>(sum, mins.scale, column.da, y);
                }
            }
        }
    }
}

/// Adds the products of a span with rows of activations, some side by side.
///
/// # Safety
/// As [`dot_bytes`].
#[inline(always)]
unsafe fn multiply<S: Bytes, F: Format>(
    span: &ByteSpan,
    mut columns: &[ByteColumn],
    mut y: &mut [[f32; GROUP_ROWS]],
) {
    // As many each as possible: the most would leave a few for a slow last turn.
    for turn in (1..=columns.len().div_ceil(S::SIDE_BY_SIDE)).rev() {
        let n = columns.len().div_ceil(turn);
        let (now, later) = columns.split_at(n);
        let (y_now, y_later) = std::mem::take(&mut y).split_at_mut(n);
        (columns, y) = (later, y_later);
        // SAFETY: promised by the caller.
        unsafe {
            match n {
                1 => side_by_side::<S, F, 1>(span, now, y_now),
                2 => side_by_side::<S, F, 2>(span, now, y_now),
                _ => side_by_side::<S, F, 3>(span, now, y_now),
            }
        }
    }
}

/// Adds the products of a span with `N` rows of activations.
///
/// # Safety
/// As [`dot_bytes`].
///
/// # Panics
/// When there are not `N` rows and results.
#[inline(always)]
unsafe fn side_by_side<S: Bytes, F: Format, const N: usize>(
    span: &ByteSpan,
    columns: &[ByteColumn],
    y: &mut [[f32; GROUP_ROWS]],
) {
    let columns = columns.try_into().expect("as many as the turn has");
    let y = y.try_into().expect("as many as the turn has");
    // SAFETY: promised by the caller.
    unsafe {
        match F::LAYOUT.sub_len {
            16 => S::multiply::<16, N>(span, columns, y),
            _ => S::multiply::<32, N>(span, columns, y),
        }
    }
}
