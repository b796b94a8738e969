//! IQ3_XXS: 256 weights; f16 d, 64 grid indices for 4 weights each, then for every 32 weights a
//! u32 of four sign codes of 7 bits and a scale of 4 bits.

use super::{f16_at, pair, signed, u32_at};
use crate::grids::{IQ3_XXS, even_signs};
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 98;

/// y = d·(½ + scale)·½ · magnitude · sign.
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        for (ib, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let signs = u32_at(block, 66 + 4 * ib);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.5;
            for (l, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let at = |half| usize::from(block[2 + 8 * ib + 2 * l + half]);
                let grid = pair(&IQ3_XXS[at(0)], &IQ3_XXS[at(1)]);
                *out = signed(scale, &grid, even_signs(signs >> (7 * l)));
            }
        }
    }
}
