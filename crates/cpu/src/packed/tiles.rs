//! The dot products of a group of 16 packed rows with many rows of activations, by tiles. The
//! arithmetic is that of `dot.rs`, to the last bit.
//!
//! Sums of tiles run over columns without a look at the scales of their sub-blocks. So weights are
//! multiplied by those first: products of 16 bits, in two tiles of bytes. That takes as long as
//! multiplying them with some 40 rows, so that the next block is taken apart while tiles are
//! multiplied, which happens outside of the vector units. Small blocks have no such scales, and their
//! sums leave the tiles after 32 columns.

use std::ops::Range;

use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS, Layout, SubScales};

use super::dot::{Format, SubBlocks, block_scales};
use super::unpack::Unpack;
use super::values::{Mins, add_scaled, signed};
use crate::simd::quads::Tiles;
use crate::simd::{Aligned, LANES, aligned, take_parts};

/// Rows of activations of a product of tiles.
const TILED: usize = 32;
/// Bytes of a tile.
const TILE: usize = 1024;
/// Columns of a tile.
const STEP: usize = 64;
/// Columns of a block of the larger kind.
const SUPER_BLOCK: usize = 256;
/// Steps of such a block.
const N_STEPS: usize = SUPER_BLOCK / STEP;

/// Sums of rows of activations with a group.
type Sums = [f32; GROUP_ROWS];

/// Rows of activations as tiles take them: the columns of a step of all rows, then the next step.
/// Rows of zeros make whole tiles.
pub(crate) struct TilePanel<'a> {
    n_in: usize,
    /// With those of zeros.
    n_rows: usize,
    /// `[n_in / step, rows, step]`
    a: &'a [i8],
    /// `[n_in / block_len, rows]`
    scales: &'a [f32],
    /// The deltas of the form, of types with minima: `[n_in / sub_len, rows]`
    deltas: &'a [i32],
}

impl<'a> TilePanel<'a> {
    /// Floats for a row and its sums.
    fn row_len(layout: &Layout, n_in: usize) -> usize {
        let n_scales = n_in / layout.block_len + Self::n_deltas(layout, n_in);
        n_in / size_of::<f32>() + n_scales + GROUP_ROWS
    }

    /// Deltas of a row: what minima are multiplied with.
    fn n_deltas(layout: &Layout, n_in: usize) -> usize {
        if layout.has_mins() {
            n_in / layout.sub_len
        } else {
            0
        }
    }

    /// Most rows for which a scratch memory suffices, a multiple of whole tiles.
    pub(crate) fn most_rows(layout: &Layout, n_in: usize, scratch_len: usize) -> usize {
        scratch_len.saturating_sub(LANES) / (TILED * Self::row_len(layout, n_in)) * TILED
    }

    /// Gathers `n_rows` rows in `scratch`, and returns them and memory for their sums.
    ///
    /// # Safety
    /// `row(i)` points to a row of `n_in` activations in the form of the layout.
    ///
    /// # Panics
    /// When there are more than [`most_rows`](Self::most_rows).
    pub(crate) unsafe fn gather(
        layout: &Layout,
        n_in: usize,
        (n_rows, row): (usize, &dyn Fn(usize) -> *const u8),
        scratch: &'a mut [f32],
    ) -> (Self, &'a mut [Sums]) {
        let form = layout.form();
        let n_tiled = n_rows.next_multiple_of(TILED);
        let lens = [
            n_tiled * n_in / size_of::<f32>(),
            n_tiled * GROUP_ROWS,
            n_tiled * (n_in / layout.block_len),
            n_tiled * Self::n_deltas(layout, n_in),
        ];
        let [a, sums, scales, deltas] = take_parts(aligned(scratch), lens);
        let sums = &mut sums.as_chunks_mut().0[..n_rows];
        // SAFETY: any bits are bytes, which need no alignment.
        let a = unsafe { a.align_to_mut::<u8>().1 };
        // SAFETY: any bits are integers, of the same size and alignment.
        let deltas = unsafe { deltas.align_to_mut::<i32>().1 };
        for i in 0..n_rows {
            // SAFETY: a whole row, promised by the caller.
            let row = unsafe { std::slice::from_raw_parts(row(i), form.row_bytes(n_in)) };
            if layout.block_len < STEP {
                place_steps::<CHUNK_LEN>(&row[..n_in], a, (i, n_tiled));
            } else {
                place_steps::<STEP>(&row[..n_in], a, (i, n_tiled));
            }
            let da = row[form.scales(n_in)].as_chunks::<4>().0;
            for (scales, da) in scales.chunks_exact_mut(n_tiled).zip(da) {
                scales[i] = f32::from_le_bytes(*da);
            }
            let of_row = row[form.deltas(n_in)].as_chunks::<4>().0;
            for (deltas, delta) in deltas.chunks_exact_mut(n_tiled).zip(of_row) {
                deltas[i] = i32::from_le_bytes(*delta);
            }
        }
        for columns in a.chunks_exact_mut(n_tiled * STEP.min(layout.block_len)) {
            columns[n_rows * STEP.min(layout.block_len)..].fill(0);
        }
        // SAFETY: any byte is a signed one.
        let a = unsafe { a.align_to::<i8>().1 };
        let panel = Self {
            n_in,
            n_rows: n_tiled,
            a,
            scales,
            deltas,
        };
        (panel, sums)
    }
}

