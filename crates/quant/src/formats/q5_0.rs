//! Q5_0: 32 weights; f16 d, u32 with bit four of each code, 16 bytes with weight i in the low
//! and i+16 in the high nibble; y = d·(n − 16).

use half::f16;

use super::f16_at;
use crate::block_32::{BLOCK_LEN, encode_blocks, five_bits, put_five_bits, round_signed};
use crate::linear_fit::LinearFit;

const BLOCK: usize = 22;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let blocks = bytes.chunks_exact(BLOCK);
    for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK_LEN)) {
        let d = f16_at(block, 0);
        for (y, n) in out.iter_mut().zip(five_bits(block, 2)) {
            *y = d * (i32::from(n) - 16) as f32;
        }
    }
}

/// Without an imatrix d = m/−16 for the weight m of largest magnitude, which gets code 0.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let pack = |(d, codes), block: &mut [u8]| {
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        put_five_bits(&codes, block, 2);
    };
    encode_blocks(
        x,
        importance,
        out,
        BLOCK,
        |x, block| pack(round_signed(x, 16), block),
        |x, w, block| {
            let fit = LinearFit::search(x, w, 16.0);
            pack((fit.d, fit.codes.map(|q| (q + 16.0) as u8)), block);
        },
    );
}
