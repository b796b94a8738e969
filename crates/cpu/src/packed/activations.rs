//! Rounding activations to 8 bits; the numbers are those of [`Form::quantize`].

use perigee_quant::packed::Form;
use perigee_topology::DisjointMut;

use crate::Workers;
use crate::simd::isa::Isa;

/// Bytes of a cache line.
const LINE: usize = 64;
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

impl Rounded {
    /// Rounds `n_rows` rows of `n_in` floats to each of the forms; `row(i)` is row i. Returns
    /// the rows of each form.
    pub(crate) fn fill<'x, const N: usize>(
        &mut self,
        workers: &Workers,
        forms: [Form; N],
        (n_rows, n_in): (usize, usize),
        row: &(dyn Fn(usize) -> &'x [f32] + Sync),
    ) -> [Rows<'_>; N] {
        let strides = forms.map(|form| form.row_bytes(n_in).next_multiple_of(LINE));
        let n_bytes = n_rows * strides.iter().sum::<usize>();
        if self.lines.len() < n_bytes / LINE {
            self.lines.resize(n_bytes / LINE, Line([0; LINE]));
        }
        let bytes = self.bytes_mut(n_bytes);
        let isa = Isa::best();
        let mut rest = bytes;
        for (form, stride) in forms.iter().zip(strides) {
            let (part, tail) = rest.split_at_mut(n_rows * stride);
            rest = tail;
            let used = form.row_bytes(n_in);
            if n_rows * n_in <= ALONE {
                for (i, out) in part.chunks_exact_mut(stride).enumerate() {
                    quantize(isa, form, row(i), &mut out[..used]);
                }
            } else {
                let part = DisjointMut::new(part);
                workers.pool().for_each(n_rows, &|i| {
                    // SAFETY: row `i` belongs to index `i`, which runs once.
                    let out = unsafe { part.range(i * stride, used) };
                    quantize(isa, form, row(i), out);
                });
            }
        }
        let mut rest = &*self.bytes_mut(n_bytes);
        strides.map(|stride| {
            let (bytes, tail) = rest.split_at(n_rows * stride);
            rest = tail;
            Rows { bytes, stride }
        })
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
    assert!(isa.is_supported());
    match isa {
        Isa::Scalar => form.quantize(x, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the instruction set.
        Isa::Avx2 | Isa::AvxVnni => unsafe { x86::avx2(form, x, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the instruction set.
        Isa::Avx512 => unsafe { x86::avx512(form, x, out) },
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
