//! IQ5_KS: a row has an f32 scale d, then blocks of 256 weights: 8 bytes of odd scale and which
//! table, nibbles qs\[128\], fifth bits qh\[32\]; y = (d·ls)·table\[q\].

use super::iq4_ks::{odd_scale, pack_odd_scale};
use super::{nibble, row_blocks, row_f32};
use crate::codebooks::IQ5;
use crate::packed::{Codes, Layout, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, row_weights};
use crate::table_fit::{Levels, levels};

const BLOCK: usize = 168;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in blocks
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let (qs, qh) = (&block[8..136], &block[136..]);
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, half) = odd_scale(block[k]);
            let dl = d * scale;
            for (l, y) in out.iter_mut().enumerate() {
                let code = nibble(qs[32 * (k / 2) + l], k % 2) | (qh[l] >> k & 1) << 4;
                *y = dl * f32::from(IQ5[half][usize::from(code)]);
            }
        }
    }
}

static SCHEME: Scheme<Levels<32>, 2> = Scheme {
    tables: levels(&IQ5),
    trials: (5, 1.0),
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
            for (l, q) in codes.iter().enumerate() {
                block[8 + 32 * (k / 2) + l] |= (q & 15) << (4 * (k % 2));
                block[136 + l] |= (q >> 4) << k;
            }
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits5,
    values: &IQ5[0],
    shift: 2,
    bias: 128,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::RowF32,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::stacked(8, 32, 4, 0), Plane::stacked(136, 32, 1, 4)],
    head: super::iq4_ks::take_head,
    set_head: super::iq4_ks::put_head,
};
