//! IQ2_KS: a row has an f16 scale d, then blocks of 256 weights: u16 extra (low byte: which
//! table, high byte: fifth bits of scales), scales of 5 bits for 32 weights each, codes of 2
//! bits qs\[64\]; y = (d·ls)·table\[q\].

use super::{nibble, row_blocks, row_f16, u16_at};
use crate::codebooks::IQ2;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, row_weights};
use crate::table_fit::{Levels, levels};

const BLOCK: usize = 70;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f16(bytes);
    for (block, out) in blocks
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let extra = u16_at(block, 0);
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = nibble(block[2 + k / 2], k % 2) | ((extra >> (8 + k) & 1) << 4) as u8;
            let dl = d * (f32::from(scale) - 16.0);
            let qs = &block[6 + 32 * (k / 4)..][..32];
            let table = &IQ2[usize::from(extra >> k & 1)];
            for (y, q) in out.iter_mut().zip(qs) {
                *y = dl * f32::from(table[usize::from(q >> (2 * (k % 4)) & 3)]);
            }
        }
    }
}

static SCHEME: Scheme<Levels<4>, 2> = Scheme {
    tables: levels(&IQ2),
    trials: (15, 1.5),
    scales: ScaleGrid::Signed(-16, 15),
    stretch: 1.0,
};

/// Without an imatrix w = σ²/4 + x², with one w = q·√(σ² + x²); σ² = 1.5 · mean x² of 256.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    row_blocks(x, out, |x, out| {
        let w = row_weights(x, importance, 1.5, |sigma2, x| 0.25 * sigma2 + x * x);
        let encoded = SCHEME.encode::<32>(x, &w);
        out[..2].copy_from_slice(&encoded.d_f16());
        for (ib, codes) in encoded.codes.iter().enumerate() {
            let (block, k) = (&mut out[2 + BLOCK * (ib / 8)..][..BLOCK], ib % 8);
            let scale = (encoded.scales[ib] + 16) as u8;
            block[0] |= u8::from(encoded.shifted[ib]) << k;
            block[1] |= (scale >> 4) << k;
            block[2 + k / 2] |= (scale & 15) << (4 * (k % 2));
            for (byte, q) in block[6 + 32 * (k / 4)..].iter_mut().zip(codes) {
                *byte |= q << (2 * (k % 4));
            }
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits2,
    values: &IQ2[0],
    shift: 5,
    bias: 32,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::RowF16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::stacked(6, 32, 2, 0)],
    head: take_head,
    set_head: put_head,
};

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    let extra = u16_at(block, 0);
    parts.flags = extra & 255;
    for (k, ls) in parts.scales[..8].iter_mut().enumerate() {
        let scale = nibble(block[2 + k / 2], k % 2) | ((extra >> (8 + k) & 1) << 4) as u8;
        *ls = scale as i8 - 16;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    let mut extra = parts.flags;
    for (k, ls) in parts.scales[..8].iter().enumerate() {
        let scale = (ls + 16) as u8;
        block[2 + k / 2] |= (scale & 15) << (4 * (k % 2));
        extra |= u16::from(scale >> 4) << (8 + k);
    }
    block[..2].copy_from_slice(&extra.to_le_bytes());
}
