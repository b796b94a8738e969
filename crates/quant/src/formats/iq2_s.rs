//! IQ2_S: 256 weights; f16 d, low bytes of 32 grid indices, 32 bytes of signs, two high bits
//! of each index, scales of 4 bits for 16 weights each.

use super::{f16_at, nibble, signed};
use crate::grids::IQ2_S;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 82;

/// y = d·(½ + scale)·¼ · magnitude · sign.
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let (low, signs, high) = (&block[2..34], &block[34..66], &block[66..74]);
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = d * (0.5 + f32::from(nibble(block[74 + g / 4], g / 2 % 2))) * 0.25;
            let index = usize::from(low[g]) | usize::from(high[g / 4] >> (2 * (g % 4)) & 3) << 8;
            *out = signed(scale, &IQ2_S[index], signs[g]);
        }
    }
}
