//! IQ5_K: 256 weights; f16 d, u16 extra, scales of 6 bits as in IQ4_K, nibbles qs\[128\], fifth
//! bits qh\[32\]; y = (d·ls)·table\[q\].

use super::iq4_k::{head_scale, pack_head};
use super::{f16_at, nibble, super_blocks, u16_at};
use crate::codebooks::IQ5;
use crate::importance::mean_square;
use crate::packed::{Codes, Layout, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, weights};
use crate::table_fit::{Levels, levels};

const BLOCK: usize = 176;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let d = f16_at(block, 0);
        let extra = u16_at(block, 2);
        let (qs, qh) = (&block[16..144], &block[144..176]);
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let g = k / 2;
            let dl = d * head_scale(block, k);
            let table = &IQ5[usize::from(extra >> k & 1)];
            for (j, y) in out.iter_mut().enumerate() {
                let l = 16 * (k % 2) + j;
                let code = nibble(qs[32 * (g / 2) + l], g % 2) | (qh[l] >> g & 1) << 4;
                *y = dl * f32::from(table[usize::from(code)]);
            }
        }
    }
}

static SCHEME: Scheme<Levels<32>, 2> = Scheme {
    tables: levels(&IQ5),
    trials: (5, 1.0),
    scales: ScaleGrid::Signed(-32, 31),
    stretch: 1.0,
};

/// Without an imatrix w = σ²/4 + x², with one w = q·√(σ² + x²); σ² = 2 · mean x².
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    super_blocks(x, importance, out, BLOCK, 0, |x, importance, block| {
        let sigma2 = 2.0 * mean_square(x);
        let w = weights(x, importance, sigma2, |x| 0.25 * sigma2 + x * x);
        let encoded = SCHEME.encode::<16>(x, &w);
        pack_head(&encoded, block);
        for (i, &q) in encoded.codes.as_flattened().iter().enumerate() {
            let (g, l) = (i / 32, i % 32);
            block[16 + 32 * (g / 2) + l] |= (q & 15) << (4 * (g % 2));
            block[144 + l] |= (q >> 4) << g;
        }
    });
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits5,
    values: &IQ5[0],
    shift: 2,
    bias: 128,
    block_len: SUPER_BLOCK,
    sub_len: 16,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[Plane::stacked(16, 32, 4, 0), Plane::stacked(144, 32, 1, 4)],
    head: super::iq4_k::take_head,
    set_head: super::iq4_k::put_head,
};
