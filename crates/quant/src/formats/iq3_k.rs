//! IQ3_K: 256 weights; f16 d, u16 extra, u16 sign bits of 16 odd scales, their magnitudes in
//! nibbles, low two bits qs\[64\], third bits qh\[32\]; y = (d·ls)·table\[q\].

use super::{f16_at, nibble, super_blocks, u16_at};
use crate::codebooks::IQ3;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, weights};
use crate::table_fit::{Levels, levels};

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

static SCHEME: Scheme<Levels<8>, 2> = Scheme {
    tables: levels(&IQ3),
    trials: (3, 2.0),
    scales: ScaleGrid::Odd(31),
    // Least squares shrinks what it fits by its relative squared error, two percent at this
    // width, and every product with it; half of that is given back, as ik_llama.cpp does.
    stretch: 1.01,
};

/// Without an imatrix w = σ²/4 + x², with one w = q·√(σ² + x²); σ² = 1.5 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let sigma2 = 1.5 * mean_square(x);
        let w = weights(x, importance, sigma2, |x| 0.25 * sigma2 + x * x);
        let encoded = SCHEME.encode::<16>(x, &w);
        block[..2].copy_from_slice(&encoded.d_f16());
        block[2..4].copy_from_slice(&encoded.shifted_bits().to_le_bytes());
        let mut signs = 0_u16;
        for (k, &ls) in encoded.scales.iter().enumerate() {
            signs |= u16::from(ls < 0) << k;
            // At most 15: magnitudes are odd and at most 31.
            block[6 + k / 2] |= (ls.unsigned_abs() as u8 / 2) << (4 * (k % 2));
        }
        block[4..6].copy_from_slice(&signs.to_le_bytes());
        for (i, &q) in encoded.codes.as_flattened().iter().enumerate() {
            let (g, l) = (i / 32, i % 32);
            block[14 + 32 * (g / 4) + l] |= (q & 3) << (2 * (g % 4));
            block[78 + l] |= (q >> 2) << g;
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits3,
    values: &IQ3[0],
    shift: 4,
    bias: 64,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::stacked(14, 32, 2, 0), Plane::stacked(78, 32, 1, 2)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
    parts.flags = u16_at(block, 2);
    let signs = u16_at(block, 4);
    for (k, ls) in parts.scales.iter_mut().enumerate() {
        let magnitude = 2 * nibble(block[6 + k / 2], k % 2) as i8 + 1;
        let negative = -((signs >> k & 1) as i8);
        *ls = (magnitude ^ negative) - negative;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
    block[2..4].copy_from_slice(&parts.flags.to_le_bytes());
    let mut signs = 0;
    for (k, ls) in parts.scales.iter().enumerate() {
        signs |= u16::from(*ls < 0) << k;
        block[6 + k / 2] |= (ls.unsigned_abs() / 2) << (4 * (k % 2));
    }
    block[4..6].copy_from_slice(&signs.to_le_bytes());
}
