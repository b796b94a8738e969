//! IQ4_NL: 32 weights; f16 d, 16 bytes with weight i in the low and i+16 in the high nibble;
//! y = d·table\[n\].

use half::f16;

use super::{f16_at, poison, u16_at};
use crate::block_32::{BLOCK_LEN, nibbles, put_nibbles};
use crate::codebooks::IQ4;
use crate::importance::{Magnitude, column_importance, mean_square};
use crate::packed::{Codes, Layout, Parts, Plane, Scale, SubScales};
use crate::table_fit::{Alphabet, Levels, TableFit};

const BLOCK: usize = 18;

/// Also the table of IQ4_XS.
pub(crate) const VALUES: &[i8; 16] = &IQ4[0];

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let blocks = bytes.chunks_exact(BLOCK);
    for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK_LEN)) {
        let d = f16_at(block, 0);
        let values = VALUES.map(|value| d * f32::from(value));
        for (y, n) in out.iter_mut().zip(nibbles(&block[2..])) {
            *y = values[usize::from(n)];
        }
    }
}

static LEVELS: [Levels<16>; 1] = [Levels::new(VALUES)];

/// Without an imatrix w = x², with one w = q·√(σ² + x²), σ² = 2 · mean x² of the block.
pub(crate) fn quantize(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let (x, _) = x.as_chunks::<BLOCK_LEN>();
    for (i, (x, block)) in x.iter().zip(out.chunks_exact_mut(BLOCK)).enumerate() {
        match Magnitude::of(x) {
            Magnitude::Zero => block.fill(0),
            Magnitude::Unrepresentable => poison(block, 0),
            Magnitude::Ordinary => {
                let columns = importance.map(|q| &q[BLOCK_LEN * i..][..BLOCK_LEN]);
                let w = block_weights(x, columns);
                let fit = TableFit::search(&LEVELS, x, &w, (7, 1.0));
                let d = f16::from_f32(fit.d);
                block[..2].copy_from_slice(&d.to_le_bytes());
                let inverse = if fit.d == 0.0 { 0.0 } else { 1.0 / fit.d };
                put_nibbles(&LEVELS[0].codes(x, &w, inverse), &mut block[2..]);
            }
        }
    }
}

fn block_weights(x: &[f32; BLOCK_LEN], importance: Option<&[f32]>) -> [f32; BLOCK_LEN] {
    let Some(importance) = importance else {
        return x.map(|x| x * x);
    };
    let sigma2 = 2.0 * mean_square(x);
    let mut w = column_importance(importance);
    for (w, x) in w.iter_mut().zip(x) {
        *w *= (sigma2 + x * x).sqrt();
    }
    w
}

pub(crate) const PACKED: Layout = Layout {
    codes: Codes::Bits4,
    values: VALUES,
    shift: 0,
    bias: 128,
    block_len: 32,
    sub_len: 32,
    scale: Scale::F16,
    factor: 1.0,
    sub_scales: SubScales::None,
    planes: &[Plane::halves(2)],
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
