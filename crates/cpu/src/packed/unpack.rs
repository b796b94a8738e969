//! From stored codes to bytes that can be multiplied: the step that differs from type to type.

mod grids;
mod trellis;

use perigee_quant::packed::{Codes, Layout};

use super::dot::Format;
use crate::simd::quads::{Quads, VECTOR, built_in};

pub(super) use grids::Points;
pub(super) use trellis::Sequences;

/// How one arrangement of [`Codes`] is unpacked.
pub(super) trait Unpack {
    /// Whether quads 4 to 7 come out multiplied by 16 where [`Quads::EXACT_U8`] holds.
    const HIGH_TIMES_16: bool = false;
    /// Whether it takes long without the wide tables of AVX-512.
    const IS_DEAR: bool = false;
    /// Lookup tables of the arrangement.
    type Tables<S: Quads>: Copy;

    /// The tables of a layout.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`.
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S>;

    /// The eight quads of chunk `chunk` of the codes at `codes`, as biased values.
    ///
    /// # Safety
    /// As `tables`; `codes` points to the codes of a whole block.
    unsafe fn unpack<S: Quads, F: Format>(
        tables: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8];
}

/// The vector `i` of a chunk of `n_vectors`.
#[inline(always)]
unsafe fn vector<S: Quads>(codes: *const u8, n_vectors: usize, chunk: usize, i: usize) -> S::V {
    // SAFETY: a block has all vectors of all its chunks, promised by the caller.
    unsafe { S::load(codes.add((chunk * n_vectors + i) * VECTOR)) }
}

pub(super) struct Bits2;
pub(super) struct Bits3;
pub(super) struct Bits4;
pub(super) struct Bits5;
pub(super) struct Bits6;
pub(super) struct Bits8;
pub(super) struct Pairs;
/// Four bits that are values themselves, in sub-blocks of 32: high nibbles are multiplied where
/// they are, and their sum is shifted instead of them.
pub(super) struct Nibbles;

impl Unpack for Bits2 {
    type Tables<S: Quads> = [S::Table; 4];

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {
        // SAFETY: promised by the caller.
        unsafe {
            [
                table::<S, F, 2, 0>(0),
                table::<S, F, 2, 2>(0),
                table::<S, F, 2, 4>(0),
                table::<S, F, 2, 6>(0),
            ]
        }
    }

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        tables: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let z0 = vector::<S>(codes, 2, chunk, 0);
            let z1 = vector::<S>(codes, 2, chunk, 1);
            [
                S::lookup::<2, 0>(&tables[0], z0),
                S::lookup::<2, 0>(&tables[0], z1),
                S::lookup::<2, 2>(&tables[1], z0),
                S::lookup::<2, 2>(&tables[1], z1),
                S::lookup::<2, 4>(&tables[2], z0),
                S::lookup::<2, 4>(&tables[2], z1),
                S::lookup::<2, 6>(&tables[3], z0),
                S::lookup::<2, 6>(&tables[3], z1),
            ]
        }
    }
}

/// Bits 6 and 7 of three vectors as bits 0 to 5 of one; its bits 6 and 7 are anything.
#[inline(always)]
unsafe fn high_pairs<S: Quads>(z: [S::V; 3]) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        let low = S::splat(0x0303_0303);
        let middle = S::splat(0x0F0F_0F0F);
        let first = S::select(low, S::shr16::<6>(z[0]), S::shr16::<4>(z[1]));
        S::select(middle, first, S::shr16::<2>(z[2]))
    }
}

impl Unpack for Bits3 {
    type Tables<S: Quads> = [S::Table; 2];

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {
        // SAFETY: promised by the caller.
        unsafe { [table::<S, F, 3, 0>(0), table::<S, F, 3, 3>(0)] }
    }

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        tables: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let z0 = vector::<S>(codes, 3, chunk, 0);
            let z1 = vector::<S>(codes, 3, chunk, 1);
            let z2 = vector::<S>(codes, 3, chunk, 2);
            let z3 = high_pairs::<S>([z0, z1, z2]);
            [
                S::lookup::<3, 0>(&tables[0], z0),
                S::lookup::<3, 0>(&tables[0], z1),
                S::lookup::<3, 0>(&tables[0], z2),
                S::lookup::<3, 0>(&tables[0], z3),
                S::lookup::<3, 3>(&tables[1], z0),
                S::lookup::<3, 3>(&tables[1], z1),
                S::lookup::<3, 3>(&tables[1], z2),
                S::lookup::<3, 3>(&tables[1], z3),
            ]
        }
    }
}

