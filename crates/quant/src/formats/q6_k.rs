//! Q6_K: 256 weights; low nibbles ql\[128\], high bits qh\[64\], i8 scales\[16\], f16 d;
//! y = (d·scale)·(q − 32).

use half::f16;

use super::{f16_at, super_blocks, u16_at};
use crate::importance::column_importance;
use crate::linear_fit::{LinearFit, extreme, round};
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales, linear};
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 210;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 208);
        for (h, out) in out.chunks_exact_mut(128).enumerate() {
            let (ql, qh) = (
                &block[64 * h..64 * h + 64],
                &block[128 + 32 * h..160 + 32 * h],
            );
            let scales = &block[192 + 8 * h..200 + 8 * h];
            for (g, out) in out.chunks_exact_mut(32).enumerate() {
                let low = &ql[32 * (g % 2)..32 * (g % 2) + 32];
                for (half, out) in out.chunks_exact_mut(16).enumerate() {
                    let dl = d * f32::from(scales[2 * g + half] as i8);
                    for (j, y) in out.iter_mut().enumerate() {
                        let l = 16 * half + j;
                        let q = low[l] >> (4 * (g / 2)) & 15 | (qh[l] >> (2 * g) & 3) << 4;
                        *y = dl * (i32::from(q) - 32) as f32;
                    }
                }
            }
        }
    }
}

/// Without an imatrix the importance of a weight is its square.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 208, |x, importance, block| {
        let w = match importance {
            Some(importance) => column_importance(importance),
            None => x.map(|x| x * x),
        };
        let (x, w) = (x.as_chunks::<16>().0, w.as_chunks::<16>().0);
        let mut fitted = [0.0; 16];
        for ((d, x), w) in fitted.iter_mut().zip(x).zip(w) {
            *d = LinearFit::search(x, w, 32.0).d;
        }
        // The sub-block of largest magnitude has −128.
        let d = extreme(&fitted) / -128.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let d = f16::from_f32(d);
        block[208..].copy_from_slice(&d.to_le_bytes());
        for (k, x) in x.iter().enumerate() {
            let scale = (fitted[k] * inverse).round() as i8;
            block[192 + k] = scale as u8;
            let dl = d.to_f32() * f32::from(scale);
            let inverse = if dl == 0.0 { 0.0 } else { 1.0 / dl };
            for (j, x) in x.iter().enumerate() {
                let q = (round(x * inverse).clamp(-32.0, 31.0) + 32.0) as u8;
                let (h, g, l) = (k / 8, k / 2 % 4, 16 * (k % 2) + j);
                block[64 * h + 32 * (g % 2) + l] |= (q & 15) << (4 * (g / 2));
                block[128 + 32 * h + l] |= (q >> 4) << (2 * g);
            }
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits6,
    values: &linear::<64>(-32),
    shift: 0,
    bias: 32,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[LOW, Plane::stacked(128, 32, 2, 4)],
    head: take_head,
    set_head: put_head,
};

/// In each half of the block: 64 bytes whose low nibbles are chunks 0 and 1, and whose high
/// ones are chunks 2 and 3.
const LOW: Plane = Plane::Bytes {
    places: [
        (0, 0),
        (32, 0),
        (0, 4),
        (32, 4),
        (64, 0),
        (96, 0),
        (64, 4),
        (96, 4),
    ],
    bits: 4,
    to: 0,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    parts.d = u32::from(u16_at(block, 208));
    for (ls, byte) in parts.scales.iter_mut().zip(&block[192..208]) {
        *ls = *byte as i8;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    block[192..208].copy_from_slice(&parts.scales.map(|ls| ls as u8));
    block[208..].copy_from_slice(&(parts.d as u16).to_le_bytes());
}
