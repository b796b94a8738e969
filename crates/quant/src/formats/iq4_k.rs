//! IQ4_K: 256 weights; f16 d, u16 extra, scales of 6 bits (high bits at 4, low nibbles at 8),
//! nibbles qs\[128\]; y = (d·ls)·table\[q\].

use super::{f16_at, nibble, super_blocks, u16_at};
use crate::codebooks::IQ4;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::super_block::{Encoded, SUPER_BLOCK, ScaleGrid, Scheme, weights};
use crate::table_fit::{Levels, levels};

const BLOCK: usize = 144;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let extra = u16_at(block, 2);
        let qs = &block[16..144];
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let dl = d * head_scale(block, k);
            let bytes = &qs.as_chunks::<16>().0[k / 2];
            let mut codes = [0; 16];
            for j in 0..16 {
                codes[j] = bytes[j] >> (4 * (k % 2)) & 15;
            }
            let values = IQ4[usize::from(extra >> k & 1)].map(|value| dl * f32::from(value));
            for (y, code) in out.iter_mut().zip(codes) {
                *y = values[usize::from(code)];
            }
        }
    }
}

/// Scale −32..=31 of sub-block k in a block of IQ4_K or IQ5_K.
pub(super) fn head_scale(block: &[u8], k: usize) -> f32 {
    let low = nibble(block[8 + k / 2], k % 2);
    let high = block[4 + k / 4] >> (2 * (k % 4)) & 3;
    f32::from(low | high << 4) - 32.0
}

static SCHEME: Scheme<Levels<16>, 2> = Scheme {
    tables: levels(&IQ4),
    trials: (7, 1.0),
    scales: ScaleGrid::Signed(-32, 31),
    stretch: 1.0,
};

/// Without an imatrix w = x², with one w = q·√(σ² + x²); σ² = 2 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let w = weights(x, importance, 2.0 * mean_square(x), |x| x * x);
        let encoded = SCHEME.encode::<16>(x, &w);
        pack_head(&encoded, block);
        for (i, &q) in encoded.codes.as_flattened().iter().enumerate() {
            block[16 + 16 * (i / 32) + i % 16] |= q << (4 * (i / 16 % 2));
        }
    });
}

/// What IQ4_K and IQ5_K blocks begin with: d, extra and the scales.
pub(super) fn pack_head(encoded: &Encoded<16>, block: &mut [u8]) {
    block[..2].copy_from_slice(&encoded.d_f16());
    block[2..4].copy_from_slice(&encoded.shifted_bits().to_le_bytes());
    for (k, &ls) in encoded.scales.iter().enumerate() {
        // 0..=63: scales are −32..=31.
        let scale = (ls + 32) as u8;
        block[4 + k / 4] |= (scale >> 4) << (2 * (k % 4));
        block[8 + k / 2] |= (scale & 15) << (4 * (k % 2));
    }
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits4,
    values: &IQ4[0],
    shift: 4,
    bias: 128,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::halves(16)],
    head: take_head,
    set_head: put_head,
};

/// The scales of IQ4_K and IQ5_K: d, flags, then two high bits and four low bits of each scale.
#[inline]
pub(super) fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    parts.flags = u16_at(block, 2);
    for (k, ls) in parts.scales.iter_mut().enumerate() {
        let low = nibble(block[8 + k / 2], k % 2);
        let high = block[4 + k / 4] >> (2 * (k % 4)) & 3;
        *ls = (low | high << 4) as i8 - 32;
    }
}

pub(super) fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    block[2..4].copy_from_slice(&parts.flags.to_le_bytes());
    for (k, ls) in parts.scales.iter().enumerate() {
        let scale = (ls + 32) as u8;
        block[8 + k / 2] |= (scale & 15) << (4 * (k % 2));
        block[4 + k / 4] |= scale >> 4 << (2 * (k % 4));
    }
}
