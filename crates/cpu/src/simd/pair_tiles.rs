//! [`PairProduct`] by tiles of bytes, to the last bit: an integer is 256 times its high byte, which is
//! signed, plus its low one, which is not. Sums of the products of high bytes, of low ones, and of one
//! and the other stay in tiles until the end.

use std::arch::x86_64::*;

use super::Aligned;
use super::amx::{Configured, TILE, multiply_planes};
use super::lanes::{LANES, Pair};
use super::pair_product::{PairProduct, TILE_PAIRS, TILE_ROWS, finish};

/// Bytes of a row of a tile.
const ROW: usize = TILE / TILE_ROWS;
/// Pairs for whose bytes there is room on the stack, of a block of lanes.
const MOST_PAIRS: usize = 256;
/// Tiles of sums from which on taking integers apart is the smaller part of the work.
const WORTH_SUMS: usize = 2;

/// Whether a product is one for tiles.
pub(super) fn suit(product: &PairProduct<'_>) -> bool {
    let (a_row, a_step) = product.a_row_step;
    product.n_rows / TILE_ROWS * (product.n_lanes / LANES) >= WORTH_SUMS
        && (TILE_PAIRS..=MOST_PAIRS).contains(&product.n_pairs)
        && (a_row == 1 || a_step == 1)
        && product.planes.len() >= PairProduct::planes_len(product.n_rows, product.n_pairs)
}

/// Runs a product.
///
/// # Safety
/// The CPU has AVX-512 as in [`Isa::Avx512`](super::Isa::Avx512), and tiles that this process may use; the
/// product [`suit`]s, and its operands are as long as [`PairProduct::run_on`] asserts.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn run(product: &mut PairProduct<'_>) {
    let n_steps = product.n_pairs.div_ceil(TILE_PAIRS);
    let planes = std::mem::take(&mut product.planes);
    let panels = planes.chunks_exact_mut(TILE_ROWS * TILE_PAIRS * n_steps);
    let n_panels = product.n_rows.div_ceil(TILE_ROWS);
    let panels = panels.take(n_panels).enumerate();
    let mut block = Aligned([0u8; 2 * TILE * (MOST_PAIRS / TILE_PAIRS)]);
    let mut sums = Aligned([0i32; 3 * TILE / 4]);
    let (b, c) = (block.0.as_mut_ptr(), sums.0.as_mut_ptr());
    // SAFETY: promised by the caller: rows, pairs and lanes are those of the operands, and there is room
    // for the bytes of all of them.
    unsafe {
        for (i, panel) in panels {
            set_rows(product, i * TILE_ROWS, panel.as_mut_ptr().cast());
        }
        // Until they are dropped nothing is called that might use tiles.
        let tiles = Configured::new(ROW);
        let panels = planes.as_ptr().cast::<u8>();
        for at in 0..product.n_lanes / LANES {
            set_block(product, at, b);
            for first in (0..product.n_rows).step_by(TILE_ROWS) {
                let a = panels.add(first / TILE_ROWS * n_steps * 2 * TILE);
                multiply_planes(&tiles, a, b, n_steps, c);
                for m in 0..TILE_ROWS.min(product.n_rows - first) {
                    let of_row = c.add(m * LANES);
                    let high = _mm512_load_si512(of_row.cast());
                    let mixed = _mm512_load_si512(of_row.add(TILE / 4).cast());
                    let low = _mm512_load_si512(of_row.add(2 * TILE / 4).cast());
                    let sum = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), mixed);
                    let sum = _mm512_add_epi32(_mm512_slli_epi32::<8>(sum), low);
                    finish::<__m512>(product, (first + m, at), sum);
                }
            }
        }
    }
}

/// Takes apart the integers of 16 rows from `first` on, or as many as there are: for every step 16 rows
/// of high bytes, then those of low ones. Zeros make the last step whole.
///
/// # Safety
/// As [`run`]; `to` has room for them.
#[inline(always)]
unsafe fn set_rows(product: &PairProduct<'_>, first: usize, to: *mut u8) {
    let (a_row, a_step) = product.a_row_step;
    let n_rows = TILE_ROWS.min(product.n_rows - first);
    let a = product.a.as_ptr().wrapping_add(first * a_row);
    // SAFETY: promised by the caller; what is outside of the operand is not read.
    unsafe {
        for first in (0..product.n_pairs).step_by(TILE_PAIRS) {
            let to = to.add(first / TILE_PAIRS * 2 * TILE);
            let n_pairs = product.n_pairs - first;
            if a_step == 1 {
                for m in 0..n_rows {
                    let row = a.wrapping_add(m * a_row + first);
                    let second = n_pairs.saturating_sub(LANES);
                    let pairs = [load(row, n_pairs), load(row.wrapping_add(LANES), second)];
                    store(bytes_of_rows(pairs), to.add(m * ROW));
                }
                continue;
            }
            // Rows are neighbours: their quads, of which a row takes one each.
            let mut quads = Aligned([[[0u32; TILE_ROWS]; ROW / 4]; 2]);
            let planes = quads.0.as_mut_ptr().cast::<u8>();
            for q in 0..ROW / 4 {
                let pairs = a.wrapping_add((first + 2 * q) * a_step);
                let left = n_pairs.saturating_sub(2 * q);
                store(
                    bytes_of_quads(load_two(pairs, a_step, (left, n_rows))),
                    planes.add(q * ROW),
                );
            }
            for (plane, quads) in quads.0.iter().enumerate() {
                let to = to.add(plane * TILE).cast::<u32>();
                for m in 0..TILE_ROWS {
                    for q in 0..ROW / 4 {
                        to.add(m * ROW / 4 + q).write_unaligned(quads[q][m]);
                    }
                }
            }
        }
    }
}

