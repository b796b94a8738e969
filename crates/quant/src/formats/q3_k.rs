//! Q3_K: 256 weights; hmask\[32\] with a bit per weight whose code is not negative, low 2 bits
//! qs\[64\], 6-bit scales of 16 sub-blocks in 12 bytes, f16 d; y = (d·(scale − 32))·q.

use super::{f16_at, super_blocks, u16_at};
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales, linear};
use crate::signed_scales::SignedScales;
use crate::super_block::{SUPER_BLOCK, weights};
use crate::table_fit::Levels;

const BLOCK: usize = 110;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 108);
        let (mask, scales) = (&block[..32], &block[96..108]);
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let low = scales[k % 8] >> (4 * (k / 8)) & 15;
            let high = scales[8 + k % 4] >> (2 * (k / 4)) & 3;
            let dl = d * (i32::from(low | high << 4) - 32) as f32;
            let half = 16 * (k % 2);
            let (qs, mask) = (
                &block[32 + 32 * (k / 8) + half..][..16],
                &mask[half..][..16],
            );
            for ((y, q), mask) in out.iter_mut().zip(qs).zip(mask) {
                let q = i32::from(q >> (2 * (k / 2 % 4)) & 3);
                *y = dl * (q - 4 * i32::from(!mask >> (k / 2) & 1)) as f32;
            }
        }
    }
}

static SCALES: SignedScales<8> = SignedScales {
    levels: [Levels::new(&[-4, -3, -2, -1, 0, 1, 2, 3])],
    // Wider trials lose a little less by the importances, and much more without them.
    trials: (4, 0.2),
};

/// Without an imatrix w = σ²/4 + x², with one w = q·√(σ² + x²); σ² = 2 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 108, |x, importance, block| {
        let sigma2 = 2.0 * mean_square(x);
        let w = weights(x, importance, sigma2, |x| 0.25 * sigma2 + x * x);
        let encoded = SCALES.encode::<16, 16>(x.as_chunks().0, w.as_chunks().0);
        block[108..].copy_from_slice(&encoded.d.to_le_bytes());
        for (k, scale) in encoded.scales.iter().enumerate() {
            block[96 + k % 8] |= (scale & 15) << (4 * (k / 8));
            block[104 + k % 4] |= (scale >> 4) << (2 * (k / 4));
        }
        for (i, q) in encoded.codes.iter().enumerate() {
            block[32 + 32 * (i / 128) + i % 32] |= (q & 3) << (2 * (i / 32 % 4));
            block[i % 32] |= (q >> 2) << (i / 32);
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits3,
    values: &linear::<8>(-4),
    shift: 0,
    bias: 4,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::stacked(32, 32, 2, 0), Plane::stacked(0, 32, 1, 2)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 108));
    let scales = &block[96..108];
    for (k, ls) in parts.scales.iter_mut().enumerate() {
        let low = scales[k % 8] >> (4 * (k / 8)) & 15;
        let high = scales[8 + k % 4] >> (2 * (k / 4)) & 3;
        *ls = (low | high << 4) as i8 - 32;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    for (k, ls) in parts.scales.iter().enumerate() {
        let scale = (ls + 32) as u8;
        block[96 + k % 8] |= (scale & 15) << (4 * (k / 8));
        block[104 + k % 4] |= scale >> 4 << (2 * (k / 4));
    }
    block[108..].copy_from_slice(&(parts.d as u16).to_le_bytes());
}
