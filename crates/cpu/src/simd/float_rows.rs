//! Rows of floats of 16 and of 32 bits, as files have them, times rows of activations: the dots of
//! `row_blocks.rs`, to the last bit, without decoding whole rows first.

use std::ops::Range;

use perigee_quant::QuantKind;

use super::decoding::{Bf16Row, F16Row, F32Row, Row};
use super::lanes::{LANES, Lanes};
use super::row_blocks::add_chunks;
use super::{Isa, Kernel, aligned, prefetch, take_parts};

/// Columns that all rows of activations meet before the next: of [`MANY_ROWS`] rows a first-level cache
/// holds them as floats.
const SPAN: usize = 512;
/// Rows of activations whose sums stay in the second-level cache.
const CACHED_SUMS: usize = 192;
/// Most rows of [`dot_many`].
pub(crate) const MANY_ROWS: usize = 16;
/// Rows of activations from which on [`dot_many`] is the faster.
pub(crate) const WORTH_MANY: usize = 8;

/// How many rows of activations there are, and row i of them.
pub(crate) type Columns<'a, 'x> = (usize, &'a dyn Fn(usize) -> &'x [f32]);

/// Most rows of activations whose sums are side by side in registers.
const MOST_SIDE_BY_SIDE: usize = 6;

/// Rows of whole sixteens of floats, without gaps.
#[derive(Clone, Copy)]
pub(crate) struct FloatRows<'a> {
    encoding: Encoding,
    n_in: usize,
    bytes: &'a [u8],
}

#[derive(Clone, Copy)]
enum Encoding {
    F32,
    F16,
    Bf16,
}

impl<'a> FloatRows<'a> {
    /// `None` for other types, and rows that are no whole sixteens.
    pub(crate) fn new(kind: QuantKind, n_in: usize, bytes: &'a [u8]) -> Option<Self> {
        let encoding = match kind {
            QuantKind::F32 => Encoding::F32,
            QuantKind::F16 => Encoding::F16,
            QuantKind::Bf16 => Encoding::Bf16,
            _ => return None,
        };
        let is_whole = n_in > 0 && n_in.is_multiple_of(LANES);
        is_whole.then_some(Self {
            encoding,
            n_in,
            bytes,
        })
    }

    fn row_bytes(&self) -> usize {
        let number = match self.encoding {
            Encoding::F32 => F32Row::BYTES,
            Encoding::F16 => F16Row::BYTES,
            Encoding::Bf16 => Bf16Row::BYTES,
        };
        self.n_in * number
    }

    fn n_rows(&self) -> usize {
        self.bytes.len() / self.row_bytes()
    }

    /// `n` sixteens of row `r` from the `first` on.
    #[inline(always)]
    fn row<W: Encoded<'a>>(&self, r: usize, first: usize, n: usize) -> W {
        let start = (r * self.n_in + first * LANES) * W::BYTES;
        W::new(&self.bytes[start..start + n * LANES * W::BYTES])
    }
}

/// Rows of an encoding.
trait Encoded<'a>: Row {
    /// Bytes of a number.
    const BYTES: usize;

    fn new(bytes: &'a [u8]) -> Self;
}

impl<'a> Encoded<'a> for F32Row<'a> {
    const BYTES: usize = 4;

    #[inline(always)]
    fn new(bytes: &'a [u8]) -> Self {
        F32Row::new(bytes)
    }
}

impl<'a> Encoded<'a> for F16Row<'a> {
    const BYTES: usize = 2;

    #[inline(always)]
    fn new(bytes: &'a [u8]) -> Self {
        F16Row::new(bytes)
    }
}

impl<'a> Encoded<'a> for Bf16Row<'a> {
    const BYTES: usize = 2;

    #[inline(always)]
    fn new(bytes: &'a [u8]) -> Self {
        Bf16Row::new(bytes)
    }
}

/// `out[t, r] = Σ_i w[r, i] · x[t][i]`; `x`: 1 to 4 rows of as many numbers; `out: [x.len(), rows]`.
pub(crate) fn dot_float_rows(w: FloatRows<'_>, x: &[&[f32]], out: &mut [f32]) {
    assert_eq!(out.len(), x.len() * w.n_rows());
    assert!(x.iter().all(|x| x.len() == w.n_in));
    Isa::best().run(On(Few { w, x, out }));
}

/// Calls `body(t, sums)` with the sums `[.., rows]` of [`dot_float_rows`] for the rows of activations
/// from `t` on, of which there are `n`: up to [`MANY_ROWS`] rows are decoded once for as many as the
/// scratch memory suffices for. Returns whether it does for some.
pub(crate) fn dot_many(
    w: FloatRows<'_>,
    columns: Columns<'_, '_>,
    scratch: &mut [f32],
    body: &mut dyn FnMut(usize, &[f32]),
) -> bool {
    dot_many_with(Isa::best(), w, columns, scratch, body)
}

