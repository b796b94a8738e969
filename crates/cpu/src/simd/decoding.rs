//! Rows of the encodings of the KV cache as floats, with the bits of `dequantize_row`.

use perigee_quant::QuantKind;

use super::lanes::{LANES, Lanes, bf16_value, f16_value};
use super::{Isa, Kernel};

/// Bytes of a Q8_0 block: an f16 scale and 32 codes.
const Q8_0_BYTES: usize = 34;

/// A row that is read sixteen numbers at a time.
pub(crate) trait Row: Copy {
    /// Whole sixteens; what is left over is not read.
    fn n_chunks(self) -> usize;

    /// Sixteen `i`.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    unsafe fn chunk<L: Lanes>(self, i: usize) -> L;
}

impl Row for &[[f32; LANES]] {
    #[inline(always)]
    fn n_chunks(self) -> usize {
        self.len()
    }

    #[inline(always)]
    unsafe fn chunk<L: Lanes>(self, i: usize) -> L {
        // SAFETY: promised by the caller.
        unsafe { L::load(&self[i]) }
    }
}

/// Encoded numbers of binary16.
#[derive(Clone, Copy)]
pub(crate) struct F16Row<'a>(&'a [[u8; 2 * LANES]]);

impl<'a> F16Row<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }
}

impl Row for F16Row<'_> {
    #[inline(always)]
    fn n_chunks(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    unsafe fn chunk<L: Lanes>(self, i: usize) -> L {
        // SAFETY: promised by the caller.
        unsafe { L::from_f16(&self.0[i]) }
    }
}

/// Little-endian floats.
#[derive(Clone, Copy)]
pub(crate) struct F32Row<'a>(&'a [[u8; 4 * LANES]]);

impl<'a> F32Row<'a> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }
}

impl Row for F32Row<'_> {
    #[inline(always)]
    fn n_chunks(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    unsafe fn chunk<L: Lanes>(self, i: usize) -> L {
        let mut values = [0.0; LANES];
        for (value, bytes) in values.iter_mut().zip(self.0[i].as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        // SAFETY: promised by the caller.
        unsafe { L::load(&values) }
    }
}

/// Numbers of bfloat16: the high halves of floats.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Row<'a>(&'a [[u8; 2 * LANES]]);

impl<'a> Bf16Row<'a> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }
}

impl Row for Bf16Row<'_> {
    #[inline(always)]
    fn n_chunks(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    unsafe fn chunk<L: Lanes>(self, i: usize) -> L {
        // SAFETY: promised by the caller.
        unsafe { L::from_bf16(&self.0[i]) }
    }
}

/// Blocks of Q8_0.
#[derive(Clone, Copy)]
pub(crate) struct Q8Row<'a>(&'a [[u8; Q8_0_BYTES]]);

impl<'a> Q8Row<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }
}

impl Row for Q8Row<'_> {
    #[inline(always)]
    fn n_chunks(self) -> usize {
        2 * self.0.len()
    }

    #[inline(always)]
    unsafe fn chunk<L: Lanes>(self, i: usize) -> L {
        let [low, high, codes @ ..] = &self.0[i / 2];
        let codes = &codes.as_chunks::<LANES>().0[i % 2];
        // SAFETY: promised by the caller.
        unsafe { L::splat_f16([*low, *high]).mul(L::from_i8(codes)) }
    }
}

/// Decodes a row of whole blocks into `out`.
///
/// # Panics
/// When the lengths do not agree.
pub(crate) fn decode_row(isa: Isa, kind: QuantKind, bytes: &[u8], out: &mut [f32]) {
    match kind {
        QuantKind::F16 => {
            assert_eq!(bytes.len(), 2 * out.len());
            isa.run(F16 { bytes, out });
        }
        QuantKind::Bf16 => {
            assert_eq!(bytes.len(), 2 * out.len());
            isa.run(Bf16 { bytes, out });
        }
        QuantKind::Q8_0 => {
            assert_eq!(bytes.len() * 32, Q8_0_BYTES * out.len());
            isa.run(Q8_0 { bytes, out });
        }
        _ => kind.dequantize_row(bytes, out),
    }
}

struct F16<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for F16<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (words, tail_words) = self.bytes.as_chunks::<{ 2 * LANES }>();
        let (values, tail) = self.out.as_chunks_mut::<LANES>();
        // SAFETY: passed on from the caller.
        unsafe { decode_chunks::<L>(F16Row(words), values) };
        for (bytes, out) in tail_words.as_chunks::<2>().0.iter().zip(tail) {
            *out = f16_value(u16::from_le_bytes(*bytes));
        }
    }
}

struct Bf16<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Bf16<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (values, tail) = self.out.as_chunks_mut::<LANES>();
        // SAFETY: passed on from the caller.
        unsafe { decode_chunks::<L>(Bf16Row::new(self.bytes), values) };
        let tail_bytes = self.bytes.as_chunks::<{ 2 * LANES }>().1.as_chunks::<2>();
        for (bytes, out) in tail_bytes.0.iter().zip(tail) {
            *out = bf16_value(*bytes);
        }
    }
}

struct Q8_0<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Q8_0<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: passed on from the caller.
        unsafe { decode_chunks::<L>(Q8Row::new(self.bytes), self.out.as_chunks_mut().0) };
    }
}

/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn decode_chunks<L: Lanes>(row: impl Row, out: &mut [[f32; LANES]]) {
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: promised by the caller.
        unsafe { row.chunk::<L>(i).store(out) };
    }
}

#[cfg(test)]
mod tests;
