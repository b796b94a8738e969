//! Q5_K: 256 weights; f16 d, f16 dmin, 6-bit scales and minima of 8 sub-blocks in 12 bytes as
//! in Q4_K, bit four of each code in qh\[32\], nibbles qs\[128\]; y = (d·S)·n − dmin·M.

use super::q4_k::{put_scales_and_mins, scale_and_min};
use super::{f16_at, super_blocks};
use crate::affine_scales::AffineScales;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Plane, Scale, SubScales, linear};
use crate::super_block::{SUPER_BLOCK, weights};

const BLOCK: usize = 176;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
        let high = &block[16..48];
        for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_and_min(&block[4..16], j);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let low = &block[48 + 32 * (j / 2)..][..32];
            for ((y, low), high) in out.iter_mut().zip(low).zip(high) {
                let n = low >> (4 * (j % 2)) & 15 | (high >> j & 1) << 4;
                *y = scale * f32::from(n) - min;
            }
        }
    }
}

const SCALES: AffineScales = AffineScales {
    last_code: 31.0,
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
            block[48 + 32 * (i / 64) + i % 32] |= (q & 15) << (4 * (i / 32 % 2));
            block[16 + i % 32] |= (q >> 4) << (i / 32);
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits5,
    values: &linear::<32>(0),
    shift: 0,
    bias: 0,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::WithMins,
    planes: &[Plane::stacked(48, 32, 4, 0), Plane::stacked(16, 32, 1, 4)],
    head: super::q4_k::take_head,
    set_head: super::q4_k::put_head,
};
