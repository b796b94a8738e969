//! IQ3_XXS: 256 weights; f16 d, 64 grid indices for 4 weights each, then for every 32 weights a
//! u32 of four sign codes of 7 bits and a scale of 4 bits.

use super::iq2_xxs::{put_signs, take_signs};
use super::{f16_at, pair, signed, u16_at, u32_at};
use crate::grids::{FOURS, IQ3_XXS, even_signs};
use crate::packed::grid::IQ3_XXS as GRID;
use crate::packed::{Codes, Layout, Parts, Scale, SubScales};
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

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Grid(&GRID),
    values: &FOURS,
    shift: 0,
    bias: 64,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::F16,
    factor: 0.25,
    sub_scales: SubScales::Nibbles { first: 1, step: 2 },
    planes: &[],
    head: take_apart,
    set_head: put_together,
};

#[inline]
fn take_apart(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    for (p, index) in block[2..66].iter().enumerate() {
        GRID.set_index(&mut parts.codes, p, u16::from(*index));
    }
    for ib in 0..8 {
        parts.scales[ib] = take_signs(u32_at(block, 66 + 4 * ib), |l, signs| {
            GRID.indices.set_marks(&mut parts.codes, 4 * ib + l, signs);
        });
    }
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    for (p, index) in block[2..66].iter_mut().enumerate() {
        *index = GRID.index(&parts.codes, p) as u8;
    }
    for (ib, word) in block[66..].chunks_exact_mut(4).enumerate() {
        let signs = |l| GRID.indices.marks(&parts.codes, 4 * ib + l);
        word.copy_from_slice(&put_signs(parts.scales[ib], signs).to_le_bytes());
    }
}
