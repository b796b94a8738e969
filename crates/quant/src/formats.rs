//! One file per type: block layout, scalar decoder, scalar encoder.

pub(crate) mod bf16;
pub(crate) mod f16;
pub(crate) mod f32;
pub(crate) mod iq3_k;
pub(crate) mod iq4_k;
pub(crate) mod iq6_k;
pub(crate) mod q4_0;
pub(crate) mod q6_k;
pub(crate) mod q8_0;

/// The f16 at byte `offset`, as f32.
fn f16_at(block: &[u8], offset: usize) -> f32 {
    half::f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// The u16 at byte `offset`.
fn u16_at(block: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([block[offset], block[offset + 1]])
}
