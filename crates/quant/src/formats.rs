//! One file per type: block layout, scalar decoder, scalar encoder.

pub(crate) mod bf16;
pub(crate) mod f16;
pub(crate) mod f32;
pub(crate) mod iq1_m;
pub(crate) mod iq1_s;
pub(crate) mod iq2_k;
pub(crate) mod iq2_kl;
pub(crate) mod iq2_ks;
pub(crate) mod iq2_s;
pub(crate) mod iq2_xs;
pub(crate) mod iq2_xxs;
pub(crate) mod iq3_k;
pub(crate) mod iq3_ks;
pub(crate) mod iq3_s;
pub(crate) mod iq3_xxs;
pub(crate) mod iq4_k;
pub(crate) mod iq4_ks;
pub(crate) mod iq4_kss;
pub(crate) mod iq4_nl;
pub(crate) mod iq4_xs;
pub(crate) mod iq5_k;
pub(crate) mod iq5_ks;
pub(crate) mod iq6_k;
pub(crate) mod mxfp4;
pub(crate) mod nvfp4;
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
pub(crate) mod tq1_0;
pub(crate) mod tq2_0;
pub(crate) mod trellis;

use crate::importance::Magnitude;
use crate::super_block::SUPER_BLOCK;

/// The f16 at byte `offset`, as f32.
#[inline]
fn f16_at(block: &[u8], offset: usize) -> f32 {
    half::f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// The u16 at byte `offset`.
#[inline]
fn u16_at(block: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([block[offset], block[offset + 1]])
}

/// The u32 at byte `offset`.
#[inline]
fn u32_at(block: &[u8], offset: usize) -> u32 {
    let bytes = &block[offset..offset + 4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The low nibble of a byte for `half` 0, the high one for 1.
#[inline]
fn nibble(byte: u8, half: usize) -> u8 {
    byte >> (4 * half) & 15
}

/// The f16 scale that a row begins with, and its blocks.
fn row_f16(row: &[u8]) -> (f32, &[u8]) {
    (f16_at(row, 0), &row[2..])
}

/// The f32 scale that a row begins with, and its blocks.
fn row_f32(row: &[u8]) -> (f32, &[u8]) {
    (f32::from_bits(u32_at(row, 0)), &row[4..])
}

/// Two grid points of four as one of eight.
fn pair(first: &[i8; 4], second: &[i8; 4]) -> [i8; 8] {
    std::array::from_fn(|j| if j < 4 { first[j] } else { second[j - 4] })
}

/// scale · magnitude, negated where bit j of `signs` is set.
fn signed(scale: f32, magnitudes: &[i8; 8], signs: u8) -> [f32; 8] {
    std::array::from_fn(|j| {
        let value = scale * f32::from(magnitudes[j]);
        if signs >> j & 1 == 1 { -value } else { value }
    })
}

/// The odd scale 2·bits + 1 of the grid types, as their packed forms have it.
fn odd_scale(bits: u8) -> i8 {
    2 * (bits & 15) as i8 + 1
}

/// The inverse of [`odd_scale`].
fn odd_scale_bits(scale: i8) -> u8 {
    scale as u8 >> 1
}

/// Scales whose bits are nibbles, two a byte.
fn take_odd_scales(bytes: &[u8], scales: &mut [i8; 16]) {
    for (pair, byte) in scales.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [odd_scale(nibble(*byte, 0)), odd_scale(nibble(*byte, 1))];
    }
}

/// The inverse of [`take_odd_scales`].
fn put_odd_scales(scales: &[i8; 16], bytes: &mut [u8]) {
    for (pair, byte) in scales.as_chunks::<2>().0.iter().zip(bytes) {
        *byte = odd_scale_bits(pair[0]) | odd_scale_bits(pair[1]) << 4;
    }
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

/// Encodes a row whose blocks share one scale into zeroed bytes. The scale comes first, as an
/// f16 or the upper half of an f32: a row without a value has NaN there.
fn row_blocks(x: &[f32], out: &mut [u8], encode: impl Fn(&[f32], &mut [u8])) {
    out.fill(0);
    match Magnitude::of(x) {
        Magnitude::Zero => {}
        // As an f16 and, four bytes of it, as an f32.
        Magnitude::Unrepresentable => out[..4].copy_from_slice(&[0xFF; 4]),
        Magnitude::Ordinary => encode(x, out),
    }
}