/// Copies a row to place `i` of `n` in every step of a panel; of a constant length, as a call for
/// each would take longer than what it copies.
fn place_steps<const STEP: usize>(row: &[u8], a: &mut [u8], (i, n): (usize, usize)) {
    let steps = a.as_chunks_mut::<STEP>().0.chunks_exact_mut(n);
    for (to, from) in steps.zip(row.as_chunks::<STEP>().0) {
        to[i] = *from;
    }
}

/// `y[t][r] = w[r] · x[t]` for the 16 rows of a group and the rows of a panel.
///
/// # Safety
/// The CPU has the instruction set of `S` and tiles that this process may use; `group` points to a
/// group in the layout of `F`, of as many columns as the panel, which is of that form and has at
/// least as many rows as `y`.
#[inline(always)]
pub(super) unsafe fn dot_tiles<S: Tiles, F: Format>(
    group: *const u8,
    panel: &TilePanel<'_>,
    y: &mut [Sums],
) {
    assert!(y.len() <= panel.n_rows);
    y.fill([0.0; GROUP_ROWS]);
    // SAFETY: promised by the caller.
    unsafe {
        if F::LAYOUT.sub_scales == SubScales::None {
            dot_small::<S, F>(group, panel, y);
        } else {
            dot_scaled::<S, F>(group, panel, y);
        }
    }
}

/// [`dot_tiles`] of blocks of 32 columns, to sums of zero.
///
/// # Safety
/// As that.
#[inline(always)]
unsafe fn dot_small<S: Tiles, F: Format>(group: *const u8, panel: &TilePanel<'_>, y: &mut [Sums]) {
    let mut weights = Aligned([0; TILE / 2]);
    let mut products = Aligned([0; TILE / 2]);
    // SAFETY: promised by the caller; offsets are those of the layout and of the panel.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        // Until they are dropped nothing is called that might use tiles.
        let tiles = S::configure(CHUNK_LEN);
        for b in 0..panel.n_in / CHUNK_LEN {
            let block = block_of::<F>(group, b);
            let d = block_scales::<S, F>(group, block);
            let a = panel.a.as_ptr().add(b * CHUNK_LEN * panel.n_rows);
            let da = &panel.scales[b * panel.n_rows..];
            let b = weights.0.as_mut_ptr();
            let c = products.0.as_mut_ptr();
            store_small::<S, F>(&tables, block, b);
            for (t, y) in y.chunks_mut(TILED).enumerate() {
                let first = t * TILED;
                S::multiply_once(&tiles, a.add(first * CHUNK_LEN), b, c);
                for (i, y) in y.iter_mut().enumerate() {
                    let sum = S::load(c.add(i * GROUP_ROWS).cast());
                    add_scaled::<S>(sum, d, da[first + i], y);
                }
            }
        }
    }
}

/// [`dot_tiles`] of blocks of 256 columns, to sums of zero.
///
/// # Safety
/// As that.
#[inline(always)]
unsafe fn dot_scaled<S: Tiles, F: Format>(group: *const u8, panel: &TilePanel<'_>, y: &mut [Sums]) {
    let n_blocks = panel.n_in / SUPER_BLOCK;
    let n_tiles = y.len().div_ceil(TILED);
    // Those of a block and of the next one; products of a tile and of the one before.
    let mut weights = Aligned([[0; 2 * TILE * N_STEPS]; 2]);
    let mut products = Aligned([[0; TILE]; 2]);
    // SAFETY: promised by the caller; offsets are those of the layout and of the panel.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        for s in 0..N_STEPS {
            store_scaled::<S, F>(&tables, block_of::<F>(group, 0), s, &mut weights.0[0]);
        }
        // Until they are dropped nothing is called that might use tiles.
        let tiles = S::configure(STEP);
        let mut last = None;
        for b in 0..n_blocks {
            for t in 0..n_tiles {
                let rows = t * TILED..y.len().min((t + 1) * TILED);
                let a = panel
                    .a
                    .as_ptr()
                    .add(b * SUPER_BLOCK * panel.n_rows + rows.start * STEP);
                let operands = (a, weights.0[b % 2].as_ptr());
                let this = (b * n_tiles + t) % 2;
                let c = products.0[this].as_mut_ptr();
                let shape = (rows.len().div_ceil(GROUP_ROWS), N_STEPS);
                S::multiply_twice(&tiles, operands, panel.n_rows * STEP, shape, c);
                // What follows does not wait for these products.
                if b + 1 < n_blocks {
                    let next = block_of::<F>(group, b + 1);
                    for s in t * N_STEPS / n_tiles..(t + 1) * N_STEPS / n_tiles {
                        store_scaled::<S, F>(&tables, next, s, &mut weights.0[(b + 1) % 2]);
                    }
                }
                if let Some((b, rows)) = last.replace((b, rows)) {
                    add_products::<S, F>((group, b), panel, &products.0[1 - this], (rows, y));
                }
            }
        }
        if let Some((b, rows)) = last {
            let this = (n_blocks * n_tiles - 1) % 2;
            add_products::<S, F>((group, b), panel, &products.0[this], (rows, y));
        }
    }
}

