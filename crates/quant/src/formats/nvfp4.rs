//! NVFP4: 64 weights; a scale for each 16, unsigned floats of four exponent and three fraction
//! bits, then 8 bytes for each 16 with weight i in the low and i+8 in the high nibble;
//! y = scale·table\[n\], the table being twice the values of E2M1.

use super::nibble;
use crate::codebooks::E2M1;

const LEN: usize = 64;
const BLOCK: usize = 36;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(LEN)) {
        let (scales, qs) = block.split_at(4);
        for (s, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let d = half_e4m3(scales[s]);
            for (i, y) in out.iter_mut().enumerate() {
                *y = d * f32::from(E2M1[usize::from(nibble(qs[8 * s + i % 8], i / 8))]);
            }
        }
    }
}

/// Half of an unsigned E4M3 float, exponent bias 7; the two codes for zero and for NaN are zero.
fn half_e4m3(byte: u8) -> f32 {
    if matches!(byte, 0 | 0x7F) {
        return 0.0;
    }
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    match exponent {
        0 => fraction * 2.0_f32.powi(-10),
        _ => (8.0 + fraction) * 2.0_f32.powi(exponent - 11),
    }
}
