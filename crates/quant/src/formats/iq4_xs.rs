//! IQ4_XS: 256 weights; f16 d, 6-bit scales of 8 sub-blocks (high bits in the u16 at 2, low
//! nibbles at 4), nibbles qs\[128\]; y = (d·(scale − 32))·table\[n\].

use super::iq4_nl::VALUES;
use super::{f16_at, super_blocks, u16_at};
use crate::block_32::{nibbles, put_nibbles};
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::signed_scales::SignedScales;
use crate::super_block::{SUPER_BLOCK, weights};
use crate::table_fit::Levels;

const BLOCK: usize = 136;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let (d, high) = (f16_at(block, 0), u16_at(block, 2));
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = block[4 + k / 2] >> (4 * (k % 2)) & 15;
            let scale = i32::from(low) | i32::from(high >> (2 * k) & 3) << 4;
            let dl = d * (scale - 32) as f32;
            let values = VALUES.map(|value| dl * f32::from(value));
            for (y, n) in out.iter_mut().zip(nibbles(&block[8 + 16 * k..][..16])) {
                *y = values[usize::from(n)];
            }
        }
    }
}

static SCALES: SignedScales<16> = SignedScales {
    levels: [Levels::new(VALUES)],
    trials: (7, 1.0),
};

/// Without an imatrix w = x², with one w = q·√(σ² + x²), σ² = 2 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let w = weights(x, importance, 2.0 * mean_square(x), |x| x * x);
        let encoded = SCALES.encode::<32, 8>(x.as_chunks().0, w.as_chunks().0);
        block[..2].copy_from_slice(&encoded.d.to_le_bytes());
        let mut high = 0;
        for (k, &scale) in encoded.scales.iter().enumerate() {
            high |= u16::from(scale >> 4) << (2 * k);
            block[4 + k / 2] |= (scale & 15) << (4 * (k % 2));
        }
        block[2..4].copy_from_slice(&high.to_le_bytes());
        for (k, codes) in encoded.codes.as_chunks::<32>().0.iter().enumerate() {
            put_nibbles(codes, &mut block[8 + 16 * k..][..16]);
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits4,
    values: VALUES,
    shift: 0,
    bias: 128,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::halves(8)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    let high = u16_at(block, 2);
    for (k, ls) in parts.scales[..8].iter_mut().enumerate() {
        let low = block[4 + k / 2] >> (4 * (k % 2)) & 15;
        *ls = (low | ((high >> (2 * k) & 3) << 4) as u8) as i8 - 32;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    let mut high = 0;
    for (k, ls) in parts.scales[..8].iter().enumerate() {
        let scale = (ls + 32) as u8;
        block[4 + k / 2] |= (scale & 15) << (4 * (k % 2));
        high |= u16::from(scale >> 4) << (2 * k);
    }
    block[2..4].copy_from_slice(&high.to_le_bytes());
}
