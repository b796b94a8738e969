//! IQ2_XXS: 256 weights; f16 d, then for every 32 weights two u32: four grid indices of 8 bits;
//! four sign codes of 7 bits and a scale of 4 bits.

use super::{f16_at, signed, u32_at};
use crate::grids::{IQ2_XXS, even_signs};
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 66;

/// y = d·(½ + scale)·¼ · magnitude · sign.
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        for (ib, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let indices = &block[2 + 8 * ib..6 + 8 * ib];
            let signs = u32_at(block, 6 + 8 * ib);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.25;
            for (l, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let grid = &IQ2_XXS[usize::from(indices[l])];
                *out = signed(scale, grid, even_signs(signs >> (7 * l)));
            }
        }
    }
}
