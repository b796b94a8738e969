//! Products of a panel of rows with up to four rows: dots, and weighted sums of the rows.

use super::decoding::Row;
use super::lanes::{LANES, Lanes, sum_tree};
use super::{Isa, Kernel};

/// Most token rows of one call.
pub(crate) const BLOCK: usize = 4;

/// Rows of floats at a constant distance.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) n_rows: usize,
    pub(crate) stride: usize,
}

impl<'a> Panel<'a> {
    pub(super) fn row(&self, row: usize, len: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..len]
    }
}

/// `out[t, r] = Σ_i w[r, i] · x[t][i]` for the `n_rows` rows of the panel;
/// `x`: 1 to 4 rows of equal length; `out: [x.len(), n_rows]`.
pub(crate) fn dot_rows(w: Panel<'_>, x: &[&[f32]], out: &mut [f32]) {
    assert_eq!(out.len(), x.len() * w.n_rows);
    Isa::best().run(Dot { w, x, out });
}

/// `out[j, i] += Σ_r p[j][r] · rows[r, i]` for `i` in `0..len`, with `j` in `0..p.len()` (1 to
/// 4), `out` rows at distance `stride` and `p[j].len() == rows.n_rows`.
pub(crate) fn accumulate_rows(
    p: &[&[f32]],
    rows: Panel<'_>,
    len: usize,
    out: &mut [f32],
    stride: usize,
) {
    Isa::best().run(Accumulate {
        p,
        rows,
        len,
        out,
        stride,
    });
}
/// [`dot_rows`].
pub(super) struct Dot<'a> {
    pub(super) w: Panel<'a>,
    pub(super) x: &'a [&'a [f32]],
    pub(super) out: &'a mut [f32],
}

impl Kernel for Dot<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { w, x, out } = self;
        // SAFETY: passed on from the caller.
        unsafe {
            match *x {
                [a] => dot_panel::<L, 1>(w, [a], out),
                [a, b] => dot_panel::<L, 2>(w, [a, b], out),
                [a, b, c] => dot_panel::<L, 3>(w, [a, b, c], out),
                [a, b, c, d] => dot_panel::<L, 4>(w, [a, b, c, d], out),
                _ => panic!("{} rows in a block", x.len()),
            }
        }
    }
}

/// [`accumulate_rows`].
pub(super) struct Accumulate<'a> {
    pub(super) p: &'a [&'a [f32]],
    pub(super) rows: Panel<'a>,
    pub(super) len: usize,
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
}

impl Kernel for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self {
            p,
            rows,
            len,
            out,
            stride,
        } = self;
        // SAFETY: passed on from the caller.
        unsafe {
            match *p {
                [a] => accumulate_panel::<L, 1>([a], rows, len, out, stride),
                [a, b] => accumulate_panel::<L, 2>([a, b], rows, len, out, stride),
                [a, b, c] => accumulate_panel::<L, 3>([a, b, c], rows, len, out, stride),
                [a, b, c, d] => accumulate_panel::<L, 4>([a, b, c, d], rows, len, out, stride),
                _ => panic!("{} rows in a block", p.len()),
            }
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn dot_panel<L: Lanes, const T: usize>(w: Panel<'_>, x: [&[f32]; T], out: &mut [f32]) {
    let len = x[0].len();
    let n = w.n_rows;
    let mut r = 0;
    // SAFETY: passed on from the caller.
    unsafe {
        while r + 4 <= n {
            let rows = [
                w.row(r, len),
                w.row(r + 1, len),
                w.row(r + 2, len),
                w.row(r + 3, len),
            ];
            let sums = dot_block::<L, 4, T>(rows, x);
            for t in 0..T {
                out[t * n + r..][..4].copy_from_slice(&sums[t]);
            }
            r += 4;
        }
        while r < n {
            let sums = dot_block::<L, 1, T>([w.row(r, len)], x);
            for t in 0..T {
                out[t * n + r] = sums[t][0];
            }
            r += 1;
        }
    }
}

/// All `R · T` dot products of equally long rows.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn dot_block<L: Lanes, const R: usize, const T: usize>(
    w: [&[f32]; R],
    x: [&[f32]; T],
) -> [[f32; R]; T] {
    let n = w[0].len() / LANES;
    let (w, w_tail) = split(w, n);
    let (x, x_tail) = split(x, n);
    // SAFETY: passed on from the caller.
    unsafe {
        let mut lanes = [[L::splat(0.0); R]; T];
        add_chunks(&mut lanes, w, x, n);
        let mut sums = [[0.0; R]; T];
        for t in 0..T {
            for r in 0..R {
                if x_tail[t].is_empty() {
                    sums[t][r] = lanes[t][r].sum();
                    continue;
                }
                let mut partial = [0.0; LANES];
                lanes[t][r].store(&mut partial);
                for (l, (w, x)) in w_tail[r].iter().zip(x_tail[t]).enumerate() {
                    partial[l] = w.mul_add(*x, partial[l]);
                }
                sums[t][r] = sum_tree(partial);
            }
        }
        sums
    }
}

