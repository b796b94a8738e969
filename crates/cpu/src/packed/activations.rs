//! Rounding activations to 8 bits; the numbers are those of [`Form::quantize`].

use std::array::from_fn;

use perigee_quant::packed::Form;

use crate::Workers;
use crate::simd::LINE;
use crate::simd::isa::Isa;

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

/// Rows of activations in one form.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
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
    pub(crate) form: Form,
    pub(crate) n_rows: usize,
    pub(crate) n_in: usize,
    /// Row i.
    pub(crate) row: &'a (dyn Fn(usize) -> &'a [f32] + Sync),
}

impl Wanted<'_> {
    fn stride(&self) -> usize {
        self.form.row_bytes(self.n_in).next_multiple_of(LINE)
    }
}

impl Rounded {
    /// Rounds the same rows to each of the forms, once for equal ones.
    pub(crate) fn fill_forms<'a, const N: usize, const M: usize>(
        &'a mut self,
        workers: &Workers,
        forms: [[Form; M]; N],
        (n_rows, n_in): (usize, usize),
        row: &'a (dyn Fn(usize) -> &'a [f32] + Sync),
    ) -> [[Rows<'a>; M]; N] {
        let first = |i: usize| {
            let forms = forms.as_flattened();
            (0..i).find(|j| forms[*j] == forms[i]).unwrap_or(i)
        };
        let nested = |i, j| first(i * M + j);
        let wanted: [[Wanted<'_>; M]; N] = from_fn(|i| {
            from_fn(|j| Wanted {
                form: forms[i][j],
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
            let used = rows.form.row_bytes(rows.n_in);
            let round = |i: usize, out: &mut [u8]| {
                quantize(isa, &rows.form, (rows.row)(i), &mut out[..used]);
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
            Rows { bytes, stride }
        };
        wanted.map(|wanted| wanted.map(&mut take))
    }

    fn bytes_mut(&mut self, n_bytes: usize) -> &mut [u8] {
        let lines = &mut self.lines[..n_bytes / LINE];
        // SAFETY: a line is 64 bytes without padding, and any bytes are a line.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), n_bytes) }
    }
}

/// `form.quantize(x, out)` with the instructions of `isa`.
///
/// # Panics
/// As [`Form::quantize`], and when the CPU does not have the instruction set.
pub(crate) fn quantize(isa: Isa, form: &Form, x: &[f32], out: &mut [u8]) {
    assert!(isa.is_usable());
    match isa {
        Isa::Scalar => form.quantize(x, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the instruction set.
        Isa::Avx2 | Isa::AvxVnni => unsafe { x86::avx2(form, x, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the instruction set.
        Isa::Avx512 | Isa::Amx => unsafe { x86::avx512(form, x, out) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => form.quantize(x, out),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use perigee_quant::packed::Form;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn avx2(form: &Form, x: &[f32], out: &mut [u8]) {
        form.quantize_inline(x, out);
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) fn avx512(form: &Form, x: &[f32], out: &mut [u8]) {
        form.quantize_inline(x, out);
    }
}
