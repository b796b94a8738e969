//! IQ2_S: 256 weights; f16 d, low bytes of 32 grid indices, 32 bytes of signs, two high bits
//! of each index, scales of 4 bits for 16 weights each.

use super::{f16_at, nibble, put_odd_scales, signed, take_odd_scales, u16_at};
use crate::grids::{EIGHTS, IQ2_S};
use crate::packed::grid::IQ2_S as GRID;
use crate::packed::{Codes, Layout, Parts, Scale, SubScales};
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
    let (low, signs, high) = (&block[2..34], &block[34..66], &block[66..74]);
    for g in 0..32 {
        let index = u16::from_le_bytes([low[g], high[g / 4] >> (2 * (g % 4)) & 3]);
        GRID.set_index(&mut parts.codes, g, index);
        GRID.indices.set_marks(&mut parts.codes, g, signs[g]);
    }
    take_odd_scales(&block[74..], &mut parts.scales);
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    for g in 0..32 {
        let [low, high] = GRID.index(&parts.codes, g).to_le_bytes();
        block[2 + g] = low;
        block[34 + g] = GRID.indices.marks(&parts.codes, g);
        block[66 + g / 4] |= high << (2 * (g % 4));
    }
    put_odd_scales(&parts.scales, &mut block[74..]);
}
