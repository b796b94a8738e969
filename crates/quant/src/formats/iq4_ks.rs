//! IQ4_KS: a row has an f32 scale d, then blocks of 256 weights: 8 bytes of odd scale and which
//! table, nibbles qs\[128\]; y = (d·ls)·table\[q\].

use super::{nibble, row_blocks, row_f32};
use crate::codebooks::IQ4;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, row_weights};
use crate::table_fit::{Levels, levels};

const BLOCK: usize = 136;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in blocks
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, half) = odd_scale(block[k]);
            let dl = d * scale;
            let qs = &block[8 + 16 * k..][..16];
            for (i, y) in out.iter_mut().enumerate() {
                *y = dl * f32::from(IQ4[half][usize::from(nibble(qs[i % 16], i / 16))]);
            }
        }
    }
}

/// An odd scale −127..=127 in the upper seven bits, the table in the lowest.
pub(super) fn odd_scale(byte: u8) -> (f32, usize) {
    (f32::from(byte & 254) - 127.0, usize::from(byte & 1))
}

/// The byte of [`odd_scale`].
pub(super) fn pack_odd_scale(scale: i32, shifted: bool) -> u8 {
    // Even: scales are odd and −127..=127.
    (scale + 127) as u8 | u8::from(shifted)
}

static SCHEME: Scheme<Levels<16>, 2> = Scheme {
    tables: levels(&IQ4),
    trials: (7, 1.0),
    scales: ScaleGrid::Odd(127),
    stretch: 1.0,
};

/// Without an imatrix w = x², with one w = q·√(σ² + x²); σ² = 2 · mean x² of 256.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    row_blocks(x, out, |x, out| {
        let w = row_weights(x, importance, 2.0, |_, x| x * x);
        let encoded = SCHEME.encode::<32>(x, &w);
        out[..4].copy_from_slice(&encoded.d.to_le_bytes());
        for (ib, codes) in encoded.codes.iter().enumerate() {
            let (block, k) = (&mut out[4 + BLOCK * (ib / 8)..][..BLOCK], ib % 8);
            block[k] = pack_odd_scale(encoded.scales[ib], encoded.shifted[ib]);
            for (j, byte) in block[8 + 16 * k..][..16].iter_mut().enumerate() {
                *byte = codes[j] | codes[j + 16] << 4;
            }
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits4,
    values: &IQ4[0],
    shift: 4,
    bias: 128,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::RowF32,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::halves(8)],
    head: take_head,
    set_head: put_head,
};

/// The scales of IQ4_KS, IQ4_KSS and IQ5_KS: a byte each, odd scale and flag.
#[inline]
pub(super) fn take_head(block: &[u8], parts: &mut Parts) {
    parts.flags = 0;
    for (k, ls) in parts.scales[..8].iter_mut().enumerate() {
        *ls = (i16::from(block[k] & 254) - 127) as i8;
        parts.flags |= u16::from(block[k] & 1) << k;
    }
}

pub(super) fn put_head(parts: &Parts, block: &mut [u8]) {
    for (k, ls) in parts.scales[..8].iter().enumerate() {
        block[k] = pack_odd_scale(i32::from(*ls), parts.flags >> k & 1 == 1);
    }
}
