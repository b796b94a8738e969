//! BF16: the upper half of a binary32, rounded to nearest even.

use half::bf16;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (word, y) in bytes.chunks_exact(2).zip(out) {
        *y = f32::from_bits(u32::from(u16::from_le_bytes([word[0], word[1]])) << 16);
    }
}

pub(crate) fn quantize(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
    for (word, &x) in out.chunks_exact_mut(2).zip(x) {
        word.copy_from_slice(&bf16::from_f32(x).to_le_bytes());
    }
}
