//! IQ1_KT to IQ4_KT: a row has an f32 scale d, then blocks of 256 weights whose codes seed a
//! generator of nearly normal integers, so that a few bits choose among sequences of values.
//!
//! From a seed x₀ the generator multiplies by a constant modulo 2³²; a value is the sum of the
//! low six bits of the four bytes, less 126.

use super::{nibble, row_f32, u16_at, u32_at};
use crate::codebooks::IQ4;
use crate::packed::trellis::{OFFSET, generate};
use crate::packed::{Codes, Indices, Layout, Marks, Parts, Scale, SubScales, table_code};
use crate::super_block::SUPER_BLOCK;

/// The first `N` values after `seed`, each −126..=126.
fn sequence<const N: usize>(seed: u32) -> [i16; N] {
    std::array::from_fn(|j| generate(seed, j))
}

/// Scale nibbles as the first table of IQ4_K has them.
fn table_scale(code: u8) -> f32 {
    f32::from(IQ4[0][usize::from(code)])
}

fn super_blocks<'a>(
    blocks: &'a [u8],
    out: &'a mut [f32],
    block_bytes: usize,
) -> impl Iterator<Item = (&'a [u8], &'a mut [f32])> {
    blocks
        .chunks_exact(block_bytes)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
}

/// IQ1_KT: for every 32 weights a byte of scale nibble and four top bits of codes; then 32 low
/// bytes and 32 nibbles: codes of 13 bits for 8 weights each.
pub(crate) fn dequantize_iq1_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 56) {
        let (heads, low, high) = (&block[..8], &block[8..40], &block[40..56]);
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (ib, l) = (g / 4, g % 4);
            let dl = d * table_scale(heads[ib] & 15);
            let code = u32::from(low[g])
                | u32::from(nibble(high[g % 16], g / 16)) << 8
                | u32::from(heads[ib] >> (4 + l) & 1) << 12;
            *out = sequence(code + OFFSET).map(|v| dl * f32::from(v));
        }
    }
}

/// IQ2_KT: 8 scale nibbles, then codes of 16 bits for 8 weights each.
pub(crate) fn dequantize_iq2_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 68) {
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let ib = g / 4;
            let dl = d * table_scale(nibble(block[ib % 4], ib / 4));
            let code = u32::from(u16_at(block, 4 + 2 * g));
            *out = sequence(code + OFFSET).map(|v| dl * f32::from(v));
        }
    }
}

/// IQ3_KT: 8 scale nibbles, codes of 16 bits for 8 magnitudes each, 32 bytes of signs.
pub(crate) fn dequantize_iq3_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 100) {
        let signs = &block[68..];
        for (g, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (ib, l) = (g / 4, g % 4);
            let dl = d * f32::from(nibble(block[ib % 4], ib / 4));
            let code = u32::from(u16_at(block, 4 + 2 * g));
            let values: [i16; 8] = sequence(code + OFFSET);
            for (j, (y, v)) in out.iter_mut().zip(values).enumerate() {
                let magnitude = dl * f32::from(v.abs());
                let negative = signs[8 * l + j] >> ib & 1 == 1;
                *y = if negative { -magnitude } else { magnitude };
            }
        }
    }
}

/// IQ4_KT: for every 32 weights a u32 of offset bit, scale of 7 bits and eight times three high
/// bits; then 64 low bytes and 64 nibbles: codes of 15 bits for 4 weights each.
pub(crate) fn dequantize_iq4_kt(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in super_blocks(blocks, out, 128) {
        let (low, high) = (&block[32..96], &block[96..]);
        for (g, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let head = u32_at(block, 4 * (g / 8));
            let offset = OFFSET + 32768 * (head & 1);
            let dl = d * (((head & 255) >> 1) as f32 - 64.0);
            let code = u32::from(low[g])
                | u32::from(nibble(high[g % 32], g / 32)) << 8
                | (head >> (8 + 3 * (g % 8)) & 7) << 12;
            *out = sequence(code + offset).map(|v| dl * f32::from(v));
        }
    }
}

/// What the layouts have in common.
const PACKED: Layout = Layout {
    codes: Codes::Trellis(IQ2_KT),
    values: &[],
    shift: 0,
    bias: 128,
    block_len: SUPER_BLOCK,
    sub_len: 32,
    scale: Scale::RowF32,
    factor: 1.0,
    sub_scales: SubScales::Bytes,
    planes: &[],
    head: take_iq2_kt,
    set_head: put_iq2_kt,
};

const IQ1_KT: Indices = Indices {
    width: 8,
    high_bits: 5,
    marks: Marks::None,
};

pub(crate) const PACKED_IQ1_KT: Layout = Layout {
    codes: Codes::Trellis(IQ1_KT),
    sub_scales: SubScales::Table(&IQ4[0]),
    head: take_iq1_kt,
    set_head: put_iq1_kt,
    ..PACKED
};

#[inline]
fn take_iq1_kt(block: &[u8], parts: &mut Parts) {
    let (heads, low, high) = (&block[..8], &block[8..40], &block[40..56]);
    for g in 0..32 {
        let (ib, l) = (g / 4, g % 4);
        let top = heads[ib] >> (4 + l) & 1;
        let code = u16::from_le_bytes([low[g], nibble(high[g % 16], g / 16) | top << 4]);
        IQ1_KT.set_index(&mut parts.codes, g, code);
        parts.scales[ib] = IQ4[0][usize::from(heads[ib] & 15)];
    }
}

