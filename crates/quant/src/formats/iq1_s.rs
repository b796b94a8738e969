//! IQ1_S: 256 weights; f16 d, low bytes of 32 grid indices, then for every 32 weights a u16 of
//! four times three high bits, a scale of 3 bits and the sign of the offset.

use super::{f16_at, u16_at};
use crate::grids::IQ1;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 50;
/// What every ternary value of IQ1_S and IQ1_M is off the integer, either way.
pub(super) const DELTA: f32 = 0.125;

/// y = d·(2·scale + 1) · (value ± ⅛).
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let high = u16_at(block, 34 + 2 * (g / 4));
            let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
            let delta = if high >> 15 == 1 { -DELTA } else { DELTA };
            let index = usize::from(block[2 + g]) | usize::from(high >> (3 * (g % 4)) & 7) << 8;
            *out = IQ1[index].map(|value| scale * (f32::from(value) + delta));
        }
    }
}
