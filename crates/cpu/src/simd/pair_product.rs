//! [`Product`](super::Product) of integers of 16 bits: two steps at a time, sums exact.

use super::lanes::{LANES, Lanes, Pair};
#[cfg(target_arch = "x86_64")]
use super::pair_tiles;
use super::product::Start;
use super::{Isa, Kernel};

/// Rows of a tile, and pairs of a row of one that has a byte of each integer.
pub(super) const TILE_ROWS: usize = 16;
pub(super) const TILE_PAIRS: usize = 32;

/// `out[m, n] = start + Σ_k a[m, k] · b[k, n] · row_scales[m] · lane_scales[n]`, where a pair of
/// steps is one `k` and a product that of pairs. The sum must stay within i32, or it wraps; it is
/// rounded to a float once, then multiplied by the scale of the row, then added with one rounding
/// to the product with that of the lane.
///
/// Lanes come in whole sixteens, at distances as in [`Product`](super::Product).
pub(crate) struct PairProduct<'a> {
    /// Rows `m`.
    pub(crate) n_rows: usize,
    /// Pairs of steps.
    pub(crate) n_pairs: usize,
    /// Lanes `n`.
    pub(crate) n_lanes: usize,
    pub(crate) a: &'a [Pair],
    /// Distance of `a[m + 1, k]` and of `a[m, k + 1]` from `a[m, k]`.
    pub(crate) a_row_step: (usize, usize),
    pub(crate) b: &'a [Pair],
    /// Distance of steps, and of blocks of lanes, in `b`.
    pub(crate) b_step_block: (usize, usize),
    pub(crate) row_scales: &'a [f32],
    /// None is 1.
    pub(crate) lane_scales: Option<&'a [f32]>,
    pub(crate) start: Start<'a>,
    pub(crate) out: &'a mut [f32],
    /// Distance of rows, and of blocks of lanes, in `out`.
    pub(crate) out_row_block: (usize, usize),
    /// Memory for tiles, [`planes_len`](Self::planes_len); where there is less, there are no tiles.
    pub(crate) planes: &'a mut [Pair],
}

impl PairProduct<'_> {
    /// What tiles need as memory for `a`, whatever it holds.
    pub(crate) const fn planes_len(n_rows: usize, n_pairs: usize) -> usize {
        n_rows.next_multiple_of(TILE_ROWS) * n_pairs.next_multiple_of(TILE_PAIRS)
    }

    /// # Panics
    /// When an operand is too short, or lanes are no whole sixteens.
    pub(crate) fn run_on(mut self, isa: Isa) {
        if self.n_rows == 0 || self.n_lanes == 0 {
            return;
        }
        self.check();
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Amx && pair_tiles::suit(&self) {
            assert!(isa.is_usable());
            // SAFETY: the CPU has tiles, and the product suits them; operands are long enough.
            unsafe { pair_tiles::run(&mut self) };
            return;
        }
        isa.run(Checked(self));
    }

    /// # Panics
    /// When an operand is too short, or lanes are no whole sixteens.
    fn check(&self) {
        assert!(self.n_lanes.is_multiple_of(LANES));
        let lanes = |block| (self.n_lanes / LANES - 1) * block + LANES - 1;
        let (rows, pairs) = (self.n_rows - 1, self.n_pairs.saturating_sub(1));
        let (a_row, a_step) = self.a_row_step;
        let (b_step, b_block) = self.b_step_block;
        let (out_row, out_block) = self.out_row_block;
        assert!(rows * out_row + lanes(out_block) < self.out.len());
        assert!(self.n_pairs == 0 || rows * a_row + pairs * a_step < self.a.len());
        assert!(self.n_pairs == 0 || pairs * b_step + lanes(b_block) < self.b.len());
        assert!(self.n_rows <= self.row_scales.len());
        assert!(
            self.lane_scales
                .is_none_or(|scales| self.n_lanes <= scales.len())
        );
        match self.start {
            Start::Zero | Start::Out => {}
            Start::Rows(factors) => assert!(self.n_rows <= factors.len()),
            Start::Lanes(factors) => assert!(self.n_lanes <= factors.len()),
        }
    }
}

