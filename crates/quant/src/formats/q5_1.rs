//! Q5_1: 32 weights; f16 d, f16 m, u32 with bit four of each code, 16 bytes with weight i in
//! the low and i+16 in the high nibble; y = d·n + m.

use half::f16;

use super::f16_at;
use crate::affine_fit::AffineFit;
use crate::block_32::{BLOCK_LEN, encode_blocks, five_bits, put_five_bits, round_from_minimum};

const BLOCK: usize = 24;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let blocks = bytes.chunks_exact(BLOCK);
    for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK_LEN)) {
        let (d, m) = (f16_at(block, 0), f16_at(block, 2));
        for (y, n) in out.iter_mut().zip(five_bits(block, 4)) {
            *y = d * f32::from(n) + m;
        }
    }
}

/// Without an imatrix codes run from the least weight to the largest.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let pack = |(d, m, codes), block: &mut [u8]| {
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        block[2..4].copy_from_slice(&f16::from_f32(m).to_le_bytes());
        put_five_bits(&codes, block, 4);
    };
    encode_blocks(
        x,
        importance,
        out,
        BLOCK,
        |x, block| pack(round_from_minimum(x, 31), block),
        |x, w, block| {
            let fit = AffineFit::search(x, w, 31.0, f32::INFINITY);
            pack((fit.scale, fit.offset, fit.codes.map(|q| q as u8)), block);
        },
    );
}
