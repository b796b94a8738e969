//! IQ2_XS: 256 weights; f16 d, u16 qs\[32\] of a 9-bit grid index and a 7-bit sign code, scales
//! of 4 bits for 16 weights each.

use super::{f16_at, nibble, put_odd_scales, signed, take_odd_scales, u16_at};
use crate::grids::{EIGHTS, IQ2_XS, even_signs};
use crate::packed::grid::IQ2_XS as GRID;
use crate::packed::{Codes, Layout, Parts, Scale, SubScales};
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

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Grid(&GRID),
    values: &EIGHTS,
    shift: 0,
    bias: 64,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 0.125,
    sub_scales: SubScales::Nibbles { first: 1, step: 2 },
    planes: &[],
    head: take_apart,
    set_head: put_together,
};

#[inline]
fn take_apart(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    for g in 0..32 {
        let q = u16_at(block, 2 + 2 * g);
        GRID.set_index(&mut parts.codes, g, q & 511);
        GRID.indices
            .set_marks(&mut parts.codes, g, even_signs(u32::from(q >> 9)));
    }
    take_odd_scales(&block[66..], &mut parts.scales);
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    for g in 0..32 {
        let signs = u16::from(GRID.indices.marks(&parts.codes, g) & 127);
        let q = GRID.index(&parts.codes, g) | signs << 9;
        block[2 + 2 * g..4 + 2 * g].copy_from_slice(&q.to_le_bytes());
    }
    put_odd_scales(&parts.scales, &mut block[66..]);
}
