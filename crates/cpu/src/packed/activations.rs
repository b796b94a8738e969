//! Rounding activations, to 8 bits with the numbers of [`Form::quantize`] or to bf16.

use std::array::from_fn;

use perigee_quant::packed::Form;

use crate::Workers;
use crate::simd::{Isa, Kernel, LANES, LINE, Lanes, most, round_bytes};

/// Activations that are rounded by one thread rather than by waking the others.
const ALONE: usize = 32 << 10;

/// Memory for rounded activations.
#[derive(Default)]
pub(crate) struct Rounded {
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// What activations are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Integers of 8 bits with scales and sums.
    Int8(Form),
    /// The nearest bf16, of halves the even one.
    Bf16,
}

impl Rounding {
    /// Bytes of a row of `n_in` columns.
    pub(crate) fn row_bytes(&self, n_in: usize) -> usize {
        match self {
            Self::Int8(form) => form.row_bytes(n_in),
            Self::Bf16 => n_in * size_of::<u16>(),
        }
    }
}

/// Rows of activations in one form.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) rounding: Rounding,
    bytes: &'a [u8],
    stride: usize,
}

impl Rows<'_> {
    /// The start of a row.
    pub(crate) fn row(&self, row: usize) -> *const u8 {
        self.bytes[row * self.stride..].as_ptr()
    }
}

/// Rows of floats to round.
pub(crate) struct Wanted<'a> {
    pub(crate) rounding: Rounding,
    pub(crate) n_rows: usize,
    pub(crate) n_in: usize,
    /// Row i.
    pub(crate) row: &'a (dyn Fn(usize) -> &'a [f32] + Sync),
}

impl Wanted<'_> {
    fn stride(&self) -> usize {
        self.rounding.row_bytes(self.n_in).next_multiple_of(LINE)
    }
}

impl Rounded {
    /// Rounds the same rows in each of these ways, once for equal ones.
    pub(crate) fn fill_alike<'a, const N: usize, const M: usize>(
        &'a mut self,
        workers: &Workers,
        roundings: [[Rounding; M]; N],
        (n_rows, n_in): (usize, usize),
        row: &'a (dyn Fn(usize) -> &'a [f32] + Sync),
    ) -> [[Rows<'a>; M]; N] {
        let first = |i: usize| {
            let all = roundings.as_flattened();
            (0..i).find(|j| all[*j] == all[i]).unwrap_or(i)
        };
        let nested = |i, j| first(i * M + j);
        let wanted: [[Wanted<'_>; M]; N] = from_fn(|i| {
            from_fn(|j| Wanted {
                rounding: roundings[i][j],
                n_rows: if nested(i, j) == i * M + j { n_rows } else { 0 },
                n_in,
                row,
            })
        });
        let rows = self.fill(workers, wanted);
        from_fn(|i| from_fn(|j| rows.as_flattened()[nested(i, j)]))
    }

    /// Rounds rows, and returns those of each that is wanted.
    pub(crate) fn fill<const N: usize, const M: usize>(
        &mut self,
        workers: &Workers,
        wanted: [[Wanted<'_>; M]; N],
    ) -> [[Rows<'_>; M]; N] {
        let all = wanted.as_flattened();
        let n_bytes = all.iter().map(|rows| rows.n_rows * rows.stride()).sum();
        if self.lines.len() < n_bytes / LINE {
            self.lines.resize(n_bytes / LINE, Line([0; LINE]));
        }
        let n_values: usize = all.iter().map(|rows| rows.n_rows * rows.n_in).sum();
        let isa = Isa::best();
        let mut rest = self.bytes_mut(n_bytes);
        for rows in all {
            let (part, tail) = rest.split_at_mut(rows.n_rows * rows.stride());
            rest = tail;
            let used = rows.rounding.row_bytes(rows.n_in);
            let round = |i: usize, out: &mut [u8]| {
                round(isa, &rows.rounding, (rows.row)(i), &mut out[..used]);
            };
            if n_values <= ALONE {
                let outs = part.chunks_exact_mut(rows.stride()).enumerate();
                outs.for_each(|(i, out)| round(i, out));
            } else {
                workers.pool().for_chunks(part, rows.stride(), &round);
            }
        }
        let mut rest = &*self.bytes_mut(n_bytes);
        let mut take = |rows: Wanted<'_>| {
            let stride = rows.stride();
            let (bytes, tail) = rest.split_at(rows.n_rows * stride);
            rest = tail;
            Rows {
                rounding: rows.rounding,
                bytes,
                stride,
            }
        };
        wanted.map(|wanted| wanted.map(&mut take))
    }

    fn bytes_mut(&mut self, n_bytes: usize) -> &mut [u8] {
        let lines = &mut self.lines[..n_bytes / LINE];
        // SAFETY: a line is 64 bytes without padding, and any bytes are a line.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), n_bytes) }
    }
}

/// Rounds a row with the instructions of `isa`.
///
/// # Panics
/// When `x` is no whole number of blocks, `out` not as long as the row, and when the CPU does not have the
/// instruction set.
pub(super) fn round(isa: Isa, rounding: &Rounding, x: &[f32], out: &mut [u8]) {
    match rounding {
        Rounding::Int8(form) => quantize(isa, form, x, out),
        Rounding::Bf16 => isa.run(RoundToBf16 {
            x,
            out: out.as_chunks_mut().0,
        }),
    }
}

/// Rounding a row to bf16, of as many.
struct RoundToBf16<'a> {
    x: &'a [f32],
    out: &'a mut [[u8; 2]],
}

impl Kernel for RoundToBf16<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        assert_eq!(self.x.len(), self.out.len());
        for (x, out) in self.x.iter().zip(self.out) {
            *out = bf16_bits(*x).to_le_bytes();
        }
    }
}

