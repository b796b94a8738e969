//! F16: IEEE binary16, rounded to nearest even; beyond 65504 it is infinite.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Words converted at a time: `half` has vector instructions for slices only.
const CHUNK: usize = 64;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let mut words = [f16::ZERO; CHUNK];
    for (bytes, y) in bytes.chunks(2 * CHUNK).zip(out.chunks_mut(CHUNK)) {
        let words = &mut words[..y.len()];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *word = f16::from_le_bytes(*bytes);
        }
        words.convert_to_f32_slice(y);
    }
}

pub(crate) fn quantize(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
    for (word, &x) in out.chunks_exact_mut(2).zip(x) {
        word.copy_from_slice(&f16::from_f32(x).to_le_bytes());
    }
}
