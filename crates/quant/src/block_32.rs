//! Encoding rows of the types whose blocks are 32 weights, and the bit planes of such blocks.

use crate::formats::poison;
use crate::importance::{Magnitude, column_importance, mean_square};
use crate::linear_fit::extreme;

/// Weights of a block.
pub(crate) const BLOCK_LEN: usize = 32;

/// Encodes each 32 weights into a block of `block_bytes` whose scale is in its first two bytes:
/// with `round` where there is no imatrix, else with `fit`, which also gets the importances
/// q·√(σ² + x²), σ² the row's mean x².
pub(crate) fn encode_blocks(
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
    block_bytes: usize,
    round: impl Fn(&[f32; BLOCK_LEN], &mut [u8]),
    fit: impl Fn(&[f32; BLOCK_LEN], &[f32; BLOCK_LEN], &mut [u8]),
) {
    let sigma2 = mean_square(x);
    let (x, _) = x.as_chunks::<BLOCK_LEN>();
    for (i, (x, block)) in x.iter().zip(out.chunks_exact_mut(block_bytes)).enumerate() {
        match (Magnitude::of(x), importance) {
            (Magnitude::Unrepresentable, _) => poison(block, 0),
            (Magnitude::Ordinary, Some(importance)) => {
                let mut w: [f32; BLOCK_LEN] =
                    column_importance(&importance[BLOCK_LEN * i..][..BLOCK_LEN]);
                for (w, x) in w.iter_mut().zip(x) {
                    *w *= (sigma2 + x * x).sqrt();
                }
                fit(x, &w, block);
            }
            _ => round(x, block),
        }
    }
}

/// Codes for d = m/−`n`, where m is the weight of largest magnitude, plus `n`. Halves go up,
/// and codes use the scale before its rounding to f16, both as the reference encoders do.
pub(crate) fn round_signed(x: &[f32; BLOCK_LEN], n: u8) -> (f32, [u8; BLOCK_LEN]) {
    let shift = f32::from(n);
    let d = extreme(x) / -shift;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let codes = x.map(|x| ((x * inverse + (shift + 0.5)) as u8).min(2 * n - 1));
    (d, codes)
}

/// Codes 0..=`last` from the least weight to the largest, with the scale and that minimum.
/// Ties and precision are those of [`round_signed`].
pub(crate) fn round_from_minimum(x: &[f32; BLOCK_LEN], last: u8) -> (f32, f32, [u8; BLOCK_LEN]) {
    let pick = |better: fn(f32, f32) -> bool| {
        let rest = x[1..].iter();
        rest.fold(x[0], |m, &x| if better(x, m) { x } else { m })
    };
    let (min, max) = (pick(|x, m| x < m), pick(|x, m| x > m));
    let d = (max - min) / f32::from(last);
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let codes = x.map(|x| (((x - min) * inverse + 0.5) as u8).min(last));
    (d, min, codes)
}

/// The low nibbles, then the high nibbles.
pub(crate) fn nibbles(bytes: &[u8]) -> [u8; BLOCK_LEN] {
    let mut codes = [0; BLOCK_LEN];
    let (low, high) = codes.split_at_mut(BLOCK_LEN / 2);
    for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = byte & 15;
        *high = byte >> 4;
    }
    codes
}

/// Packs the low four bits of each code so that [`nibbles`] finds them.
pub(crate) fn put_nibbles(codes: &[u8; BLOCK_LEN], bytes: &mut [u8]) {
    for (j, byte) in bytes.iter_mut().enumerate() {
        *byte = codes[j] & 15 | codes[j + BLOCK_LEN / 2] << 4;
    }
}

/// Nibbles at byte `high + 4`, and at byte `high` a u32 with bit four of each code.
pub(crate) fn five_bits(block: &[u8], high: usize) -> [u8; BLOCK_LEN] {
    let mut codes = nibbles(&block[high + 4..high + 20]);
    for (j, code) in codes.iter_mut().enumerate() {
        *code |= (block[high + j / 8] >> (j % 8) & 1) << 4;
    }
    codes
}

/// Packs codes so that [`five_bits`] finds them.
pub(crate) fn put_five_bits(codes: &[u8; BLOCK_LEN], block: &mut [u8], high: usize) {
    let bits = (0..BLOCK_LEN).fold(0, |bits, j| bits | u32::from(codes[j] >> 4) << j);
    block[high..high + 4].copy_from_slice(&bits.to_le_bytes());
    put_nibbles(codes, &mut block[high + 4..high + 20]);
}
