//! IQ1_M: 256 weights; low bytes of 32 grid indices, then for each index a nibble of three high
//! bits and the sign of the offset; four u16 of four 3-bit scales for 16 weights each, whose
//! top nibbles together are the f16 d.

use half::f16;

use super::iq1_s::{DELTA, EIGHTFOLD};
use super::{nibble, odd_scale, odd_scale_bits, u16_at};
use crate::grids::IQ1;
use crate::packed::grid::IQ1_M as GRID;
use crate::packed::{Codes, Layout, Parts, Scale, SubScales};
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 56;

/// y = d·(2·scale + 1) · (value ± ⅛).
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let scales: [u16; 4] = std::array::from_fn(|i| u16_at(block, 48 + 2 * i));
        let d = (0..4).fold(0, |d, i| d | (scales[i] >> 12) << (4 * i));
        let d = f16::from_bits(d).to_f32();
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = scales[g / 8] >> (3 * (g / 2 % 4)) & 7;
            let scale = d * f32::from(2 * scale + 1);
            let high = nibble(block[32 + g / 2], g % 2);
            let delta = if high & 8 == 8 { -DELTA } else { DELTA };
            let index = usize::from(block[g]) | usize::from(high & 7) << 8;
            *out = IQ1[index].map(|value| scale * (f32::from(value) + delta));
        }
    }
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Grid(&GRID),
    values: &EIGHTFOLD,
    shift: 0,
    bias: 16,
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
    parts.d = 0;
    for i in 0..4 {
        let scales = u16_at(block, 48 + 2 * i);
        parts.d |= u32::from(scales >> 12) << (4 * i);
        for (s, scale) in parts.scales[4 * i..4 * i + 4].iter_mut().enumerate() {
            *scale = odd_scale((scales >> (3 * s) & 7) as u8);
        }
    }
    for g in 0..32 {
        let high = nibble(block[32 + g / 2], g % 2);
        let index = u16::from_le_bytes([block[g], high & 7]);
        GRID.set_index(&mut parts.codes, g, index);
        GRID.indices.set_marks(&mut parts.codes, g, high >> 3);
    }
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    for g in 0..32 {
        let [low, high] = GRID.index(&parts.codes, g).to_le_bytes();
        let high = high | GRID.indices.marks(&parts.codes, g) << 3;
        block[g] = low;
        block[32 + g / 2] |= high << (4 * (g % 2));
    }
    for (i, bytes) in block[48..].chunks_exact_mut(2).enumerate() {
        let mut scales = (parts.d >> (4 * i) & 15) as u16;
        for scale in parts.scales[4 * i..4 * i + 4].iter().rev() {
            scales = scales << 3 | u16::from(odd_scale_bits(*scale));
        }
        bytes.copy_from_slice(&scales.to_le_bytes());
    }
}
