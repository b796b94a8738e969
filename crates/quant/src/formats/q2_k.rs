//! Q2_K: 256 weights; scales\[16\] with a scale in the low and a minimum in the high nibble,
//! 2-bit codes qs\[64\], f16 d, f16 dmin; y = (d·S)·q − dmin·M.

use super::{f16_at, super_blocks, u16_at};
use crate::affine_scales::AffineScales;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales, linear};
use crate::super_block::{SUPER_BLOCK, weights};

const BLOCK: usize = 84;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (scale, min) = (
                d * f32::from(block[k] & 15),
                dmin * f32::from(block[k] >> 4),
            );
            let bytes = &block[16 + 32 * (k / 8) + 16 * (k % 2)..][..16];
            for (y, byte) in out.iter_mut().zip(bytes) {
                *y = scale * f32::from(byte >> (2 * (k / 2 % 4)) & 3) - min;
            }
        }
    }
}

const SCALES: AffineScales = AffineScales {
    last_code: 3.0,
    last_scale: 15,
    passes: 4,
};

/// Without an imatrix w = |x|, with one w = q·√(σ² + x²), σ² = mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 80, |x, importance, block| {
        let w = weights(x, importance, mean_square(x), f32::abs);
        let encoded = SCALES.encode::<16, 16>(x.as_chunks().0, w.as_chunks().0);
        block[80..82].copy_from_slice(&encoded.d.to_le_bytes());
        block[82..84].copy_from_slice(&encoded.dmin.to_le_bytes());
        for k in 0..16 {
            block[k] = encoded.scales[k] | encoded.mins[k] << 4;
        }
        for (i, q) in encoded.codes.iter().enumerate() {
            block[16 + 32 * (i / 128) + i % 32] |= q << (2 * (i / 32 % 4));
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits2,
    values: &linear::<4>(0),
    shift: 0,
    bias: 0,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::NibblesWithMins,
    planes: &[Plane::stacked(16, 32, 2, 0)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 80));
    parts.dmin = u16_at(block, 82);
    for k in 0..16 {
        parts.scales[k] = (block[k] & 15) as i8;
        parts.mins[k] = block[k] >> 4;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    for k in 0..16 {
        block[k] = parts.scales[k] as u8 | parts.mins[k] << 4;
    }
    block[80..82].copy_from_slice(&(parts.d as u16).to_le_bytes());
    block[82..].copy_from_slice(&parts.dmin.to_le_bytes());
}