impl Unpack for Bits4 {
    type Tables<S: Quads> = [S::Table; 2];

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {
        // SAFETY: promised by the caller.
        unsafe { [table::<S, F, 4, 0>(0), table::<S, F, 4, 4>(0)] }
    }

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        tables: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let z0 = vector::<S>(codes, 4, chunk, 0);
            let z1 = vector::<S>(codes, 4, chunk, 1);
            let z2 = vector::<S>(codes, 4, chunk, 2);
            let z3 = vector::<S>(codes, 4, chunk, 3);
            [
                S::lookup::<4, 0>(&tables[0], z0),
                S::lookup::<4, 0>(&tables[0], z1),
                S::lookup::<4, 0>(&tables[0], z2),
                S::lookup::<4, 0>(&tables[0], z3),
                S::lookup::<4, 4>(&tables[1], z0),
                S::lookup::<4, 4>(&tables[1], z1),
                S::lookup::<4, 4>(&tables[1], z2),
                S::lookup::<4, 4>(&tables[1], z3),
            ]
        }
    }
}

impl Unpack for Nibbles {
    const HIGH_TIMES_16: bool = true;
    type Tables<S: Quads> = ();

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {}

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        (): &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let mask = S::splat(0x0F0F_0F0F);
            let z0 = vector::<S>(codes, 4, chunk, 0);
            let z1 = vector::<S>(codes, 4, chunk, 1);
            let z2 = vector::<S>(codes, 4, chunk, 2);
            let z3 = vector::<S>(codes, 4, chunk, 3);
            let low = [
                S::and(z0, mask),
                S::and(z1, mask),
                S::and(z2, mask),
                S::and(z3, mask),
            ];
            let high = if S::EXACT_U8 {
                let mask = S::splat(0xF0F0_F0F0_u32 as i32);
                [
                    S::and(z0, mask),
                    S::and(z1, mask),
                    S::and(z2, mask),
                    S::and(z3, mask),
                ]
            } else {
                [
                    S::and(S::shr16::<4>(z0), mask),
                    S::and(S::shr16::<4>(z1), mask),
                    S::and(S::shr16::<4>(z2), mask),
                    S::and(S::shr16::<4>(z3), mask),
                ]
            };
            [
                low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
            ]
        }
    }
}

impl Unpack for Bits5 {
    const IS_DEAR: bool = true;
    type Tables<S: Quads> = S::Table;

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {
        // SAFETY: promised by the caller.
        unsafe { table::<S, F, 5, 0>(0) }
    }

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        table: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let z0 = vector::<S>(codes, 5, chunk, 0);
            let z1 = vector::<S>(codes, 5, chunk, 1);
            let z2 = vector::<S>(codes, 5, chunk, 2);
            let z3 = vector::<S>(codes, 5, chunk, 3);
            let h = vector::<S>(codes, 5, chunk, 4);
            [
                five_bits::<S>(table, z0, S::shl16::<4>(h)),
                five_bits::<S>(table, z1, S::shl16::<3>(h)),
                five_bits::<S>(table, z2, S::shl16::<2>(h)),
                five_bits::<S>(table, z3, S::shl16::<1>(h)),
                five_bits::<S>(table, S::shr16::<4>(z0), h),
                five_bits::<S>(table, S::shr16::<4>(z1), S::shr16::<1>(h)),
                five_bits::<S>(table, S::shr16::<4>(z2), S::shr16::<2>(h)),
                five_bits::<S>(table, S::shr16::<4>(z3), S::shr16::<3>(h)),
            ]
        }
    }
}

/// Looks up codes whose low nibble is in `low` and whose fifth bit is bit 4 of `high`.
#[inline(always)]
unsafe fn five_bits<S: Quads>(table: &S::Table, low: S::V, high: S::V) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        let index = S::select(S::splat(0x1010_1010), high, low);
        S::lookup::<5, 0>(table, index)
    }
}

impl Unpack for Bits6 {
    const IS_DEAR: bool = true;
    type Tables<S: Quads> = S::Table;

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {
        // SAFETY: promised by the caller.
        unsafe { table::<S, F, 6, 0>(0) }
    }

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        table: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let z0 = vector::<S>(codes, 6, chunk, 0);
            let z1 = vector::<S>(codes, 6, chunk, 1);
            let z2 = vector::<S>(codes, 6, chunk, 2);
            let z3 = vector::<S>(codes, 6, chunk, 3);
            let z4 = vector::<S>(codes, 6, chunk, 4);
            let z5 = vector::<S>(codes, 6, chunk, 5);
            [
                S::lookup::<6, 0>(table, z0),
                S::lookup::<6, 0>(table, z1),
                S::lookup::<6, 0>(table, z2),
                S::lookup::<6, 0>(table, high_pairs::<S>([z0, z1, z2])),
                S::lookup::<6, 0>(table, z3),
                S::lookup::<6, 0>(table, z4),
                S::lookup::<6, 0>(table, z5),
                S::lookup::<6, 0>(table, high_pairs::<S>([z3, z4, z5])),
            ]
        }
    }
}