fn put_iq1_kt(parts: &Parts, block: &mut [u8]) {
    for (head, scale) in block[..8].iter_mut().zip(parts.scales) {
        *head = table_code(&IQ4[0], scale);
    }
    for g in 0..32 {
        let [low, high] = IQ1_KT.index(&parts.codes, g).to_le_bytes();
        block[8 + g] = low;
        block[40 + g % 16] |= (high & 15) << (4 * (g / 16));
        block[g / 4] |= (high >> 4) << (4 + g % 4);
    }
}

const IQ2_KT: Indices = Indices {
    width: 8,
    high_bits: 8,
    marks: Marks::None,
};

pub(crate) const PACKED_IQ2_KT: Layout = Layout {
    codes: Codes::Trellis(IQ2_KT),
    sub_scales: SubScales::Table(&IQ4[0]),
    head: take_iq2_kt,
    set_head: put_iq2_kt,
    ..PACKED
};

#[inline]
fn take_iq2_kt(block: &[u8], parts: &mut Parts) {
    take_codes(block, &IQ2_KT, parts);
    for ib in 0..8 {
        parts.scales[ib] = IQ4[0][usize::from(nibble(block[ib % 4], ib / 4))];
    }
}

fn put_iq2_kt(parts: &Parts, block: &mut [u8]) {
    put_codes(parts, &IQ2_KT, block);
    for ib in 0..8 {
        block[ib % 4] |= table_code(&IQ4[0], parts.scales[ib]) << (4 * (ib / 4));
    }
}

/// The codes of 16 bits of IQ2_KT and IQ3_KT.
fn take_codes(block: &[u8], indices: &Indices, parts: &mut Parts) {
    for g in 0..32 {
        indices.set_index(&mut parts.codes, g, u16_at(block, 4 + 2 * g));
    }
}

fn put_codes(parts: &Parts, indices: &Indices, block: &mut [u8]) {
    for g in 0..32 {
        let code = indices.index(&parts.codes, g);
        block[4 + 2 * g..6 + 2 * g].copy_from_slice(&code.to_le_bytes());
    }
}

const IQ3_KT: Indices = Indices {
    width: 8,
    high_bits: 8,
    marks: Marks::Signs,
};

pub(crate) const PACKED_IQ3_KT: Layout = Layout {
    codes: Codes::Trellis(IQ3_KT),
    sub_scales: SubScales::Nibbles { first: 0, step: 1 },
    head: take_iq3_kt,
    set_head: put_iq3_kt,
    ..PACKED
};

#[inline]
fn take_iq3_kt(block: &[u8], parts: &mut Parts) {
    take_codes(block, &IQ3_KT, parts);
    for ib in 0..8 {
        parts.scales[ib] = nibble(block[ib % 4], ib / 4) as i8;
        for l in 0..4 {
            let signs = &block[68 + 8 * l..][..8];
            let signs = signs.iter().rev().fold(0, |all, s| all << 1 | s >> ib & 1);
            IQ3_KT.set_marks(&mut parts.codes, 4 * ib + l, signs);
        }
    }
}

fn put_iq3_kt(parts: &Parts, block: &mut [u8]) {
    put_codes(parts, &IQ3_KT, block);
    for ib in 0..8 {
        block[ib % 4] |= (parts.scales[ib] as u8) << (4 * (ib / 4));
        for l in 0..4 {
            let signs = IQ3_KT.marks(&parts.codes, 4 * ib + l);
            for (j, byte) in block[68 + 8 * l..][..8].iter_mut().enumerate() {
                *byte |= (signs >> j & 1) << ib;
            }
        }
    }
}

const IQ4_KT: Indices = Indices {
    width: 4,
    high_bits: 7,
    marks: Marks::Offset(32768),
};

pub(crate) const PACKED_IQ4_KT: Layout = Layout {
    codes: Codes::Trellis(IQ4_KT),
    sub_scales: SubScales::Bytes,
    head: take_iq4_kt,
    set_head: put_iq4_kt,
    ..PACKED
};

#[inline]
fn take_iq4_kt(block: &[u8], parts: &mut Parts) {
    for ib in 0..8 {
        let head = u32_at(block, 4 * ib);
        parts.scales[ib] = ((head & 255) >> 1) as i8 - 64;
        IQ4_KT.set_marks(&mut parts.codes, 4 * ib, (head & 1) as u8);
        for l in 0..8 {
            let g = 8 * ib + l;
            let top = (head >> (8 + 3 * l) & 7) as u8;
            let high = nibble(block[96 + g % 32], g / 32) | top << 4;
            let code = u16::from_le_bytes([block[32 + g], high]);
            IQ4_KT.set_index(&mut parts.codes, g, code);
        }
    }
}

fn put_iq4_kt(parts: &Parts, block: &mut [u8]) {
    for ib in 0..8 {
        let offset = IQ4_KT.marks(&parts.codes, 4 * ib);
        let mut head = u32::from((parts.scales[ib] + 64) as u8) << 1 | u32::from(offset);
        for l in 0..8 {
            let g = 8 * ib + l;
            let [low, high] = IQ4_KT.index(&parts.codes, g).to_le_bytes();
            block[32 + g] = low;
            block[96 + g % 32] |= (high & 15) << (4 * (g / 32));
            head |= u32::from(high >> 4) << (8 + 3 * l);
        }
        block[4 * ib..4 * ib + 4].copy_from_slice(&head.to_le_bytes());
    }
}