/// The same with these instructions.
fn dot_many_with(
    isa: Isa,
    w: FloatRows<'_>,
    (n, x): Columns<'_, '_>,
    scratch: &mut [f32],
    body: &mut dyn FnMut(usize, &[f32]),
) -> bool {
    let n_rows = w.n_rows();
    assert!(n_rows <= MANY_ROWS);
    let scratch = aligned(scratch);
    let most = scratch.len().saturating_sub(n_rows * SPAN) / (n_rows * (LANES + 1));
    let most = most.min(CACHED_SUMS) / MOST_SIDE_BY_SIDE * MOST_SIDE_BY_SIDE;
    if most == 0 {
        return false;
    }
    // As many each as possible.
    let n_each = n
        .div_ceil(n.div_ceil(most))
        .next_multiple_of(MOST_SIDE_BY_SIDE);
    for first in (0..n).step_by(n_each) {
        let n = n_each.min(n - first);
        let lens = [n_rows * SPAN, n * n_rows * LANES, n * n_rows];
        let [tile, lanes, sums] = take_parts(scratch, lens);
        let (tile, lanes) = (tile.as_chunks_mut().0, lanes.as_chunks_mut().0);
        isa.run(On(Many {
            w,
            x: &|t| x(first + t),
            tile,
            lanes,
            sums,
        }));
        body(first, sums);
    }
    true
}

/// A loop over rows of any encoding.
trait OnRows<'a> {
    fn rows(&self) -> FloatRows<'a>;

    /// # Safety
    /// The CPU has the instruction set of `L`; the rows are of this encoding.
    unsafe fn of<L: Lanes, W: Encoded<'a>>(self);
}

/// Such a loop with the encoding of its rows.
struct On<K>(K);

impl<'a, K: OnRows<'a>> Kernel for On<K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            match self.0.rows().encoding {
                Encoding::F32 => self.0.of::<L, F32Row<'_>>(),
                Encoding::F16 => self.0.of::<L, F16Row<'_>>(),
                Encoding::Bf16 => self.0.of::<L, Bf16Row<'_>>(),
            }
        }
    }
}

/// [`dot_float_rows`].
struct Few<'a> {
    w: FloatRows<'a>,
    x: &'a [&'a [f32]],
    out: &'a mut [f32],
}

impl<'a> OnRows<'a> for Few<'a> {
    fn rows(&self) -> FloatRows<'a> {
        self.w
    }

    #[inline(always)]
    unsafe fn of<L: Lanes, W: Encoded<'a>>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            match *self.x {
                [a] => self.dots::<L, W, 1>([a]),
                [a, b] => self.dots::<L, W, 2>([a, b]),
                [a, b, c] => self.dots::<L, W, 3>([a, b, c]),
                [a, b, c, d] => self.dots::<L, W, 4>([a, b, c, d]),
                _ => panic!("{} rows in a block", self.x.len()),
            }
        }
    }
}

impl<'a> Few<'a> {
    /// # Safety
    /// As `of`.
    #[inline(always)]
    unsafe fn dots<L: Lanes, W: Encoded<'a>, const T: usize>(self, x: [&[f32]; T]) {
        let n_rows = self.w.n_rows();
        let mut r = 0;
        // SAFETY: passed on from the caller.
        unsafe {
            while r + 4 <= n_rows {
                dot_block::<L, W, 4, T>(self.w, r, x, self.out);
                r += 4;
            }
            while r < n_rows {
                dot_block::<L, W, 1, T>(self.w, r, x, self.out);
                r += 1;
            }
        }
    }
}

/// All dots of `R` rows from row `r` on.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn dot_block<'a, L: Lanes, W: Encoded<'a>, const R: usize, const T: usize>(
    w: FloatRows<'a>,
    r: usize,
    x: [&[f32]; T],
    out: &mut [f32],
) {
    let (n, n_rows) = (w.n_in / LANES, w.n_rows());
    let mut rows = [w.row::<W>(r, 0, n); R];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = w.row(r + i, 0, n);
    }
    let mut chunks = [[].as_slice(); T];
    for t in 0..T {
        chunks[t] = x[t].as_chunks::<LANES>().0;
    }
    // SAFETY: passed on from the caller.
    unsafe {
        let mut lanes = [[L::splat(0.0); R]; T];
        add_chunks(&mut lanes, rows, chunks, n);
        for t in 0..T {
            for i in 0..R {
                out[t * n_rows + r + i] = lanes[t][i].sum();
            }
        }
    }
}

/// [`dot_many`] of rows of activations for which there is memory.
struct Many<'a, 'x> {
    w: FloatRows<'a>,
    x: &'a dyn Fn(usize) -> &'x [f32],
    /// `[rows, sixteens of a span]`
    tile: &'a mut [[f32; LANES]],
    /// The lanes of the sums so far: `[n, rows]`
    lanes: &'a mut [[f32; LANES]],
    /// `[n, rows]`
    sums: &'a mut [f32],
}

