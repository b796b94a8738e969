//! The inner loops, in one arithmetic for every instruction set.
//!
//! *Dot* (`row_blocks.rs`): lane `l` of 16 sums the products at `i ≡ l (mod 16)` in ascending
//! order with fused multiply-adds, then a fixed tree adds the lanes. *Accumulate* (there) and
//! *product* (`product.rs`): each element adds its terms in ascending order with fused
//! multiply-adds. The exponential (`exponential.rs`) is a polynomial in the same operations.
//! Blocks of registers and caches change which sums run side by side, never a sum; so results do
//! not depend on the instruction set, the tile, or the other rows and tokens. Integers
//! (`rounding.rs`, `pair_product.rs`) are summed exactly.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
pub(crate) mod bytes;
pub(crate) mod isa;
#[cfg(target_arch = "x86_64")]
mod points_avx2;
#[cfg(target_arch = "x86_64")]
mod points_avx512;
pub(crate) mod quads;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quads_avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quads_avx512;
#[cfg(target_arch = "x86_64")]
mod words_avx2;

// No closures in the inner loops: one made here has no vector instructions of its own, and
// inside `array::map` it is a call per row.

mod decoding;
mod exponential;
mod float_rows;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
mod packing;
mod pair_product;
#[cfg(target_arch = "x86_64")]
mod pair_tiles;
mod product;
mod rounding;
mod row_blocks;

pub(crate) use decoding::{F16Row, Q8Row, Row, decode_row};
pub(crate) use exponential::{Soften, exp, exp_lanes};
pub(crate) use float_rows::{Columns, FloatRows, MANY_ROWS, WORTH_MANY, dot_float_rows, dot_many};
pub(crate) use isa::Isa;
pub(crate) use lanes::{LANES, Lanes, Pair, sum_tree};
pub(crate) use packing::pack_rows;
pub(crate) use pair_product::PairProduct;
pub(crate) use product::{Product, Start};
pub(crate) use rounding::{ROUNDED_ROWS, RoundColumns, RoundRows, most, round_bytes};
pub(crate) use row_blocks::{BLOCK, Panel, accumulate_rows, dot_rows};

impl Isa {
    /// Runs a loop of floats with these instructions.
    ///
    /// # Panics
    /// When the machine does not have them.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.is_usable(), "{self:?} on a lesser machine");
        match self {
            // SAFETY: plain floats need no instruction set.
            Self::Scalar => unsafe { kernel.run::<[f32; LANES]>() },
            // SAFETY: the machine has at least these (asserted).
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 | Self::AvxVnni => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Amx => unsafe { run_avx512(kernel) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not supported"),
        }
    }
}

/// A loop that is compiled once per instruction set.
///
/// `run` and all that it calls in its loops must be `#[inline(always)]`: they take the
/// instructions of the function that they end up in.
pub(crate) trait Kernel {
    type Output;
    /// # Safety
    /// The CPU has the instruction set of `L`.
    unsafe fn run<L: Lanes>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the instruction set.
    unsafe { kernel.run::<std::arch::x86_64::__m512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the instruction set.
    unsafe { kernel.run::<[std::arch::x86_64::__m256; 2]>() }
}

/// Bytes of a line of the cache.
pub(crate) const LINE: usize = 64;

/// Memory that starts where a line of the cache does.
#[repr(align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// Asks for `len` bytes from `start` on, which may lie anywhere, for the second-level cache.
#[inline(always)]
pub(crate) fn prefetch(start: *const u8, len: usize) {
    for line in (0..len).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE is part of x86-64, and a prefetch of any address has no effect on memory.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(line).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = start.wrapping_add(line);
    }
}

/// The part of a buffer from the start of a line of the cache on: loads of 16 floats from there
/// on touch one line each. Takes up to [`LANES`] floats.
pub(crate) fn aligned(buffer: &mut [f32]) -> &mut [f32] {
    let skipped = buffer.as_ptr().align_offset(LANES * size_of::<f32>());
    buffer.get_mut(skipped..).unwrap_or_default()
}

/// Parts of these lengths, one after another.
///
/// # Panics
/// When the buffer is shorter than all of them.
pub(crate) fn take_parts<const N: usize>(buffer: &mut [f32], lens: [usize; N]) -> [&mut [f32]; N] {
    let mut rest = buffer;
    lens.map(|len| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
        rest = after;
        part
    })
}

/// The same memory for integers; what it holds is undefined.
pub(crate) fn as_pairs(buffer: &mut [f32]) -> &mut [Pair] {
    // SAFETY: a pair has the size of a float and needs no more alignment, and any bits are one.
    unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), buffer.len()) }
}

#[cfg(test)]
mod tests;
