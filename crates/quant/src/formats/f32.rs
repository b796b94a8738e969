//! F32: four bytes, little-endian.

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (word, y) in bytes.chunks_exact(4).zip(out) {
        *y = f32::from_le_bytes([word[0], word[1], word[2], word[3]]);
    }
}

pub(crate) fn quantize(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
    for (word, x) in out.chunks_exact_mut(4).zip(x) {
        word.copy_from_slice(&x.to_le_bytes());
    }
}
