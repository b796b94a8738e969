//! The dot products of groups of 16 packed rows with many rows of activations, by bytes: for
//! instruction sets whose products of bytes add up in 32 bits. The arithmetic is that of `dot.rs`, to
//! the last bit.
//!
//! Weights are unpacked once for all rows of activations, a span at a time that stays in the
//! first-level cache; the same span of the next groups follows, while activations do. The products
//! themselves are all that is left to do for each row of activations.

use std::ops::Range;

use perigee_quant::packed::GROUP_ROWS;

use super::dot::Format;
use super::unpack::Unpack;
use crate::simd::bytes::{ByteOffsets, SumRows};
use crate::simd::quads::{ByteSpan, Bytes};
use crate::simd::{LINE, prefetch};

/// `y[g][c][r] = w[g][r] · x[c]` for the 16 rows of some groups.
///
/// # Safety
/// The CPU has the instruction set of `S`; each of `groups` points to a group of `n_in` columns in the
/// layout of `F`, and each of `x` to a row of activations of its form.
///
/// # Panics
/// When there are not as many results.
#[inline(always)]
pub(super) unsafe fn dot_bytes<S: Bytes, F: Format>(
    groups: &[*const u8],
    n_in: usize,
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    /// Most groups side by side.
    const SPANS: usize = 2;
    const {
        assert!(S::EXACT_U8, "values are multiplied unsigned");
        assert!(S::GROUPS <= SPANS);
    }
    let layout = F::LAYOUT;
    let form = layout.form();
    assert_eq!(groups.len() * x.len(), y.len());
    y.fill([0.0; GROUP_ROWS]);
    // SAFETY: promised by the caller; offsets are those of the form.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        let mut spans: [_; SPANS] = std::array::from_fn(|_| ByteSpan::new());
        let side_by_side = S::GROUPS.min(groups.len());
        let n_parts = groups.len().div_ceil(side_by_side);
        for first in (0..n_in).step_by(ByteSpan::LEN) {
            let (block, sub) = (first / layout.block_len, first / layout.sub_len);
            let at = ByteOffsets {
                a: first,
                scale: form.scales(n_in).start + size_of::<f32>() * block,
                base: form.bases(n_in).start + size_of::<i32>() * sub,
                total: form.totals(n_in).start + size_of::<i16>() * sub,
            };
            let sums = y.chunks_mut(side_by_side * x.len());
            for (part, (now, y)) in groups.chunks(side_by_side).zip(sums).enumerate() {
                let spans = &mut spans[..now.len()];
                for (span, group) in spans.iter_mut().zip(now) {
                    span.unpack::<S, F, false>(&tables, (*group, n_in, x.len()), first);
                }
                let ahead = Ahead::of::<F>(groups, side_by_side, first, (part, n_parts));
                multiply::<S, F>(spans, x, at, y, &ahead);
            }
        }
    }
}

/// What is asked for while the spans of some groups are multiplied, some of it in each turn: memory
/// takes few requests at a time.
struct Ahead<'a> {
    /// The groups that are next.
    groups: &'a [*const u8],
    /// The bytes of their spans.
    bytes: Range<usize>,
    /// These groups' part of the rest: of the columns of activations that the next spans meet.
    part: (usize, usize),
}

impl<'a> Ahead<'a> {
    /// While `part` of so many parts of the groups is multiplied, in spans from column `first` on.
    #[inline(always)]
    fn of<F: Format>(
        groups: &'a [*const u8],
        side_by_side: usize,
        first: usize,
        part: (usize, usize),
    ) -> Self {
        let layout = F::LAYOUT;
        let (next, first) = match groups.chunks(side_by_side).nth(part.0 + 1) {
            Some(next) => (next, first),
            None => (&groups[..side_by_side], first + ByteSpan::LEN),
        };
        let offset = |n: usize| layout.group_meta_bytes() + n / layout.block_len * F::BLOCK_BYTES;
        Self {
            groups: next,
            bytes: offset(first)..offset(first + ByteSpan::LEN),
            part,
        }
    }

    /// Asks for turn `turn` of `n_turns`, that of some rows of activations.
    #[inline(always)]
    fn ask<F: Format>(&self, (turn, n_turns): (usize, usize), x: &[*const u8], at: ByteOffsets) {
        let share = self.bytes.len().div_ceil(n_turns);
        for group in self.groups {
            prefetch(group.wrapping_add(self.bytes.start + turn * share), share);
        }
        let (part, n_parts) = self.part;
        let (block_len, sub_len) = (F::LAYOUT.block_len, F::LAYOUT.sub_len);
        for x in x {
            for line in (part..ByteSpan::LEN / LINE).step_by(n_parts) {
                prefetch(x.wrapping_add(at.a + ByteSpan::LEN + line * LINE), LINE);
            }
            if part == 0 {
                let scales = size_of::<f32>() * (ByteSpan::LEN / block_len);
                prefetch(x.wrapping_add(at.scale + scales), scales);
                let bases = size_of::<i32>() * (ByteSpan::LEN / sub_len);
                prefetch(x.wrapping_add(at.base + bases), bases);
            }
        }
    }
}

/// Adds the products of the spans of some groups with rows of activations, some side by side.
///
/// # Safety
/// As [`dot_bytes`]; `y` has a result for each.
#[inline(always)]
unsafe fn multiply<S: Bytes, F: Format>(
    spans: &[ByteSpan],
    x: &[*const u8],
    at: ByteOffsets,
    y: &mut [[f32; GROUP_ROWS]],
    ahead: &Ahead<'_>,
) {
    let n_turns = x.len().div_ceil(S::COLUMNS);
    let mut done = 0;
    for turn in 0..n_turns {
        // As many each as possible: the most would leave a few for a slow last turn.
        let n = (x.len() - done).div_ceil(n_turns - turn);
        let now = &x[done..done + n];
        let y = SumRows {
            first: y[done..].as_mut_ptr(),
            stride: x.len(),
        };
        done += n;
        ahead.ask::<F>((turn, n_turns), now, at);
        // SAFETY: promised by the caller.
        unsafe {
            match F::LAYOUT.n_sub() {
                16 => S::multiply::<16>(spans, now, at, y),
                8 => S::multiply::<8>(spans, now, at, y),
                _ => S::multiply::<0>(spans, now, at, y),
            }
        }
    }
}
