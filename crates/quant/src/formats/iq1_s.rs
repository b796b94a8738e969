//! IQ1_S: 256 weights; f16 d, low bytes of 32 grid indices, then for every 32 weights a u16 of
//! four times three high bits, a scale of 3 bits and the sign of the offset.

use super::{f16_at, odd_scale, odd_scale_bits, u16_at};
use crate::grids::IQ1;
use crate::packed::grid::IQ1_S as GRID;
use crate::packed::{Codes, Layout, Parts, Scale, SubScales};
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 50;
/// What every ternary value of IQ1_S and IQ1_M is off the integer, either way.
pub(super) const DELTA: f32 = 0.125;

/// y = d·(2·scale + 1) · (value ± ⅛).
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let high = u16_at(block, 34 + 2 * (g / 4));
            let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
            let delta = if high >> 15 == 1 { -DELTA } else { DELTA };
            let index = usize::from(block[2 + g]) | usize::from(high >> (3 * (g % 4)) & 7) << 8;
            *out = IQ1[index].map(|value| scale * (f32::from(value) + delta));
        }
    }
}

/// Eight times the values with their offset, when that is positive.
pub(super) const EIGHTFOLD: [i8; 3] = [-7, 1, 9];

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Grid(&GRID),
    values: &EIGHTFOLD,
    shift: -2,
    bias: 16,
    block_len: SUPER_BLOCK,
    sub_len: 32,
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
    parts.flags = 0;
    for ib in 0..8 {
        let high = u16_at(block, 34 + 2 * ib);
        for l in 0..4 {
            let p = 4 * ib + l;
            let index = u16::from(block[2 + p]) | (high >> (3 * l) & 7) << 8;
            GRID.set_index(&mut parts.codes, p, index);
        }
        parts.scales[ib] = odd_scale((high >> 12 & 7) as u8);
        parts.flags |= (high >> 15) << ib;
    }
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    for ib in 0..8 {
        let scale = u16::from(odd_scale_bits(parts.scales[ib]));
        let mut high = scale << 12 | (parts.flags >> ib & 1) << 15;
        for l in 0..4 {
            let p = 4 * ib + l;
            let index = GRID.index(&parts.codes, p);
            block[2 + p] = index as u8;
            high |= (index >> 8) << (3 * l);
        }
        block[34 + 2 * ib..36 + 2 * ib].copy_from_slice(&high.to_le_bytes());
    }
}
