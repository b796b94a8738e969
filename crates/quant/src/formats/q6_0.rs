//! Q6_0: 32 weights; f16 d, qh\[8\] with the two high bits of weights j, j+16, j+8 and j+24 in
//! byte j, 16 bytes with weight i in the low and i+16 in the high nibble; y = d·(n − 32).

use half::f16;

use super::f16_at;
use crate::block_32::{BLOCK_LEN, encode_blocks, nibbles, put_nibbles};
use crate::importance::mean_square;
use crate::linear_fit::LinearFit;

const BLOCK: usize = 26;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let blocks = bytes.chunks_exact(BLOCK);
    for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK_LEN)) {
        let d = f16_at(block, 0);
        for (i, (y, low)) in out.iter_mut().zip(nibbles(&block[10..])).enumerate() {
            let n = low | (block[2 + i % 8] >> high_bits(i) & 3) << 4;
            *y = d * (i32::from(n) - 32) as f32;
        }
    }
}

/// Where in its byte of qh weight `i` has its high bits.
fn high_bits(i: usize) -> usize {
    2 * (i / 16) + 4 * (i / 8 % 2)
}

/// Without an imatrix w = σ + |x|, with one w = q·√(σ² + x²), σ² the mean x² of the block and of
/// the row. Plain rounding, as in Q5_0, loses some four percent more.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let fit = |x: &[f32; BLOCK_LEN], w: &[f32; BLOCK_LEN], block: &mut [u8]| {
        let fit = LinearFit::search(x, w, 32.0);
        let codes = fit.codes.map(|q| (q + 32.0) as u8);
        block[..2].copy_from_slice(&f16::from_f32(fit.d).to_le_bytes());
        block[2..10].fill(0);
        for (i, n) in codes.iter().enumerate() {
            block[2 + i % 8] |= (n >> 4) << high_bits(i);
        }
        put_nibbles(&codes, &mut block[10..]);
    };
    let alone = |x: &[f32; BLOCK_LEN], block: &mut [u8]| {
        let sigma = mean_square(x).sqrt();
        fit(x, &x.map(|x| sigma + x.abs()), block);
    };
    encode_blocks(x, importance, out, BLOCK, alone, fit);
}
