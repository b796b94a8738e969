//! Q4_K: 256 weights; f16 d, f16 dmin, 6-bit scales and minima of 8 sub-blocks in 12 bytes,
//! nibbles qs\[128\]; y = (d·S)·n − dmin·M.

use super::{f16_at, super_blocks, u16_at};
use crate::affine_scales::AffineScales;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales, linear};
use crate::super_block::{SUPER_BLOCK, weights};

const BLOCK: usize = 144;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
        for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_and_min(&block[4..16], j);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let bytes = &block[16 + 32 * (j / 2)..][..32];
            for (y, byte) in out.iter_mut().zip(bytes) {
                *y = scale * f32::from(byte >> (4 * (j % 2)) & 15) - min;
            }
        }
    }
}

/// Scale and minimum of sub-block `j`: six low bits of a byte each for the first four; for the
/// others the two nibbles of a byte, with two high bits from the tops of the first eight bytes.
pub(crate) fn scale_and_min(bytes: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        return (bytes[j] & 63, bytes[j + 4] & 63);
    }
    (
        bytes[j + 4] & 15 | bytes[j - 4] >> 6 << 4,
        bytes[j + 4] >> 4 | bytes[j] >> 6 << 4,
    )
}

/// Packs scales and minima below 64 into zeroed bytes so that [`scale_and_min`] finds them.
pub(crate) fn put_scales_and_mins(scales: &[u8; 8], mins: &[u8; 8], bytes: &mut [u8]) {
    for j in 0..4 {
        bytes[j] = scales[j] | scales[j + 4] >> 4 << 6;
        bytes[j + 4] = mins[j] | mins[j + 4] >> 4 << 6;
        bytes[j + 8] = scales[j + 4] & 15 | mins[j + 4] << 4;
    }
}

const SCALES: AffineScales = AffineScales {
    last_code: 15.0,
    last_scale: 63,
    passes: 3,
};

/// Without an imatrix w = σ + |x|, with one w = q·√(σ² + x²); σ² = 2 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let sigma2 = 2.0 * mean_square(x);
        let sigma = sigma2.sqrt();
        let w = weights(x, importance, sigma2, |x| sigma + x.abs());
        let encoded = SCALES.encode::<32, 8>(x.as_chunks().0, w.as_chunks().0);
        block[..2].copy_from_slice(&encoded.d.to_le_bytes());
        block[2..4].copy_from_slice(&encoded.dmin.to_le_bytes());
        put_scales_and_mins(&encoded.scales, &encoded.mins, &mut block[4..16]);
        for (i, q) in encoded.codes.iter().enumerate() {
            block[16 + 32 * (i / 64) + i % 32] |= q << (4 * (i / 32 % 2));
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits4,
    values: &linear::<16>(0),
    shift: 0,
    bias: 0,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::WithMins,
    planes: &[Plane::stacked(16, 32, 4, 0)],
    head: take_head,
    set_head: put_head,
};

/// The scales of Q4_K and Q5_K.
#[inline]
pub(super) fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    parts.dmin = u16_at(block, 2);
    for k in 0..8 {
        let (scale, min) = scale_and_min(&block[4..16], k);
        parts.scales[k] = scale as i8;
        parts.mins[k] = min;
    }
}

pub(super) fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    block[2..4].copy_from_slice(&parts.dmin.to_le_bytes());
    let scales = std::array::from_fn(|k| parts.scales[k] as u8);
    let mins = std::array::from_fn(|k| parts.mins[k]);
    put_scales_and_mins(&scales, &mins, &mut block[4..16]);
}