/// `lanes[t][r] += w[r, i] · x[t, i]` for the first `n` sixteens of rows that have as many.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub(super) unsafe fn add_chunks<L: Lanes, W: Row, const R: usize, const T: usize>(
    lanes: &mut [[L; R]; T],
    w: [W; R],
    x: [&[[f32; LANES]]; T],
    n: usize,
) {
    // In registers of their own: through the reference they would be stored in every round.
    let mut sums = *lanes;
    // SAFETY: passed on from the caller.
    unsafe {
        for i in 0..n {
            let mut w_lanes = [L::splat(0.0); R];
            for r in 0..R {
                w_lanes[r] = w[r].chunk(i);
            }
            for t in 0..T {
                let x = L::load(&x[t][i]);
                for r in 0..R {
                    sums[t][r] = sums[t][r].fma(w_lanes[r], x);
                }
            }
        }
    }
    *lanes = sums;
}

/// `n` chunks of sixteen of each row, and the rests.
#[inline(always)]
fn split<const N: usize>(rows: [&[f32]; N], n: usize) -> ([&[[f32; LANES]]; N], [&[f32]; N]) {
    let (mut chunks, mut tails) = ([[].as_slice(); N], [[].as_slice(); N]);
    for r in 0..N {
        chunks[r] = &rows[r].as_chunks::<LANES>().0[..n];
        tails[r] = &rows[r][n * LANES..];
    }
    (chunks, tails)
}

/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn accumulate_panel<L: Lanes, const J: usize>(
    p: [&[f32]; J],
    rows: Panel<'_>,
    len: usize,
    out: &mut [f32],
    stride: usize,
) {
    let mut i = 0;
    // SAFETY: passed on from the caller.
    unsafe {
        while i + 2 * LANES <= len {
            accumulate_block::<L, J, 2>(p, rows, i, out, stride);
            i += 2 * LANES;
        }
        while i + LANES <= len {
            accumulate_block::<L, J, 1>(p, rows, i, out, stride);
            i += LANES;
        }
    }
    for i in i..len {
        for j in 0..J {
            let mut sum = out[j * stride + i];
            for r in 0..rows.n_rows {
                sum = p[j][r].mul_add(rows.values[r * rows.stride + i], sum);
            }
            out[j * stride + i] = sum;
        }
    }
}

/// `16 · C` columns from column `i`, kept in registers over all rows.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn accumulate_block<L: Lanes, const J: usize, const C: usize>(
    p: [&[f32]; J],
    rows: Panel<'_>,
    i: usize,
    out: &mut [f32],
    stride: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut terms = p;
        for j in 0..J {
            terms[j] = &p[j][..rows.n_rows];
        }
        let mut sums = [[L::splat(0.0); C]; J];
        for j in 0..J {
            let out = &out[j * stride + i..][..C * LANES];
            for (sum, chunk) in sums[j].iter_mut().zip(out.as_chunks::<LANES>().0) {
                *sum = L::load(chunk);
            }
        }
        for r in 0..rows.n_rows {
            let row = &rows.values[r * rows.stride + i..][..C * LANES];
            let row = row.as_chunks::<LANES>().0;
            for c in 0..C {
                let value = L::load(&row[c]);
                for j in 0..J {
                    sums[j][c] = sums[j][c].fma(L::splat(terms[j][r]), value);
                }
            }
        }
        for j in 0..J {
            let out = &mut out[j * stride + i..][..C * LANES];
            for (sum, chunk) in sums[j].iter().zip(out.as_chunks_mut::<LANES>().0) {
                sum.store(chunk);
            }
        }
    }
}
