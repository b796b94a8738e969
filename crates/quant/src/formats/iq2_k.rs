//! IQ2_K: 256 weights; f16 d, u16 extra, scales of 4 bits for 16 weights each, codes of 2 bits
//! qs\[64\]; y = (d·ls)·table\[q\].

use super::{f16_at, nibble, super_blocks, u16_at};
use crate::codebooks::IQ2;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, weights};
use crate::table_fit::{Levels, levels};

const BLOCK: usize = 76;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let extra = u16_at(block, 2);
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let g = k / 2;
            let dl = d * (f32::from(nibble(block[4 + g], k % 2)) - 8.0);
            let qs = &block[12 + 32 * (g / 4) + 16 * (k % 2)..][..16];
            let table = &IQ2[usize::from(extra >> k & 1)];
            for (y, q) in out.iter_mut().zip(qs) {
                *y = dl * f32::from(table[usize::from(q >> (2 * (g % 4)) & 3)]);
            }
        }
    }
}

static SCHEME: Scheme<Levels<4>, 2> = Scheme {
    tables: levels(&IQ2),
    trials: (15, 1.5),
    scales: ScaleGrid::Signed(-8, 7),
    stretch: 1.0,
};

/// Without an imatrix w = σ²/4 + x², with one w = q·√(σ² + x²); σ² = 1.5 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let sigma2 = 1.5 * mean_square(x);
        let w = weights(x, importance, sigma2, |x| 0.25 * sigma2 + x * x);
        let encoded = SCHEME.encode::<16>(x, &w);
        block[..2].copy_from_slice(&encoded.d_f16());
        block[2..4].copy_from_slice(&encoded.shifted_bits().to_le_bytes());
        for (k, &ls) in encoded.scales.iter().enumerate() {
            block[4 + k / 2] |= ((ls + 8) as u8) << (4 * (k % 2));
        }
        for (i, &q) in encoded.codes.as_flattened().iter().enumerate() {
            block[12 + 32 * (i / 128) + i % 32] |= q << (2 * (i / 32 % 4));
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits2,
    values: &IQ2[0],
    shift: 5,
    bias: 32,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Nibbles { first: -8, step: 1 },
    planes: &[Plane::stacked(12, 32, 2, 0)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    parts.flags = u16_at(block, 2);
    for (k, ls) in parts.scales.iter_mut().enumerate() {
        *ls = nibble(block[4 + k / 2], k % 2) as i8 - 8;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    block[2..4].copy_from_slice(&parts.flags.to_le_bytes());
    for (k, ls) in parts.scales.iter().enumerate() {
        block[4 + k / 2] |= ((ls + 8) as u8) << (4 * (k % 2));
    }
}
