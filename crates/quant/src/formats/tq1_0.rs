//! TQ1_0: 256 ternary weights, five to a byte: 48 bytes of 5, 4 bytes of 4, f16 d.
//!
//! A byte is the base-3 fraction of its trits scaled to 256: multiplying by 3 brings the next
//! trit above the point.

use super::f16_at;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 54;

/// y = d·(trit − 1).
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 52);
        for (i, y) in out.iter_mut().enumerate() {
            let (byte, trit) = match i {
                0..160 => (i % 32, i / 32),
                160..240 => (32 + i % 16, (i - 160) / 16),
                _ => (48 + i % 4, (i - 240) / 4),
            };
            let fraction = block[byte].wrapping_mul([1, 3, 9, 27, 81][trit]);
            let trit = (u16::from(fraction) * 3) >> 8;
            *y = d * (f32::from(trit) - 1.0);
        }
    }
}