impl Unpack for Bits8 {
    type Tables<S: Quads> = ();

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {}

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        (): &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let bias = S::splat(0x8080_8080_u32 as i32);
            let mut quads = [S::zero(); 8];
            for (q, quad) in quads.iter_mut().enumerate() {
                *quad = vector::<S>(codes, 8, chunk, q);
                if S::EXACT_U8 {
                    *quad = S::xor(*quad, bias);
                }
            }
            quads
        }
    }
}

impl Unpack for Pairs {
    const IS_DEAR: bool = true;
    type Tables<S: Quads> = [S::Table; 2];

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {
        // SAFETY: promised by the caller; 32 values of even columns, then 32 of odd ones.
        unsafe { [table::<S, F, 5, 0>(0), table::<S, F, 5, 0>(1)] }
    }

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        tables: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        // SAFETY: promised by the caller.
        unsafe {
            let z0 = vector::<S>(codes, 2, chunk, 0);
            let z1 = vector::<S>(codes, 2, chunk, 1);
            let shared = codes.add(8 * const { Codes::Pairs.chunk_bytes() } + chunk / 2 * VECTOR);
            let h = S::load(shared);
            // Bits 0 to 3 of every byte are those of this chunk.
            let h = if chunk % 2 == 1 { S::shr16::<4>(h) } else { h };
            let bit_4 = S::splat(0x1010_1010);
            let index = [
                S::select(bit_4, S::shl16::<4>(h), z0),
                S::select(bit_4, S::shl16::<3>(h), z1),
                S::select(bit_4, S::shl16::<2>(h), S::shr16::<4>(z0)),
                S::select(bit_4, S::shl16::<1>(h), S::shr16::<4>(z1)),
            ];
            let mut quads = [S::zero(); 8];
            for (i, index) in index.into_iter().enumerate() {
                quads[2 * i] = pairs::<S>(tables, S::double_low(index));
                quads[2 * i + 1] = pairs::<S>(tables, S::double_high(index));
            }
            quads
        }
    }
}

/// First values of the codes in even bytes, second values in odd ones.
#[inline(always)]
unsafe fn pairs<S: Quads>(tables: &[S::Table; 2], index: S::V) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        S::interleave(
            S::lookup::<5, 0>(&tables[0], index),
            S::lookup::<5, 0>(&tables[1], index),
        )
    }
}

/// The table for looking up codes of `BITS` bits from bit `SHIFT` on in a layout's values; `part`
/// 1 is that of the values after the first `2^BITS`.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn table<S: Quads, F: Format, const BITS: u32, const SHIFT: i32>(
    part: usize,
) -> S::Table {
    // SAFETY: promised by the caller.
    unsafe {
        S::table(
            &const {
                [
                    spread::<S, F>(BITS, SHIFT, 0),
                    spread::<S, F>(BITS, SHIFT, 1),
                ]
            }[part],
        )
    }
}

/// The values of a layout as the bytes that `S` multiplies, repeated as it looks them up.
const fn spread<S: Quads, F: Format>(bits: u32, shift: i32, part: usize) -> [u8; 64] {
    let layout = F::LAYOUT;
    let bias = if is_signed::<S>(layout) {
        0
    } else {
        layout.bias
    };
    let n = 1 << bits;
    let mut bytes = [0; 64];
    let mut i = 0;
    while i < 64 {
        let at = part * n + (i >> shift_in_table::<S>(bits, shift)) % n;
        if at < layout.values.len() {
            bytes[i] = (layout.values[at] as i32 + bias) as u8;
        }
        i += 1;
    }
    bytes
}

/// Whether `S` multiplies the values as they are, signed.
pub(super) const fn is_signed<S: Quads>(layout: &Layout) -> bool {
    !S::EXACT_U8 && layout.bias == 128
}

/// The part of a shift that a table can make up for.
const fn shift_in_table<S: Quads>(bits: u32, shift: i32) -> i32 {
    if S::SHIFTS_IN_TABLE {
        built_in(bits, shift)
    } else {
        0
    }
}
