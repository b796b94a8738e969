//! IQ1_M: 256 weights; low bytes of 32 grid indices, then for each index a nibble of three high
//! bits and the sign of the offset; four u16 of four 3-bit scales for 16 weights each, whose
//! top nibbles together are the f16 d.

use half::f16;

use super::iq1_s::DELTA;
use super::{nibble, u16_at};
use crate::grids::IQ1;
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 56;

/// y = d·(2·scale + 1) · (value ± ⅛).
pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let scales: [u16; 4] = std::array::from_fn(|i| u16_at(block, 48 + 2 * i));
        let d = (0..4).fold(0, |d, i| d | (scales[i] >> 12) << (4 * i));
        let d = f16::from_bits(d).to_f32();
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = scales[g / 8] >> (3 * (g / 2 % 4)) & 7;
            let scale = d * f32::from(2 * scale + 1);
            let high = nibble(block[32 + g / 2], g % 2);
            let delta = if high & 8 == 8 { -DELTA } else { DELTA };
            let index = usize::from(block[g]) | usize::from(high & 7) << 8;
            *out = IQ1[index].map(|value| scale * (f32::from(value) + delta));
        }
    }
}