/// Takes apart the integers of a block of lanes: for every step 16 quads of high bytes, then those of low
/// ones. Zeros make the last step whole.
///
/// # Safety
/// As [`run`]; `to` has room for them.
#[inline(always)]
unsafe fn set_block(product: &PairProduct<'_>, at: usize, to: *mut u8) {
    let (b_step, b_block) = product.b_step_block;
    let b = product.b.as_ptr().wrapping_add(at * b_block);
    // SAFETY: promised by the caller; what is outside of the operand is not read.
    unsafe {
        for q in 0..product.n_pairs.next_multiple_of(TILE_PAIRS) / 2 {
            let to = to.add(q / (ROW / 4) * 2 * TILE + q % (ROW / 4) * ROW);
            let pairs = b.wrapping_add(2 * q * b_step);
            let left = product.n_pairs.saturating_sub(2 * q);
            store(bytes_of_quads(load_two(pairs, b_step, (left, LANES))), to);
        }
    }
}

/// Up to sixteen pairs, and zeros for the rest.
///
/// # Safety
/// The CPU has AVX-512; as many pairs are there.
#[inline(always)]
unsafe fn load(from: *const Pair, n: usize) -> __m512i {
    let mask = ((1u32 << n.min(LANES)) - 1) as __mmask16;
    // SAFETY: promised by the caller; what the mask leaves out is not read.
    unsafe { _mm512_maskz_loadu_epi32(mask, from.cast()) }
}

/// Up to sixteen pairs of a step and of the next, of as many steps as are left.
///
/// # Safety
/// As [`load`].
#[inline(always)]
unsafe fn load_two(from: *const Pair, step: usize, (left, n): (usize, usize)) -> [__m512i; 2] {
    let lens = [if left > 0 { n } else { 0 }, if left > 1 { n } else { 0 }];
    // SAFETY: promised by the caller.
    unsafe { [load(from, lens[0]), load(from.wrapping_add(step), lens[1])] }
}

/// Stores rows of the two planes of a step.
///
/// # Safety
/// The CPU has AVX-512; both are good for a row.
#[inline(always)]
unsafe fn store([high, low]: [__m512i; 2], to: *mut u8) {
    // SAFETY: promised by the caller.
    unsafe {
        _mm512_storeu_si512(to.cast(), high);
        _mm512_storeu_si512(to.add(TILE).cast(), low);
    }
}

/// High and low bytes of integers that follow each other.
///
/// # Safety
/// The CPU has VBMI.
#[inline(always)]
unsafe fn bytes_of_rows([first, second]: [__m512i; 2]) -> [__m512i; 2] {
    /// Byte i is where the low byte of integer i is.
    const LOW: [u8; 64] = {
        let (mut low, mut i) = ([0; 64], 0);
        while i < 64 {
            low[i] = 2 * i as u8;
            i += 1;
        }
        low
    };
    // SAFETY: promised by the caller.
    unsafe { choose([first, second], &LOW) }
}

/// The same of the integers of two pairs for each lane: a quad of bytes.
///
/// # Safety
/// The CPU has VBMI.
#[inline(always)]
unsafe fn bytes_of_quads([first, second]: [__m512i; 2]) -> [__m512i; 2] {
    /// Two bytes of the lane of the first, then of the second.
    const LOW: [u8; 64] = {
        let (mut low, mut i) = ([0; 64], 0);
        while i < 64 {
            low[i] = (i / 4 * 4 + i % 2 * 2 + i % 4 / 2 * 64) as u8;
            i += 1;
        }
        low
    };
    // SAFETY: promised by the caller.
    unsafe { choose([first, second], &LOW) }
}

/// The bytes of two after those at `low`, and these.
///
/// # Safety
/// The CPU has VBMI.
#[inline(always)]
unsafe fn choose([first, second]: [__m512i; 2], low: &[u8; 64]) -> [__m512i; 2] {
    // SAFETY: promised by the caller; there are 64 bytes.
    unsafe {
        let low = _mm512_loadu_si512(low.as_ptr().cast());
        let high = _mm512_add_epi8(low, _mm512_set1_epi8(1));
        let high = _mm512_permutex2var_epi8(first, high, second);
        [high, _mm512_permutex2var_epi8(first, low, second)]
    }
}
