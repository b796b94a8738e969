//! The dot products of groups of 16 packed rows with many rows of activations, by tiles of bf16.
//!
//! For types of small blocks without sub-blocks. Integers of those leave the tiles after 32 columns to
//! meet their scales, which takes three times as long as multiplying them; here scales are in the
//! weights, and sums stay. Taking weights apart is as long as multiplying them with some hundred
//! rows, so that those that come next are taken apart while tiles are multiplied.
//!
//! The numbers are not those of `dot.rs` but closer to exact ones: weights and activations have 8
//! significant bits each, where activations of 8-bit integers share a scale.

use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS};

use super::dot::{Format, block_scales};
use super::kernels::MAX_GROUPS;
use super::unpack::Unpack;
use super::values::signed;
use crate::simd::quads::Bf16Tiles;
use crate::simd::{Aligned, LANES, aligned, take_parts};

/// Rows of activations of a tile.
const TILED: usize = 16;
/// Numbers of a tile.
const TILE: usize = 512;
/// Columns of a step: of a tile, and of a block of weights.
const STEP: usize = CHUNK_LEN;
/// Columns that are multiplied before sums go back to memory: the weights of so many groups, and those
/// that come next, stay in the first-level cache beside a tile of each step of activations.
const SPAN: usize = 128;
/// Groups that are multiplied side by side: as many as there are tiles for sums, beside which a tile of
/// activations is loaded once.
const GROUPS: usize = 4;
/// Floats of memory for a row of activations: a span of it, and its sums with all groups.
const ROW_LEN: usize = SPAN / 2 + MAX_GROUPS * GROUP_ROWS;

/// Sums of rows of activations with a group.
type Sums = [f32; GROUP_ROWS];

/// Rows of activations and memory for their products.
pub(crate) struct Bf16Panel<'a> {
    n_in: usize,
    n_rows: usize,
    /// Row i: `n_in` numbers.
    row: &'a dyn Fn(usize) -> *const u8,
    /// A span of all rows, `[n_tiled / 16, steps, 16, 32]`; rows of zeros make whole tiles.
    span: &'a mut [u16],
    /// `[groups, n_tiled]`
    sums: &'a mut [Sums],
}

impl<'a> Bf16Panel<'a> {
    /// Most rows for which a scratch memory suffices, a multiple of whole tiles.
    pub(crate) fn most_rows(scratch_len: usize) -> usize {
        scratch_len.saturating_sub(LANES) / (TILED * ROW_LEN) * TILED
    }

    /// Rows of `n_in` numbers, to be read when they are multiplied.
    ///
    /// # Safety
    /// While the panel lives `row(i)` points to a row of as many.
    ///
    /// # Panics
    /// When there are more rows than [`most_rows`](Self::most_rows).
    pub(crate) unsafe fn new(
        n_in: usize,
        (n_rows, row): (usize, &'a dyn Fn(usize) -> *const u8),
        scratch: &'a mut [f32],
    ) -> Self {
        let n_tiled = n_rows.next_multiple_of(TILED);
        let lens = [n_tiled * SPAN / 2, MAX_GROUPS * n_tiled * GROUP_ROWS];
        let [span, sums] = take_parts(aligned(scratch), lens);
        // SAFETY: any bits are integers of 16 bits, which need less alignment.
        let span = unsafe { span.align_to_mut::<u16>().1 };
        Self {
            n_in,
            n_rows,
            row,
            span,
            sums: sums.as_chunks_mut().0,
        }
    }

    /// Rows with those of zeros.
    fn n_tiled(&self) -> usize {
        self.n_rows.next_multiple_of(TILED)
    }

    /// The sums of all rows with group `g` of those multiplied last.
    pub(crate) fn sums(&mut self, g: usize) -> &mut [Sums] {
        let first = g * self.n_tiled();
        &mut self.sums[first..first + self.n_rows]
    }

    /// Gathers `n_steps` steps of all rows from column `first` on.
    fn gather(&mut self, first: usize, n_steps: usize) {
        assert!(first + n_steps * STEP <= self.n_in);
        let n_tiles = self.n_tiled() / TILED;
        let tiles = self.span.chunks_exact_mut(n_steps * TILE);
        for (t, tile) in tiles.take(n_tiles).enumerate() {
            for r in 0..TILED {
                let steps = tile[r * STEP..].chunks_mut(TILE);
                if t * TILED + r >= self.n_rows {
                    steps.for_each(|step| step[..STEP].fill(0));
                    continue;
                }
                let row = (self.row)(t * TILED + r).cast::<[u16; STEP]>();
                for (s, step) in steps.enumerate() {
                    // SAFETY: the row has these columns (asserted; the row promised by the caller
                    // of `new`).
                    let from = unsafe { row.add(first / STEP + s).read_unaligned() };
                    step[..STEP].copy_from_slice(&from);
                }
            }
        }
    }
}

/// `sums(g)[t][r] = w[g][r] · x[t]` for the 16 rows of some groups and the rows of a panel.
///
/// # Safety
/// The CPU has the instruction set of `S` and tiles that this process may use; each of `groups` points to
/// a group in the layout of `F`, of as many columns as the panel.
///
/// # Panics
/// When there are more than [`MAX_GROUPS`].
#[inline(always)]
pub(super) unsafe fn dot_bf16<S: Bf16Tiles, F: Format>(
    groups: &[*const u8],
    panel: &mut Bf16Panel<'_>,
) {
    let n_tiled = panel.n_tiled();
    let n_tiles = n_tiled / TILED;
    let n_units = groups.len().div_ceil(GROUPS) * panel.n_in.div_ceil(SPAN);
    panel.sums[..groups.len() * n_tiled].fill([0.0; GROUP_ROWS]);
    // Those of a unit and of the next one.
    let mut weights = Aligned([[0; GROUPS * SPAN / STEP * TILE]; 2]);
    // SAFETY: promised by the caller; offsets are those of the layout and of the panel.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        let first = Unit::of(groups, panel.n_in, 0);
        for i in 0..first.n_blocks() {
            first.store_block::<S, F>(&tables, i, &mut weights.0[0]);
        }
        // Until they are dropped nothing is called that might use tiles.
        let tiles = S::configure(STEP * size_of::<u16>());
        for u in 0..n_units {
            let unit = Unit::of(groups, panel.n_in, u);
            if unit.first_group == 0 {
                panel.gather(unit.first, unit.n_steps);
            }
            let next = (u + 1 < n_units).then(|| Unit::of(groups, panel.n_in, u + 1));
            for t in 0..n_tiles {
                let a = panel.span.as_ptr().add(t * unit.n_steps * TILE);
                let operands = (a, weights.0[u % 2].as_ptr());
                let shape = (unit.groups.len(), unit.n_steps);
                let c = panel.sums[unit.first_group * n_tiled + t * TILED..].as_mut_ptr();
                let c_step = n_tiled * size_of::<Sums>();
                S::add_products(&tiles, operands, shape, c.cast(), c_step);
                // What follows does not wait for these products.
                if let Some(next) = &next {
                    let n = next.n_blocks();
                    for i in t * n / n_tiles..(t + 1) * n / n_tiles {
                        next.store_block::<S, F>(&tables, i, &mut weights.0[(u + 1) % 2]);
                    }
                }
            }
        }
    }
}

