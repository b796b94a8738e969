//! IQ2_KL: a row has an f16 scale d, then blocks of 256 weights: high bits and low nibbles of
//! scales of 6 bits for 32 weights each, then for every two neighbours a code of 5 bits, low
//! nibbles qs\[64\] and fifth bits qh\[16\]; y = (d·ls)·pair\[code\].

use super::{nibble, row_blocks, row_f16, u16_at};
use crate::codebooks::IQ2_PAIRS;
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::super_block::{SUPER_BLOCK, ScaleGrid, Scheme, row_weights};
use crate::table_fit::{Alphabet, sums_of};

const BLOCK: usize = 86;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f16(bytes);
    for (block, out) in blocks
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        let high = u16_at(block, 0);
        let (qs, qh) = (&block[6..70], &block[70..]);
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = nibble(block[2 + k % 4], k / 4) | ((high >> (2 * k) & 3) << 4) as u8;
            let dl = d * (f32::from(scale) - 32.0);
            for (j, out) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let code = nibble(qs[16 * (k / 2) + j], k % 2) | (qh[j] >> k & 1) << 4;
                *out = IQ2_PAIRS[usize::from(code)].map(|value| dl * f32::from(value));
            }
        }
    }
}

/// The 32 pairs, coordinate by coordinate.
struct Pairs {
    even: [f32; 32],
    odd: [f32; 32],
}

impl Pairs {
    const fn new() -> Self {
        let (mut even, mut odd) = ([0.0; 32], [0.0; 32]);
        let mut i = 0;
        while i < 32 {
            even[i] = IQ2_PAIRS[i][0] as f32;
            odd[i] = IQ2_PAIRS[i][1] as f32;
            i += 1;
        }
        Self { even, odd }
    }

    /// The pair of least weighted squared distance.
    fn nearest(&self, x: [f32; 2], w: [f32; 2]) -> u8 {
        let mut errors = [0.0_f32; 32];
        for (i, error) in errors.iter_mut().enumerate() {
            let (even, odd) = (x[0] - self.even[i], x[1] - self.odd[i]);
            *error = w[0] * even * even + w[1] * odd * odd;
        }
        let mut least = [f32::INFINITY; 8];
        for (i, error) in errors.iter().enumerate() {
            least[i % 8] = least[i % 8].min(*error);
        }
        let least = least.iter().fold(f32::INFINITY, |m, &error| m.min(error));
        errors.iter().position(|&error| error <= least).unwrap_or(0) as u8
    }
}

impl Alphabet for Pairs {
    fn first(&self) -> f32 {
        self.even[0]
    }

    /// Both weights of a pair get its code.
    fn codes<const S: usize>(&self, x: &[f32; S], w: &[f32; S], inverse: f32) -> [u8; S] {
        let mut codes = [0; S];
        let (pairs, _) = codes.as_chunks_mut::<2>();
        for ((codes, x), w) in pairs
            .iter_mut()
            .zip(x.as_chunks::<2>().0)
            .zip(w.as_chunks().0)
        {
            *codes = [self.nearest(x.map(|x| x * inverse), *w); 2];
        }
        codes
    }

    fn value(&self, code: u8, j: usize) -> i32 {
        i32::from(IQ2_PAIRS[usize::from(code)][j % 2])
    }

    fn sums<const S: usize>(&self, x: &[f32; S], w: &[f32; S], inverse: f32) -> (f32, f32) {
        let codes = self.codes(x, w, inverse);
        let values = std::array::from_fn(|j| self.value(codes[j], j) as f32);
        sums_of(&values, x, w)
    }
}

static SCHEME: Scheme<Pairs, 1> = Scheme {
    tables: [Pairs::new()],
    trials: (5, 1.0),
    scales: ScaleGrid::Signed(-32, 31),
    stretch: 1.0,
};

/// Without an imatrix w = σ/4 + |x|, with one w = q·√(σ² + x²); σ² = 2.25 · mean x² of 256.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    row_blocks(x, out, |x, out| {
        let w = row_weights(x, importance, 2.25, |sigma2, x| {
            0.25 * sigma2.sqrt() + x.abs()
        });
        let encoded = SCHEME.encode::<32>(x, &w);
        out[..2].copy_from_slice(&encoded.d_f16());
        for (ib, codes) in encoded.codes.iter().enumerate() {
            let (block, k) = (&mut out[2 + BLOCK * (ib / 8)..][..BLOCK], ib % 8);
            let scale = (encoded.scales[ib] + 32) as u8;
            block[k / 4] |= (scale >> 4) << (2 * (k % 4));
            block[2 + k % 4] |= (scale & 15) << (4 * (k / 4));
            for (j, [code, _]) in codes.as_chunks::<2>().0.iter().enumerate() {
                block[6 + 16 * (k / 2) + j] |= (code & 15) << (4 * (k % 2));
                block[70 + j] |= (code >> 4) << k;
            }
        }
    });
}

/// The first values of the pairs, then the second ones.
const VALUES: [i8; 64] = {
    let mut values = [0; 64];
    let mut code = 0;
    while code < 32 {
        values[code] = IQ2_PAIRS[code][0];
        values[code + 32] = IQ2_PAIRS[code][1];
        code += 1;
    }
    values
};

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Pairs,
    values: &VALUES,
    shift: 0,
    bias: 64,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::RowF16,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[NIBBLES, Plane::stacked(70, 16, 1, 4)],
    head: take_head,
    set_head: put_head,
};

/// Two chunks of 16 codes share 16 bytes.
const NIBBLES: Plane = Plane::stacked(6, 16, 4, 0);

#[inline]
fn take_head(block: &[u8], parts: &mut Parts) {
    let high = u16_at(block, 0);
    for (k, ls) in parts.scales[..8].iter_mut().enumerate() {
        let scale = nibble(block[2 + k % 4], k / 4) | ((high >> (2 * k) & 3) << 4) as u8;
        *ls = scale as i8 - 32;
    }
}

fn put_head(parts: &Parts, block: &mut [u8]) {
    let mut high = 0;
    for (k, ls) in parts.scales[..8].iter().enumerate() {
        let scale = (ls + 32) as u8;
        block[2 + k % 4] |= (scale & 15) << (4 * (k / 4));
        high |= u16::from(scale >> 4) << (2 * k);
    }
    block[..2].copy_from_slice(&high.to_le_bytes());
}
