//! IQ4_K: 256 weights; f16 d, u16 extra, scales of 6 bits (high bits at 4, low nibbles at 8),
//! nibbles qs\[128\]; y = (d·ls)·table\[q\].

use super::{f16_at, super_blocks, u16_at};
use crate::codebooks::IQ4;
use crate::importance::mean_square;
use crate::linear_fit::extreme;
use crate::super_block::{N_SUB_BLOCKS, SUPER_BLOCK, Scheme, weights};
use crate::table_fit::levels;

const BLOCK: usize = 144;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let extra = u16_at(block, 2);
        let (high, low, qs) = (&block[4..8], &block[8..16], &block[16..144]);
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = low[k / 2] >> (4 * (k % 2)) & 15 | (high[k / 4] >> (2 * (k % 4)) & 3) << 4;
            let dl = d * (i32::from(scale) - 32) as f32;
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

static SCHEME: Scheme<16> = Scheme {
    table: &IQ4,
    levels: levels(&IQ4),
    trials: (7, 1.0),
    round_scales,
    scales: (-32, 31, 1),
    stretch: 1.0,
};

/// Without an imatrix w = x², with one w = q·√(σ² + x²); σ² = 2 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let w = weights(x, importance, 2.0 * mean_square(x), |x| x * x);
        let encoded = SCHEME.encode(x, &w);
        block[..2].copy_from_slice(&encoded.d.to_le_bytes());
        block[2..4].copy_from_slice(&encoded.shifted.to_le_bytes());
        for (k, &ls) in encoded.scales.iter().enumerate() {
            // 0..=63: scales are −32..=31.
            let scale = (ls + 32) as u8;
            block[4 + k / 4] |= (scale >> 4) << (2 * (k % 4));
            block[8 + k / 2] |= (scale & 15) << (4 * (k % 2));
        }
        for (i, &q) in encoded.codes.iter().enumerate() {
            block[16 + 16 * (i / 32) + i % 16] |= q << (4 * (i / 16 % 2));
        }
    });
}

/// Scales −32..31; the sub-block of largest magnitude has −32.
fn round_scales(fitted: &[f32; N_SUB_BLOCKS]) -> ([i32; N_SUB_BLOCKS], f32) {
    let d = extreme(fitted) / -32.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let scales = fitted.map(|fitted| ((fitted * inverse).round() as i32).clamp(-32, 31));
    (scales, d)
}
