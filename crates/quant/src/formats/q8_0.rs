//! Q8_0: 32 weights; f16 d, i8 q\[32\]; y = d·q.

use half::f16;

use super::{f16_at, poison, u16_at};
use crate::importance::Magnitude;
use crate::linear_fit::extreme;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales, linear};

const BLOCK: usize = 34;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(32)) {
        let d = f16_at(block, 0);
        for (&q, y) in block[2..].iter().zip(out) {
            *y = d * f32::from(q as i8);
        }
    }
}

/// d = max|x|/127; codes use the unrounded d and round halves away from zero.
pub(crate) fn quantize(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
    for (x, block) in x.chunks_exact(32).zip(out.chunks_exact_mut(BLOCK)) {
        if Magnitude::of(x) == Magnitude::Unrepresentable {
            poison(block, 0);
            continue;
        }
        let d = extreme(x).abs() / 127.0;
        let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        for (q, x) in block[2..].iter_mut().zip(x) {
            *q = (x * inverse).round() as i8 as u8;
        }
    }
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits8,
    values: &linear::<256>(0),
    shift: 0,
    bias: 128,
    block_len: 32,
    sub_len: 32,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::None,
    planes: &[Plane::stacked(2, 0, 8, 0)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 0));
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[..2].copy_from_slice(&(parts.d as u16).to_le_bytes());
}
