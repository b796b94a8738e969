//! IQ3_K: 256 weights; f16 d, u16 extra, u16 sign bits of 16 odd scales, their magnitudes in
//! nibbles, low two bits qs\[64\], third bits qh\[32\]; y = (d·ls)·table\[q\].

use super::{f16_at, u16_at};
use crate::codebooks::IQ3;

const BLOCK: usize = 110;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(256)) {
        let d = f16_at(block, 0);
        let (extra, signs) = (u16_at(block, 2), u16_at(block, 4));
        let (scales, qs, qh) = (&block[6..14], &block[14..78], &block[78..110]);
        for (k, out) in out.chunks_exact_mut(16).enumerate() {
            let g = k / 2;
            let magnitude = 2 * i32::from(scales[g] >> (4 * (k % 2)) & 15) + 1;
            let ls = if signs >> k & 1 == 1 { -magnitude } else { magnitude };
            let dl = d * ls as f32;
            let table = if extra >> k & 1 == 1 { &IQ3[8..] } else { &IQ3[..8] };
            let low = &qs[32 * (g / 4) + 16 * (k % 2)..][..16];
            let high = &qh[16 * (k % 2)..][..16];
            for ((&low, &high), y) in low.iter().zip(high).zip(out) {
                let q = low >> (2 * (g % 4)) & 3 | (high >> g & 1) << 2;
                *y = dl * f32::from(table[usize::from(q)]);
            }
        }
    }
}
