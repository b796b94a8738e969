//! IQ3_K: 256 weights; f16 d, u16 extra, u16 sign bits of 16 odd scales, their magnitudes in
//! nibbles, low two bits qs\[64\], third bits qh\[32\]; y = (d·ls)·table\[q\].

use super::{f16_at, super_blocks, u16_at};
use crate::codebooks::IQ3;
use crate::importance::mean_square;
use crate::super_block::{N_SUB_BLOCKS, SUPER_BLOCK, Scheme, weights};
use crate::table_fit::levels;

const BLOCK: usize = 110;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let (extra, signs) = (u16_at(block, 2), u16_at(block, 4));
        let (scales, qs, qh) = (&block[6..14], &block[14..78], &block[78..110]);
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let g = k / 2;
            let magnitude = 2 * i32::from(scales[g] >> (4 * (k % 2)) & 15) + 1;
            let ls = if signs >> k & 1 == 1 {
                -magnitude
            } else {
                magnitude
            };
            let dl = d * ls as f32;
            let low = qs.as_chunks::<16>().0[2 * (g / 4) + k % 2];
            let high = qh.as_chunks::<16>().0[k % 2];
            let mut codes = [0; 16];
            for j in 0..16 {
                codes[j] = low[j] >> (2 * (g % 4)) & 3 | (high[j] >> g & 1) << 2;
            }
            let values = IQ3[usize::from(extra >> k & 1)].map(|value| dl * f32::from(value));
            for (y, code) in out.iter_mut().zip(codes) {
                *y = values[usize::from(code)];
            }
        }
    }
}

static SCHEME: Scheme<8> = Scheme {
    table: &IQ3,
    levels: levels(&IQ3),
    trials: (3, 2.0),
    round_scales,
    scales: (-31, 31, 2),
    // Least squares shrinks what it fits by its relative squared error, two percent at this
    // width, and every product with it; half of that is given back, as ik_llama.cpp does.
    stretch: 1.01,
};

/// Without an imatrix w = σ²/4 + x², with one w = q·√(σ² + x²); σ² = 1.5 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let sigma2 = 1.5 * mean_square(x);
        let w = weights(x, importance, sigma2, |x| 0.25 * sigma2 + x * x);
        let encoded = SCHEME.encode(x, &w);
        block[..2].copy_from_slice(&encoded.d.to_le_bytes());
        block[2..4].copy_from_slice(&encoded.shifted.to_le_bytes());
        let mut signs = 0_u16;
        for (k, &ls) in encoded.scales.iter().enumerate() {
            signs |= u16::from(ls < 0) << k;
            // At most 15: magnitudes are odd and at most 31.
            block[6 + k / 2] |= (ls.unsigned_abs() as u8 / 2) << (4 * (k % 2));
        }
        block[4..6].copy_from_slice(&signs.to_le_bytes());
        for (i, &q) in encoded.codes.iter().enumerate() {
            let (g, l) = (i / 32, i % 32);
            block[14 + 32 * (g / 4) + l] |= (q & 3) << (2 * (g % 4));
            block[78 + l] |= (q >> 2) << g;
        }
    });
}

/// Odd scales −31..31.
fn round_scales(fitted: &[f32; N_SUB_BLOCKS]) -> ([i32; N_SUB_BLOCKS], f32) {
    let d = fitted.iter().fold(0.0_f32, |m, d| m.max(d.abs())) / 31.0;
    let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
    let scales = fitted.map(|fitted| {
        let half = (0.5 * (fitted.abs() * inverse - 1.0)).round();
        let magnitude = 2 * (half as i32).clamp(0, 15) + 1;
        if fitted < 0.0 { -magnitude } else { magnitude }
    });
    (scales, d)
}
