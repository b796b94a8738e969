//! IQ4_K: 256 weights; f16 d, u16 extra, scales of 6 bits (high bits at 4, low nibbles at 8),
//! nibbles qs\[128\]; y = (d·ls)·table\[q\].

use super::{f16_at, u16_at};
use crate::codebooks::IQ4;

const BLOCK: usize = 144;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(256)) {
        let d = f16_at(block, 0);
        let extra = u16_at(block, 2);
        let (high, low, qs) = (&block[4..8], &block[8..16], &block[16..144]);
        for (k, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = low[k / 2] >> (4 * (k % 2)) & 15 | (high[k / 4] >> (2 * (k % 4)) & 3) << 4;
            let dl = d * (i32::from(scale) - 32) as f32;
            let table = if extra >> k & 1 == 1 { &IQ4[16..] } else { &IQ4[..16] };
            for (&byte, y) in qs[16 * (k / 2)..].iter().zip(out) {
                *y = dl * f32::from(table[usize::from(byte >> (4 * (k % 2)) & 15)]);
            }
        }
    }
}
