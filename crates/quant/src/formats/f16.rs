//! F16: IEEE binary16, rounded to nearest even; beyond 65504 it is infinite.

use half::f16;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (word, y) in bytes.chunks_exact(2).zip(out) {
        *y = f16::from_le_bytes([word[0], word[1]]).to_f32();
    }
}

pub(crate) fn quantize(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
    for (word, &x) in out.chunks_exact_mut(2).zip(x) {
        word.copy_from_slice(&f16::from_f32(x).to_le_bytes());
    }
}