impl<'a> OnRows<'a> for Many<'a, '_> {
    fn rows(&self) -> FloatRows<'a> {
        self.w
    }

    #[inline(always)]
    unsafe fn of<L: Lanes, W: Encoded<'a>>(self) {
        let Self {
            w,
            x,
            tile,
            lanes,
            sums,
        } = self;
        let n_rows = w.n_rows();
        lanes.fill([0.0; LANES]);
        // SAFETY: passed on from the caller.
        unsafe {
            for first in (0..w.n_in).step_by(SPAN) {
                let n = SPAN.min(w.n_in - first) / LANES;
                for (r, tile) in tile.chunks_exact_mut(n).take(n_rows).enumerate() {
                    let row = w.row::<W>(r, first / LANES, n);
                    for (i, chunk) in tile.iter_mut().enumerate() {
                        row.chunk::<L>(i).store(chunk);
                    }
                    // The hardware does not follow so many short runs.
                    let next = w.bytes[(r * w.n_in + first + n * LANES) * W::BYTES..].as_ptr();
                    prefetch(next, n * LANES * W::BYTES);
                }
                let span = Span {
                    tile: &tile[..n_rows * n],
                    n_rows,
                    columns: first..first + n * LANES,
                    x,
                };
                // As many sums side by side as there are registers for.
                if L::MANY_REGISTERS {
                    span.add_to::<L, 4, MOST_SIDE_BY_SIDE>(lanes);
                } else {
                    span.add_to::<L, 2, 2>(lanes);
                }
            }
            for (sum, lanes) in sums.iter_mut().zip(&*lanes) {
                *sum = L::load(lanes).sum();
            }
        }
    }
}

/// Columns of some rows, decoded.
struct Span<'a, 'x> {
    tile: &'a [[f32; LANES]],
    n_rows: usize,
    columns: Range<usize>,
    x: &'a dyn Fn(usize) -> &'x [f32],
}

impl Span<'_, '_> {
    /// Adds the products with all rows of activations to the lanes of their sums, those of `R` rows
    /// with `T` of activations at a time.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    #[inline(always)]
    unsafe fn add_to<L: Lanes, const R: usize, const T: usize>(&self, lanes: &mut [[f32; LANES]]) {
        let n = lanes.len() / self.n_rows;
        let of = |t: usize, n: usize| t * self.n_rows..(t + n) * self.n_rows;
        let mut t = 0;
        // SAFETY: passed on from the caller.
        unsafe {
            while t + T <= n {
                self.add_rows::<L, R, T>(t, &mut lanes[of(t, T)]);
                t += T;
            }
            while t + 2 <= n {
                self.add_rows::<L, R, 2>(t, &mut lanes[of(t, 2)]);
                t += 2;
            }
            if t < n {
                self.add_rows::<L, R, 1>(t, &mut lanes[of(t, 1)]);
            }
        }
    }

    /// The same of `T` rows of activations from row `t` on.
    ///
    /// # Safety
    /// As `add_to`.
    #[inline(always)]
    unsafe fn add_rows<L: Lanes, const R: usize, const T: usize>(
        &self,
        t: usize,
        lanes: &mut [[f32; LANES]],
    ) {
        let mut x = [[].as_slice(); T];
        for (i, x) in x.iter_mut().enumerate() {
            *x = (self.x)(t + i)[self.columns.clone()].as_chunks().0;
        }
        let mut r = 0;
        // SAFETY: passed on from the caller.
        unsafe {
            while r + R <= self.n_rows {
                self.add_block::<L, R, T>(r, x, lanes);
                r += R;
            }
            while r < self.n_rows {
                self.add_block::<L, 1, T>(r, x, lanes);
                r += 1;
            }
        }
    }

    /// The same of `R` rows from row `r` on, in registers.
    ///
    /// # Safety
    /// As `add_to`.
    #[inline(always)]
    unsafe fn add_block<L: Lanes, const R: usize, const T: usize>(
        &self,
        r: usize,
        x: [&[[f32; LANES]]; T],
        lanes: &mut [[f32; LANES]],
    ) {
        let n = self.columns.len() / LANES;
        let mut rows = [[].as_slice(); R];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &self.tile[(r + i) * n..][..n];
        }
        // SAFETY: passed on from the caller.
        unsafe {
            let mut sums = [[L::splat(0.0); R]; T];
            for t in 0..T {
                for i in 0..R {
                    sums[t][i] = L::load(&lanes[t * self.n_rows + r + i]);
                }
            }
            add_chunks(&mut sums, rows, x, n);
            for t in 0..T {
                for i in 0..R {
                    sums[t][i].store(&mut lanes[t * self.n_rows + r + i]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