/// The bits of the nearest bf16, of halves the even one; NaN stays NaN.
#[inline(always)]
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let half_less_one = 0x7FFF + (bits >> 16 & 1);
    // What is not finite has no bits that could carry into its sign.
    let rounded = bits.wrapping_add(half_less_one) >> 16;
    let kept = bits >> 16 | 0x40;
    (if x.is_nan() { kept } else { rounded }) as u16
}

/// `form.quantize(x, out)` with the instructions of `isa`.
///
/// # Panics
/// As [`Form::quantize`], and when the CPU does not have the instruction set.
pub(crate) fn quantize(isa: Isa, form: &Form, x: &[f32], out: &mut [u8]) {
    assert!(x.len().is_multiple_of(form.block_len) && out.len() == form.row_bytes(x.len()));
    isa.run(Quantize { form, x, out });
}

/// [`Form::quantize`] in registers, of whole blocks.
struct Quantize<'a> {
    form: &'a Form,
    x: &'a [f32],
    out: &'a mut [u8],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            // Of constant lengths: loops that ask how long blocks are take longer than their work.
            match (self.form.block_len, self.form.sub_len) {
                (32, _) => self.by_blocks::<L, 2, 2>(),
                (_, 16) => self.by_blocks::<L, 16, 1>(),
                _ => self.by_blocks::<L, 16, 2>(),
            }
        }
    }
}

impl Quantize<'_> {
    /// With blocks of `B` sixteens, and sub-blocks of `N`.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    #[inline(always)]
    unsafe fn by_blocks<L: Lanes, const B: usize, const N: usize>(self) {
        /// Blocks whose scales are computed side by side, and most sub-blocks of these.
        const BLOCKS: usize = LANES;
        const SUBS: usize = 16 * BLOCKS;
        let Self { form, x, out } = self;
        assert_eq!((form.block_len, form.sub_len), (B * LANES, N * LANES));
        let (a, rest) = out.split_at_mut(x.len());
        let (scales, rest) = rest.split_at_mut(form.scales(x.len()).len());
        let x_blocks = x.as_chunks::<LANES>().0.as_chunks::<B>().0;
        let a_blocks = a.as_chunks_mut::<LANES>().0.as_chunks_mut::<B>().0;
        let scales = scales.as_chunks_mut::<4>().0.chunks_mut(BLOCKS);
        let blocks = x_blocks.chunks(BLOCKS).zip(a_blocks.chunks_mut(BLOCKS));
        for (i, ((x_blocks, a_blocks), scales_out)) in blocks.zip(scales).enumerate() {
            let (mut scales, mut factors) = ([0.0; BLOCKS], [0.0; BLOCKS]);
            for (factor, x) in factors.iter_mut().zip(x_blocks) {
                // SAFETY: promised by the caller.
                *factor = unsafe { most::<L>(x.as_slice()) };
            }
            for (scale, factor) in scales.iter_mut().zip(&mut factors) {
                (*scale, *factor) = Form::scale(*factor);
            }
            for (out, scale) in scales_out.iter_mut().zip(scales) {
                *out = scale.to_le_bytes();
            }
            let mut sums = [0; SUBS];
            let sums_of = sums.chunks_exact_mut(B / N);
            for (((x, a), factor), sums) in x_blocks.iter().zip(a_blocks).zip(factors).zip(sums_of)
            {
                let subs = x.as_chunks::<N>().0.iter().zip(a.as_chunks_mut::<N>().0);
                for ((x, a), sum) in subs.zip(sums) {
                    // SAFETY: promised by the caller.
                    *sum = unsafe { round_bytes::<L, N>(x, factor, a) };
                }
            }
            let sums = &sums[..x_blocks.len() * (B / N)];
            form.store_sums(sums, i * BLOCKS * (B / N), x.len(), rest);
        }
    }
}