/// A product whose operands are as long as its loops need.
struct Checked<'a>(PairProduct<'a>);

impl Kernel for Checked<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let product = &mut self.0;
        let n_blocks = product.n_lanes / LANES;
        // SAFETY: passed on from the caller.
        unsafe {
            let mut block = 0;
            while L::MANY_REGISTERS && block + 2 <= n_blocks {
                columns::<L, 2>(product, block);
                block += 2;
            }
            while block < n_blocks {
                columns::<L, 1>(product, block);
                block += 1;
            }
        }
    }
}

/// The sums of `W` blocks of lanes.
///
/// # Safety
/// The CPU has the instruction set of `L`, and the blocks exist.
#[inline(always)]
unsafe fn columns<L: Lanes, const W: usize>(product: &mut PairProduct<'_>, block: usize) {
    let mut row = 0;
    // SAFETY: rows below `n_rows`; the rest is promised by the caller.
    unsafe {
        if L::MANY_REGISTERS {
            while row + 8 <= product.n_rows {
                sums::<L, 8, W>(product, block, row);
                row += 8;
            }
        }
        while row + 4 <= product.n_rows {
            sums::<L, 4, W>(product, block, row);
            row += 4;
        }
        while row < product.n_rows {
            sums::<L, 1, W>(product, block, row);
            row += 1;
        }
    }
}

/// The sums of `M` rows, kept in registers.
///
/// # Safety
/// The CPU has the instruction set of `L`; the lanes and `M` rows from `row` exist in operands of
/// the length that [`PairProduct::check`] asserts.
#[inline(always)]
unsafe fn sums<L: Lanes, const M: usize, const W: usize>(
    product: &mut PairProduct<'_>,
    block: usize,
    row: usize,
) {
    let (a_row, a_step) = product.a_row_step;
    let (b_step, b_block) = product.b_step_block;
    // SAFETY: the elements of the rows, steps and lanes named are inside (promised by the
    // caller), and a `Pair` may lie anywhere.
    unsafe {
        let mut sums = [[L::no_ints(); W]; M];
        let mut a = product.a.as_ptr().wrapping_add(row * a_row);
        let mut b = product.b.as_ptr().wrapping_add(block * b_block);
        for _ in 0..product.n_pairs {
            for m in 0..M {
                let pair = *a.add(m * a_row);
                for w in 0..W {
                    sums[m][w] = L::add_pairs(sums[m][w], pair, &*b.add(w * b_block).cast());
                }
            }
            // The last of these may lead outside; nothing is read there.
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(b_step);
        }
        for m in 0..M {
            for w in 0..W {
                finish::<L>(product, (row + m, block + w), sums[m][w]);
            }
        }
    }
}

/// Writes what the sums of a row and of the lanes of a block give.
///
/// # Safety
/// The CPU has the instruction set of `L`; the row and the block exist in operands of the length that
/// [`PairProduct::check`] asserts.
#[inline(always)]
pub(super) unsafe fn finish<L: Lanes>(
    product: &mut PairProduct<'_>,
    (row, block): (usize, usize),
    sums: L::Ints,
) {
    let (out_row, out_block) = product.out_row_block;
    let lane = block * LANES;
    // SAFETY: promised by the caller.
    unsafe {
        let out = product
            .out
            .as_mut_ptr()
            .add(row * out_row + block * out_block);
        let out = &mut *out.cast::<[f32; LANES]>();
        let start = match product.start {
            Start::Zero => L::splat(0.0),
            Start::Out => L::load(out),
            Start::Rows(factors) => L::load(out).mul(L::splat(factors[row])),
            Start::Lanes(factors) => L::load(out).mul(L::load(&*factors.as_ptr().add(lane).cast())),
        };
        let scaled = L::from_ints(sums).mul(L::splat(product.row_scales[row]));
        let sum = match product.lane_scales {
            Some(scales) => start.fma(scaled, L::load(&*scales.as_ptr().add(lane).cast())),
            None => start.add(scaled),
        };
        sum.store(out);
    }
}

#[cfg(test)]
mod tests;
