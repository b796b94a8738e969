//! TQ2_0: 256 ternary weights of 2 bits qs\[64\], f16 d; y = d·(q − 1).

use super::f16_at;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 66;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 64);
        for (g, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let qs = &block[32 * (g / 4)..][..32];
            for (y, q) in out.iter_mut().zip(qs) {
                *y = d * (f32::from(q >> (2 * (g % 4)) & 3) - 1.0);
            }
        }
    }
}
