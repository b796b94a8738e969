//! IQ2_XS: 256 weights; f16 d, u16 qs\[32\] of a 9-bit grid index and a 7-bit sign code, scales
//! of 4 bits for 16 weights each.

use super::{f16_at, nibble, signed, u16_at};
use crate::grids::{IQ2_XS, even_signs};
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 74;

/// y = d·(½ + scale)·¼ · magnitude · sign.
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = d * (0.5 + f32::from(nibble(block[66 + g / 4], g / 2 % 2))) * 0.25;
            let q = u16_at(block, 2 + 2 * g);
            let grid = &IQ2_XS[usize::from(q & 511)];
            *out = signed(scale, grid, even_signs(u32::from(q >> 9)));
        }
    }
}