/// Adds the products of block `b` of a group with some rows of a panel to their sums.
///
/// # Safety
/// As [`dot_scaled`]; the group has that block.
#[inline(always)]
unsafe fn add_products<S: Tiles, F: Format>(
    (group, b): (*const u8, usize),
    panel: &TilePanel<'_>,
    products: &[i32; TILE],
    (rows, y): (Range<usize>, &mut [Sums]),
) {
    let layout = F::LAYOUT;
    let first = b * panel.n_rows + rows.start;
    let first_delta = b * layout.n_sub() * panel.n_rows + rows.start;
    // SAFETY: promised by the caller; there are sums of 16 rows of weights with each of `rows`.
    unsafe {
        let block = block_of::<F>(group, b);
        let d = block_scales::<S, F>(group, block);
        let mins = Mins::<S>::of::<F>(block);
        let da = &panel.scales[first..first + rows.len()];
        for (i, (y, da)) in y[rows].iter_mut().zip(da).enumerate() {
            // Two tiles for the first 16 rows of activations, then two for the rest.
            let at = i / GROUP_ROWS * (TILE / 2) + i % GROUP_ROWS * GROUP_ROWS;
            let at = products.as_ptr().add(at);
            let high = S::shl32::<8>(S::load(at.cast()));
            let sum = S::add(high, S::load(at.add(TILE / 4).cast()));
            add_scaled::<S>(sum, d, *da, y);
            if layout.has_mins() {
                let deltas = &panel.deltas[first_delta + i..];
                let sum = mins.sum::<F>(deltas.as_ptr(), panel.n_rows);
                add_scaled::<S>(sum, mins.scale, *da, y);
            }
        }
    }
}

/// Block `b` of a group.
///
/// # Safety
/// The group has it.
#[inline(always)]
unsafe fn block_of<F: Format>(group: *const u8, b: usize) -> *const u8 {
    // SAFETY: promised by the caller.
    unsafe { group.add(F::LAYOUT.group_meta_bytes() + b * F::BLOCK_BYTES) }
}

/// The tile of a block of 32 columns.
///
/// # Safety
/// As [`signed`]; `to` has room for it.
#[inline(always)]
unsafe fn store_small<S: Tiles, F: Format>(
    tables: &<F::Codes as Unpack>::Tables<S>,
    block: *const u8,
    to: *mut i8,
) {
    // SAFETY: promised by the caller.
    unsafe {
        for (q, quad) in signed::<S, F>(tables, block, 0).into_iter().enumerate() {
            S::store(quad, to.add(q * STEP));
        }
    }
}

/// The tiles of a step of a block of 256 columns among those of all: that of high bytes, then that of
/// low ones.
///
/// # Safety
/// As [`signed`]; the block has that step.
#[inline(always)]
unsafe fn store_scaled<S: Tiles, F: Format>(
    tables: &<F::Codes as Unpack>::Tables<S>,
    block: *const u8,
    step: usize,
    to: &mut [i8; 2 * TILE * N_STEPS],
) {
    let layout = F::LAYOUT;
    let to = to[2 * TILE * step..].as_mut_ptr();
    // SAFETY: promised by the caller; both halves of both tiles are in the array.
    unsafe {
        for half in 0..2 {
            let chunk = 2 * step + half;
            let scales = SubBlocks::<S>::of::<F>(block, chunk).scales;
            let quads = signed::<S, F>(tables, block, chunk);
            let to = to.add(half * (TILE / 2));
            for (q, quad) in quads.into_iter().enumerate() {
                let scales = scales[q / 4 * CHUNK_LEN / 2 / layout.sub_len];
                let [high, low] = S::scaled(quad, scales);
                S::store(high, to.add(q * STEP));
                S::store(low, to.add(TILE + q * STEP));
            }
        }
    }
}
