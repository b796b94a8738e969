//! Rows of the encodings of the KV cache as floats, with the bits of `dequantize_row`.

use perigee_quant::QuantKind;

use super::lanes::{LANES, Lanes, f16_value};
use super::{Isa, Kernel};

/// Bytes of a Q8_0 block: an f16 scale and 32 codes.
const Q8_0_BYTES: usize = 34;

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
        for (bytes, out) in words.iter().zip(values) {
            // SAFETY: passed on from the caller.
            unsafe { L::from_f16(bytes).store(out) };
        }
        for (bytes, out) in tail_words.as_chunks::<2>().0.iter().zip(tail) {
            *out = f16_value(u16::from_le_bytes(*bytes));
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
        let blocks = self.bytes.as_chunks::<Q8_0_BYTES>().0.iter();
        for (block, out) in blocks.zip(self.out.as_chunks_mut::<{ 2 * LANES }>().0) {
            let [low, high, codes @ ..] = block;
            // SAFETY: passed on from the caller.
            unsafe {
                let scale = L::splat(f16_value(u16::from_le_bytes([*low, *high])));
                let halves = codes.as_chunks::<LANES>().0.iter();
                for (codes, out) in halves.zip(out.as_chunks_mut::<LANES>().0) {
                    scale.mul(L::from_i8(codes)).store(out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
