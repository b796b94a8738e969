//! IQ6_K: 256 weights; f16 d, u16 extra, i8 scales\[16\], low nibbles qs\[128\], high bits
//! qh\[64\]; y = (d·scale)·table\[q\].
//!
//! ik_llama.cpp's scalar decoder evaluates a cubic in place of the table, its kernels and its
//! quantiser use the table; so does Perigee.

use super::{f16_at, super_blocks, u16_at};
use crate::codebooks::IQ6;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, weights};
use crate::table_fit::{Levels, levels};

const BLOCK: usize = 212;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let extra = u16_at(block, 2);
        let (scales, qs, qh) = (&block[4..20], &block[20..148], &block[148..212]);
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let g = k / 2;
            let dl = d * f32::from(scales[k] as i8);
            let low = qs.as_chunks::<16>().0[2 * (g / 2) + k % 2];
            let high = qh.as_chunks::<16>().0[2 * (g / 4) + k % 2];
            let mut codes = [0; 16];
            for j in 0..16 {
                codes[j] = low[j] >> (4 * (g % 2)) & 15 | (high[j] >> (2 * (g % 4)) & 3) << 4;
            }
            let table = &IQ6[usize::from(extra >> k & 1)];
            for (y, code) in out.iter_mut().zip(codes) {
                *y = dl * f32::from(table[usize::from(code)]);
            }
        }
    }
}

static SCHEME: Scheme<Levels<64>, 2> = Scheme {
    tables: levels(&IQ6),
    trials: (5, 1.0),
    scales: ScaleGrid::Signed(-127, 127),
    stretch: 1.0,
};

/// Without an imatrix w = σ²/4 + x², with one w = q·√(σ² + x²); σ² = 2 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let sigma2 = 2.0 * mean_square(x);
        let w = weights(x, importance, sigma2, |x| 0.25 * sigma2 + x * x);
        let encoded = SCHEME.encode::<16>(x, &w);
        block[..2].copy_from_slice(&encoded.d_f16());
        block[2..4].copy_from_slice(&encoded.shifted_bits().to_le_bytes());
        for (byte, &ls) in block[4..20].iter_mut().zip(&encoded.scales) {
            *byte = ls as i8 as u8;
        }
        for (i, &q) in encoded.codes.as_flattened().iter().enumerate() {
            let (g, l) = (i / 32, i % 32);
            block[20 + 32 * (g / 2) + l] |= (q & 15) << (4 * (g % 2));
            block[148 + 32 * (g / 4) + l] |= (q >> 4) << (2 * (g % 4));
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits6,
    values: &IQ6[0],
    shift: 1,
    bias: 128,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::stacked(20, 32, 4, 0), Plane::stacked(148, 32, 2, 4)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    parts.flags = u16_at(block, 2);
    for (ls, byte) in parts.scales.iter_mut().zip(&block[4..20]) {
        *ls = *byte as i8;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    block[2..4].copy_from_slice(&parts.flags.to_le_bytes());
    block[4..20].copy_from_slice(&parts.scales.map(|ls| ls as u8));
}
