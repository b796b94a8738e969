//! Q4_0: 32 weights; f16 d, 16 bytes with weight i in the low and i+16 in the high nibble;
//! y = d·(n − 8).

use super::f16_at;

const BLOCK: usize = 18;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(32)) {
        let d = f16_at(block, 0);
        let (low, high) = out.split_at_mut(16);
        for ((&byte, low), high) in block[2..].iter().zip(low).zip(high) {
            *low = d * (i32::from(byte & 15) - 8) as f32;
            *high = d * (i32::from(byte >> 4) - 8) as f32;
        }
    }
}

/// d = m/−8 for the weight m of largest magnitude, which gets code 0.
pub(crate) fn quantize(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
    for (x, block) in x.chunks_exact(32).zip(out.chunks_exact_mut(BLOCK)) {
        let extreme = x.iter().fold(0.0_f32, |m, &x| if x.abs() > m.abs() { x } else { m });
        encode_block(x, extreme / -8.0, block);
    }
}

fn encode_block(x: &[f32], d: f32, block: &mut [u8]) {
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    block[..2].copy_from_slice(&half::f16::from_f32(d).to_le_bytes());
    let code = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    for (j, byte) in block[2..].iter_mut().enumerate() {
        *byte = code(x[j]) | code(x[j + 16]) << 4;
    }
}
