//! IQ2_XXS: 256 weights; f16 d, then for every 32 weights two u32: four grid indices of 8 bits;
//! four sign codes of 7 bits and a scale of 4 bits.

use super::{f16_at, odd_scale, odd_scale_bits, signed, u16_at, u32_at};
use crate::grids::{EIGHTS, IQ2_XXS, even_signs};
use crate::packed::grid::IQ2_XXS as GRID;
use crate::packed::{Codes, Layout, Parts, Scale, SubScales};
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

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Grid(&GRID),
    values: &EIGHTS,
    shift: 0,
    bias: 64,
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
    for (ib, bytes) in block[2..].chunks_exact(8).enumerate() {
        let points = 4 * ib..4 * ib + 4;
        for (p, index) in points.clone().zip(bytes) {
            GRID.set_index(&mut parts.codes, p, u16::from(*index));
        }
        parts.scales[ib] = take_signs(u32_at(bytes, 4), |l, signs| {
            GRID.indices
                .set_marks(&mut parts.codes, points.start + l, signs);
        });
    }
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    for (ib, bytes) in block[2..].chunks_exact_mut(8).enumerate() {
        let points = 4 * ib..4 * ib + 4;
        for (p, index) in points.clone().zip(&mut *bytes) {
            *index = GRID.index(&parts.codes, p) as u8;
        }
        let signs = |l| GRID.indices.marks(&parts.codes, points.start + l);
        bytes[4..].copy_from_slice(&put_signs(parts.scales[ib], signs).to_le_bytes());
    }
}

/// Takes the word of signs of 32 weights apart, for IQ3_XXS too: calls `set` with the number and
/// the signs of each eight weights and returns the scale.
pub(super) fn take_signs(word: u32, mut set: impl FnMut(usize, u8)) -> i8 {
    for l in 0..4 {
        set(l, even_signs(word >> (7 * l)));
    }
    odd_scale((word >> 28) as u8)
}

/// The inverse of [`take_signs`].
pub(super) fn put_signs(scale: i8, signs: impl Fn(usize) -> u8) -> u32 {
    let word = u32::from(odd_scale_bits(scale)) << 28;
    (0..4).fold(word, |word, l| word | u32::from(signs(l) & 127) << (7 * l))
}
