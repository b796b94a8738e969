//! Q4_0: 32 weights; f16 d, 16 bytes with weight i in the low and i+16 in the high nibble;
//! y = d·(n − 8).

use half::f16;

use super::{f16_at, poison, u16_at};
use crate::QuantKind;
use crate::importance::{Magnitude, column_importance, mean_square};
use crate::linear_fit::{LinearFit, extreme};
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales, linear};

/// Weights of a block.
const LEN: usize = 32;
/// Bytes of a block.
const BLOCK: usize = 18;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(LEN)) {
        let d = f16_at(block, 0);
        let (low, high) = out.split_at_mut(16);
        for ((&byte, low), high) in block[2..].iter().zip(low).zip(high) {
            *low = d * (i32::from(byte & 15) - 8) as f32;
            *high = d * (i32::from(byte >> 4) - 8) as f32;
        }
    }
}

/// Without an imatrix d = m/−8 for the weight m of largest magnitude, which gets code 0; with
/// one the scale and codes of least error weighted by q·√(σ² + x²), σ² the row's mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let sigma2 = mean_square(x);
    for (i, (x, block)) in blocks(x, out).enumerate() {
        match (Magnitude::of(x), importance) {
            (Magnitude::Unrepresentable, _) => poison(block, 0),
            (Magnitude::Ordinary, Some(importance)) => {
                fit_block(x, &importance[LEN * i..][..LEN], sigma2, block);
            }
            _ => round_block(x, extreme(x) / -8.0, block),
        }
    }
}

/// Encodes one row as Q4_0 with d = max|x|/7, so that codes are the integers −7..=7 plus 8 and
/// weights that lie on such a grid, as those of int4-trained checkpoints do, keep their codes.
///
/// `x`: weights, a multiple of 32; `out`: 18 bytes for every 32 of them. A block with a weight
/// that is not finite decodes to NaN.
///
/// # Panics
/// If `out.len()` is not the size of a Q4_0 row of `x.len()` weights.
pub fn quantize_q4_0_symmetric(x: &[f32], out: &mut [u8]) {
    let expected = QuantKind::Q4_0.row_bytes(x.len());
    assert_eq!(Some(out.len()), expected, "bytes of a Q4_0 row");
    for (x, block) in blocks(x, out) {
        match Magnitude::of(x) {
            Magnitude::Unrepresentable => poison(block, 0),
            _ => round_block(x, extreme(x).abs() / 7.0, block),
        }
    }
}

fn blocks<'a>(
    x: &'a [f32],
    out: &'a mut [u8],
) -> impl Iterator<Item = (&'a [f32; LEN], &'a mut [u8])> {
    x.as_chunks::<LEN>()
        .0
        .iter()
        .zip(out.chunks_exact_mut(BLOCK))
}

/// Rounds to the nearest code for `d`; halves go up, and codes use the scale before its
/// rounding to f16, both as the reference encoder does.
fn round_block(x: &[f32; LEN], d: f32, block: &mut [u8]) {
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    pack(d, &x.map(|x| ((x * inverse + 8.5) as u8).min(15)), block);
}

fn fit_block(x: &[f32; LEN], importance: &[f32], sigma2: f32, block: &mut [u8]) {
    let mut w: [f32; LEN] = column_importance(importance);
    for (w, x) in w.iter_mut().zip(x) {
        *w *= (sigma2 + x * x).sqrt();
    }
    let fit = LinearFit::search(x, &w, 8.0);
    pack(fit.d, &fit.codes.map(|q| (q + 8.0) as u8), block);
}

fn pack(d: f32, codes: &[u8; LEN], block: &mut [u8]) {
    block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (j, byte) in block[2..].iter_mut().enumerate() {
        *byte = codes[j] | codes[j + 16] << 4;
    }
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits4,
    values: &linear::<16>(-8),
    shift: 0,
    bias: 8,
    block_len: 32,
    sub_len: 32,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::None,
    planes: &[Plane::halves(2)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
}
