//! IQ3_S: 256 weights; f16 d, low bytes of 64 grid indices for 4 weights each, their ninth
//! bits, 32 bytes of signs, scales of 4 bits for 32 weights each.

use super::{f16_at, nibble, pair, put_odd_scales, signed, take_odd_scales, u16_at};
use crate::grids::{IQ3_S, ODDS};
use crate::packed::grid::IQ3_S as GRID;
use crate::packed::{Codes, Layout, Parts, Scale, SubScales};
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

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Grid(&GRID),
    values: &ODDS,
    shift: 0,
    bias: 16,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Nibbles { first: 1, step: 2 },
    planes: &[],
    head: take_apart,
    set_head: put_together,
};

#[inline]
fn take_apart(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    let (low, ninth) = (&block[2..66], &block[66..74]);
    for (p, low) in low.iter().enumerate() {
        let index = u16::from_le_bytes([*low, ninth[p / 8] >> (p % 8) & 1]);
        GRID.set_index(&mut parts.codes, p, index);
    }
    for (g, signs) in block[74..106].iter().enumerate() {
        GRID.indices.set_marks(&mut parts.codes, g, *signs);
    }
    take_odd_scales(&block[106..], &mut parts.scales);
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    for p in 0..64 {
        let [low, ninth] = GRID.index(&parts.codes, p).to_le_bytes();
        block[2 + p] = low;
        block[66 + p / 8] |= ninth << (p % 8);
    }
    for (g, signs) in block[74..106].iter_mut().enumerate() {
        *signs = GRID.indices.marks(&parts.codes, g);
    }
    put_odd_scales(&parts.scales, &mut block[106..]);
}
