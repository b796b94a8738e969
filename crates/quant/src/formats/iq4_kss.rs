//! IQ4_KSS: a row has an f32 scale d, then blocks of 256 weights: for every 32 weights eight
//! u16 whose lowest bits together are a scale of 8 bits and whose other bits, differenced with
//! their own shift, are 32 nibbles; y = (d·ls)·table\[q\].

use super::{nibble, row_f32, u16_at};
use crate::codebooks::IQ4;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 128;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in blocks
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let words: [u16; 8] = std::array::from_fn(|t| u16_at(block, 16 * k + 2 * t));
            let scale = (0..8).fold(0, |s, t| s | (words[t] & 1) << t);
            let bytes = words.map(|word| ((word & !1) ^ (word & !1) >> 1).to_le_bytes());
            let bytes = bytes.as_flattened();
            let dl = d * (f32::from(scale & 254) - 127.0);
            let table = &IQ4[usize::from(scale & 1)];
            for (i, y) in out.iter_mut().enumerate() {
                *y = dl * f32::from(table[usize::from(nibble(bytes[i % 16], i / 16))]);
            }
        }
    }
}
