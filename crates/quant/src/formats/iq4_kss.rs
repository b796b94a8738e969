//! IQ4_KSS: a row has an f32 scale d, then blocks of 256 weights: for every 32 weights eight
//! u16 whose lowest bits together are a scale of 8 bits and whose other bits, differenced with
//! their own shift, are 32 nibbles; y = (d·ls)·table\[q\].

use super::iq4_ks;
use super::{nibble, row_f32, u16_at};
use crate::codebooks::IQ4;
use crate::packed::{Layout, Parts, Plane};
use crate::super_block::SUPER_BLOCK;

const BLOCK: usize = 128;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    let (d, blocks) = row_f32(bytes);
    for (block, out) in blocks
        .chunks_exact(BLOCK)
        .zip(out.chunks_exact_mut(SUPER_BLOCK))
    {
        for (k, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, bytes) = unfold(&block[16 * k..][..16]);
            let dl = d * (f32::from(scale & 254) - 127.0);
            let table = &IQ4[usize::from(scale & 1)];
            for (i, y) in out.iter_mut().enumerate() {
                *y = dl * f32::from(table[usize::from(nibble(bytes[i % 16], i / 16))]);
            }
        }
    }
}

/// The scale byte and the nibbles of 32 weights, as IQ4_KS stores them.
fn unfold(words: &[u8]) -> (u8, [u8; 16]) {
    let (mut scale, mut nibbles) = (0, [0; 16]);
    for t in 0..8 {
        let word = u16_at(words, 2 * t);
        scale |= ((word & 1) as u8) << t;
        let word = word & !1;
        nibbles[2 * t..2 * t + 2].copy_from_slice(&(word ^ word >> 1).to_le_bytes());
    }
    (scale, nibbles)
}

/// The inverse of [`unfold`].
fn fold(scale: u8, nibbles: &[u8; 16], words: &mut [u8]) {
    for t in 0..8 {
        let mut word = u16_at(nibbles, 2 * t);
        // The sum modulo 2 of each bit and those above it; that of all bits is 0.
        for shift in [1, 2, 4, 8] {
            word ^= word >> shift;
        }
        word |= u16::from(scale >> t & 1);
        words[2 * t..2 * t + 2].copy_from_slice(&word.to_le_bytes());
    }
}

/// The layout of IQ4_KS: scales and flags get bytes of their own, nine for 256 weights more than
/// in the file.
pub(crate) const PACKED: Layout = Layout {
    planes: &[],
    head: take_apart,
    set_head: put_together,
    ..iq4_ks::PACKED
};

/// Nibbles of 32 weights.
const NIBBLES: Plane = Plane::halves(0);

#[inline]
fn take_apart(block: &[u8], parts: &mut Parts) {
    let mut scales = [0; 8];
    for (k, words) in block.chunks_exact(16).enumerate() {
        let nibbles;
        (scales[k], nibbles) = unfold(words);
        NIBBLES.read(&nibbles, 0, &mut parts.codes[32 * k..][..32]);
    }
    iq4_ks::take_head(&scales, parts);
}

fn put_together(parts: &Parts, block: &mut [u8]) {
    let mut scales = [0; 8];
    iq4_ks::put_head(parts, &mut scales);
    for (k, words) in block.chunks_exact_mut(16).enumerate() {
        let mut nibbles = [0; 16];
        NIBBLES.write(&mut nibbles, 0, &parts.codes[32 * k..][..32]);
        fold(scales[k], &nibbles, words);
    }
}
