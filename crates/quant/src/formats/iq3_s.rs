//! IQ3_S: 256 weights; f16 d, low bytes of 64 grid indices for 4 weights each, their ninth
//! bits, 32 bytes of signs, scales of 4 bits for 32 weights each.

use super::{f16_at, nibble, pair, signed};
use crate::grids::IQ3_S;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 110;

/// y = d·(1 + 2·scale) · magnitude · sign.
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let (low, ninth, signs) = (&block[2..66], &block[66..74], &block[74..106]);
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = d * f32::from(1 + 2 * nibble(block[106 + g / 8], g / 4 % 2));
            let at = |half| {
                let bit = usize::from(ninth[g / 4] >> (2 * (g % 4) + half) & 1);
                usize::from(low[2 * g + half]) | bit << 8
            };
            *out = signed(scale, &pair(&IQ3_S[at(0)], &IQ3_S[at(1)]), signs[g]);
        }
    }
}
