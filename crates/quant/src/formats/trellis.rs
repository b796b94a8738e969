//! IQ1_KT to IQ4_KT: a row has an f32 scale d, then blocks of 256 weights whose codes seed a
//! generator of nearly normal integers, so that a few bits choose among sequences of values.
//!
//! From a seed x₀ the generator multiplies by a constant modulo 2³²; a value is the sum of the
//! low six bits of the four bytes, less 126.

use super::{nibble, row_f32, u16_at, u32_at};
use crate::codebooks::IQ4;
use crate::super_block::SUPER_BLOCK;

const MULTIPLIER: u32 = 0xCBAC_1FED;
/// Added to a code to make a seed.
const OFFSET: u32 = 4096;

/// The first `N` values after `seed`, each −126..=126.
fn sequence<const N: usize>(seed: u32) -> [i16; N] {
    let mut x = seed;
    std::array::from_fn(|_| {
        x = x.wrapping_mul(MULTIPLIER);
        let bytes = (x & 0x3F3F_3F3F).to_le_bytes();
        bytes.iter().map(|&byte| i16::from(byte)).sum::<i16>() - 126
    })
}

/// Scale nibbles as the first table of IQ4_K has them.
fn table_scale(code: u8) -> f32 {
    f32::from(IQ4[0][usize::from(code)])
}

fn super_blocks<'a>(
    blocks: &'a [u8],
    out: &'a mut [f32],
    block_bytes: usize,
) -> impl Iterator<Item = (&'a [u8], &'a mut [f32])> {
    blocks
        .chunks_exact(block_bytes)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
}

/// IQ1_KT: for every 32 weights a byte of scale nibble and four top bits of codes; then 32 low
/// bytes and 32 nibbles: codes of 13 bits for 8 weights each.
pub(crate) fn dequantize_iq1_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 56) {
        let (heads, low, high) = (&block[..8], &block[8..40], &block[40..56]);
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (ib, l) = (g / 4, g % 4);
            let dl = d * table_scale(heads[ib] & 15);
            let code = u32::from(low[g])
                | u32::from(nibble(high[g % 16], g / 16)) << 8
                | u32::from(heads[ib] >> (4 + l) & 1) << 12;
            *out = sequence(code + OFFSET).map(|v| dl * f32::from(v));
        }
    }
}

/// IQ2_KT: 8 scale nibbles, then codes of 16 bits for 8 weights each.
pub(crate) fn dequantize_iq2_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 68) {
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let ib = g / 4;
            let dl = d * table_scale(nibble(block[ib % 4], ib / 4));
            let code = u32::from(u16_at(block, 4 + 2 * g));
            *out = sequence(code + OFFSET).map(|v| dl * f32::from(v));
        }
    }
}

/// IQ3_KT: 8 scale nibbles, codes of 16 bits for 8 magnitudes each, 32 bytes of signs.
pub(crate) fn dequantize_iq3_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 100) {
        let signs = &block[68..];
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (ib, l) = (g / 4, g % 4);
            let dl = d * f32::from(nibble(block[ib % 4], ib / 4));
            let code = u32::from(u16_at(block, 4 + 2 * g));
            let values: [i16; 8] = sequence(code + OFFSET);
            for (j, (y, v)) in out.iter_mut().zip(values).enumerate() {
                let magnitude = dl * f32::from(v.abs());
                let negative = signs[8 * l + j] >> ib & 1 == 1;
                *y = if negative { -magnitude } else { magnitude };
            }
        }
    }
}

/// IQ4_KT: for every 32 weights a u32 of offset bit, scale of 7 bits and eight times three high
/// bits; then 64 low bytes and 64 nibbles: codes of 15 bits for 4 weights each.
pub(crate) fn dequantize_iq4_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 128) {
        let (low, high) = (&block[32..96], &block[96..]);
        for (g, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let head = u32_at(block, 4 * (g / 8));
            let offset = OFFSET + 32768 * (head & 1);
            let dl = d * (((head & 255) >> 1) as f32 - 64.0);
            let code = u32::from(low[g])
                | u32::from(nibble(high[g % 32], g / 32)) << 8
                | (head >> (8 + 3 * (g % 8)) & 7) << 12;
            *out = sequence(code + offset).map(|v| dl * f32::from(v));
        }
    }
}
