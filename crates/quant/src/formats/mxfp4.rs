//! MXFP4: 32 weights; an exponent, 16 bytes with weight i in the low and i+16 in the high
//! nibble; y = 2^(e−128)·table\[n\], the table being twice the values of E2M1.

use super::nibble;
use crate::codebooks::E2M1;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};

const LEN: usize = 32;
const BLOCK: usize = 17;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(LEN)) {
        let d = half_power(block[0]);
        for (i, y) in out.iter_mut().enumerate() {
            *y = d * f32::from(E2M1[usize::from(nibble(block[1 + i % 16], i / 16))]);
        }
    }
}

/// 2^(e−128), exact: the two smallest are subnormal.
#[inline]
pub(crate) fn half_power(e: u8) -> f32 {
    f32::from_bits(match e {
        0 | 1 => 0x0020_0000 << e,
        _ => (u32::from(e) - 1) << 23,
    })
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits4,
    values: &E2M1,
    shift: 0,
    bias: 12,
    block_len: 32,
    sub_len: 32,
    scale: Scale::Exponent,
    factor: 1.0,
    sub_scales: SubScales::None,
    planes: &[Plane::halves(1)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(block[0]);
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[0] = parts.d as u8;
}
