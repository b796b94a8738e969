//! IQ6_K: 256 weights; f16 d, u16 extra, i8 scales\[16\], low nibbles qs\[128\], high bits
//! qh\[64\]; y = (d·scale)·table\[q\].
//!
//! ik_llama.cpp's scalar decoder evaluates a cubic in place of the table, its kernels and its
//! quantiser use the table; so does Perigee.

use super::{f16_at, u16_at};
use crate::codebooks::IQ6;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 212;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let extra = u16_at(block, 2);
        let (scales, qs, qh) = (&block[4..20], &block[20..148], &block[148..212]);
        for (k, out) in out.chunks_exact_mut(16).enumerate() {
            let g = k / 2;
            let dl = d * f32::from(scales[k] as i8);
            let table = if extra >> k & 1 == 1 {
                &IQ6[64..]
            } else {
                &IQ6[..64]
            };
            let low = &qs[32 * (g / 2) + 16 * (k % 2)..][..16];
            let high = &qh[32 * (g / 4) + 16 * (k % 2)..][..16];
            for ((&low, &high), y) in low.iter().zip(high).zip(out) {
                let q = low >> (4 * (g % 2)) & 15 | (high >> (2 * (g % 4)) & 3) << 4;
                *y = dl * f32::from(table[usize::from(q)]);
            }
        }
    }
}
