//! One file per type: block layout, scalar decoder, scalar encoder.

pub(crate) mod bf16;
pub(crate) mod f16;
pub(crate) mod f32;
pub(crate) mod iq3_k;
pub(crate) mod iq4_k;
pub(crate) mod iq4_nl;
pub(crate) mod iq4_xs;
pub(crate) mod iq6_k;
pub(crate) mod q2_k;
pub(crate) mod q3_k;
pub(crate) mod q4_0;
pub(crate) mod q4_1;
pub(crate) mod q4_k;
pub(crate) mod q5_0;
pub(crate) mod q5_1;
pub(crate) mod q5_k;
pub(crate) mod q6_0;
pub(crate) mod q6_k;
pub(crate) mod q8_0;

use crate::importance::Magnitude;
use crate::super_block::SUPER_BLOCK;

/// The f16 at byte `offset`, as f32.
fn f16_at(block: &[u8], offset: usize) -> f32 {
    half::f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// The u16 at byte `offset`.
fn u16_at(block: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([block[offset], block[offset + 1]])
}

/// Marks a block as having no value: its scale at byte `offset` is NaN, and so is every weight.
///
/// A fault in the input thus stays a fault in the output; a saturated block would hide it.
pub(crate) fn poison(block: &mut [u8], offset: usize) {
    block.fill(0);
    block[offset..offset + 2].copy_from_slice(&half::f16::NAN.to_le_bytes());
}

/// Encodes each 256 weights with their importances into a zeroed block of `block_bytes`, whose
/// scale is at byte `d_offset`. Blocks of zeros and blocks without a scale are not searched.
fn super_blocks(
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
    block_bytes: usize,
    d_offset: usize,
    encode: impl Fn(&[f32; SUPER_BLOCK], Option<&[f32]>, &mut [u8]),
) {
    let (x, _) = x.as_chunks::<SUPER_BLOCK>();
    for (i, (x, block)) in x.iter().zip(out.chunks_exact_mut(block_bytes)).enumerate() {
        block.fill(0);
        match Magnitude::of(x) {
            Magnitude::Zero => {}
            Magnitude::Unrepresentable => poison(block, d_offset),
            Magnitude::Ordinary => {
                let columns = importance.map(|q| &q[SUPER_BLOCK * i..][..SUPER_BLOCK]);
                encode(x, columns, block);
            }
        }
    }
}