/// Weights that are multiplied with all rows of a panel before others: a span of some groups.
struct Unit<'a> {
    groups: &'a [*const u8],
    first_group: usize,
    /// First column.
    first: usize,
    n_steps: usize,
}

impl<'a> Unit<'a> {
    /// Unit `u` of groups of `n_in` columns: all groups of a span, then those of the next.
    fn of(groups: &'a [*const u8], n_in: usize, u: usize) -> Self {
        let per_span = groups.len().div_ceil(GROUPS);
        let (first, first_group) = (u / per_span * SPAN, u % per_span * GROUPS);
        Self {
            groups: &groups[first_group..groups.len().min(first_group + GROUPS)],
            first_group,
            first,
            n_steps: SPAN.min(n_in - first) / STEP,
        }
    }

    /// Blocks of weights, each of which makes a tile.
    fn n_blocks(&self) -> usize {
        self.n_steps * self.groups.len()
    }

    /// Makes the tile of block `i`: those of all groups for a step, then for the next.
    ///
    /// # Safety
    /// As [`dot_bf16`]; the groups have these columns.
    #[inline(always)]
    unsafe fn store_block<S: Bf16Tiles, F: Format>(
        &self,
        tables: &<F::Codes as Unpack>::Tables<S>,
        i: usize,
        to: &mut [u16; GROUPS * SPAN / STEP * TILE],
    ) {
        let (step, group) = (i / self.groups.len(), self.groups[i % self.groups.len()]);
        let to = &mut to.as_chunks_mut().0[i];
        // SAFETY: promised by the caller.
        unsafe { store_pairs::<S, F>(tables, group, self.first / STEP + step, to) };
    }
}

/// The tile of block `b` of a group.
///
/// # Safety
/// As [`dot_bf16`]; the group has that block.
#[inline(always)]
unsafe fn store_pairs<S: Bf16Tiles, F: Format>(
    tables: &<F::Codes as Unpack>::Tables<S>,
    group: *const u8,
    b: usize,
    to: &mut [u16; TILE],
) {
    let layout = F::LAYOUT;
    let to = to.as_mut_ptr();
    // SAFETY: promised by the caller; a tile has sixteen rows of pairs.
    unsafe {
        let block = group.add(layout.group_meta_bytes() + b * F::BLOCK_BYTES);
        let scales = S::scales(block_scales::<S, F>(group, block));
        let quads = signed::<S, F>(tables, block, 0);
        // Two loops so short that they are unrolled: quads stay in registers.
        for q in 0..quads.len() {
            S::store(S::pair::<0>(quads[q], &scales), to.add(2 * q * STEP).cast());
        }
        for q in 0..quads.len() {
            let to = to.add((2 * q + 1) * STEP);
            S::store(S::pair::<1>(quads[q], &scales), to.cast());
        }
    }
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;
