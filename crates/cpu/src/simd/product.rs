//! The product of a matrix whose elements are spread over the lanes one at a time, and one whose
//! rows lie in the lanes: no sum crosses lanes, and an element is loaded once for many sums.

use super::lanes::{LANES, Lanes};
use super::{Isa, Kernel};

/// Steps summed before the next rows have their turn: the lanes of these stay in the first
/// cache, two blocks of sixteen by 128 being 16 KiB.
const STEPS: usize = 128;

/// `out[m, n] = start + Σ_k a[m, k] · b[k, n]`, in ascending order of `k`.
///
/// Lanes `n` come in blocks of 16 (the last may have fewer), so that rows can be in one piece or
/// packed: lane `n` of a row is at distance `n / 16 · block + n % 16` from the row's start.
pub(crate) struct Product<'a> {
    /// Rows `m`.
    pub(crate) n_rows: usize,
    /// Terms `k` of each sum.
    pub(crate) n_steps: usize,
    /// Lanes `n`.
    pub(crate) n_lanes: usize,
    pub(crate) a: &'a [f32],
    /// Distance of `a[m + 1, k]` and of `a[m, k + 1]` from `a[m, k]`.
    pub(crate) a_row_step: (usize, usize),
    pub(crate) b: &'a [f32],
    /// Distance of steps, and of blocks of lanes, in `b`.
    pub(crate) b_step_block: (usize, usize),
    pub(crate) start: Start<'a>,
    pub(crate) out: &'a mut [f32],
    /// Distance of rows, and of blocks of lanes, in `out`.
    pub(crate) out_row_block: (usize, usize),
}

/// What the sums of a [`Product`] begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing; `out` is overwritten.
    Zero,
    /// `out`.
    Out,
    /// `out[m, n] · factors[m]`.
    Rows(&'a [f32]),
    /// `out[m, n] · factors[n]`.
    Lanes(&'a [f32]),
}

impl Product<'_> {
    /// # Panics
    /// When an operand is too short.
    pub(crate) fn run_on(self, isa: Isa) {
        if self.n_rows == 0 || self.n_lanes == 0 {
            return;
        }
        let lanes = |block| (self.n_lanes - 1) / LANES * block + (self.n_lanes - 1) % LANES;
        let (rows, steps) = (self.n_rows - 1, self.n_steps.saturating_sub(1));
        let (a_row, a_step) = self.a_row_step;
        let (b_step, b_block) = self.b_step_block;
        let (out_row, out_block) = self.out_row_block;
        assert!(rows * out_row + lanes(out_block) < self.out.len());
        assert!(self.n_steps == 0 || rows * a_row + steps * a_step < self.a.len());
        assert!(self.n_steps == 0 || steps * b_step + lanes(b_block) < self.b.len());
        match self.start {
            Start::Zero | Start::Out => {}
            Start::Rows(factors) => assert!(self.n_rows <= factors.len()),
            Start::Lanes(factors) => assert!(self.n_lanes <= factors.len()),
        }
        isa.run(Checked(self));
    }
}

/// A product whose operands are as long as its loops need.
struct Checked<'a>(Product<'a>);

impl Kernel for Checked<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let product = &mut self.0;
        let (n_blocks, tail) = (product.n_lanes / LANES, product.n_lanes % LANES);
        // SAFETY: passed on from the caller.
        unsafe {
            let mut block = 0;
            while L::MANY_REGISTERS && block + 2 <= n_blocks {
                columns::<L, 2>(product, block, LANES);
                block += 2;
            }
            while block < n_blocks {
                columns::<L, 1>(product, block, LANES);
                block += 1;
            }
            if tail > 0 {
                columns::<L, 1>(product, block, tail);
            }
        }
    }
}

/// The sums of `W` blocks of lanes, of which the last has `width` lanes.
///
/// # Safety
/// The CPU has the instruction set of `L`, and the blocks exist.
#[inline(always)]
unsafe fn columns<L: Lanes, const W: usize>(product: &mut Product<'_>, block: usize, width: usize) {
    let mut first = 0;
    loop {
        let end = product.n_steps.min(first + STEPS);
        let tile = Tile {
            block,
            width,
            steps: (first, end),
        };
        let mut row = 0;
        // SAFETY: rows below `n_rows`, steps below `n_steps`; the rest is promised by the caller.
        unsafe {
            if L::MANY_REGISTERS {
                while row + 8 <= product.n_rows {
                    sums::<L, 8, W>(product, tile, row);
                    row += 8;
                }
            } else {
                while row + 6 <= product.n_rows {
                    sums::<L, 6, W>(product, tile, row);
                    row += 6;
                }
            }
            if row + 4 <= product.n_rows {
                sums::<L, 4, W>(product, tile, row);
                row += 4;
            }
            if row + 2 <= product.n_rows {
                sums::<L, 2, W>(product, tile, row);
                row += 2;
            }
            if row < product.n_rows {
                sums::<L, 1, W>(product, tile, row);
            }
        }
        if end == product.n_steps {
            return;
        }
        first = end;
    }
}

/// Some lanes and some steps.
#[derive(Clone, Copy)]
struct Tile {
    block: usize,
    width: usize,
    steps: (usize, usize),
}

/// Adds the steps of a tile to the sums of `M` rows, kept in registers.
///
/// # Safety
/// The CPU has the instruction set of `L`; the lanes, the steps and `M` rows from `row` exist in
/// operands of the length that [`Product::run_on`] asserts.
#[inline(always)]
unsafe fn sums<L: Lanes, const M: usize, const W: usize>(
    product: &mut Product<'_>,
    tile: Tile,
    row: usize,
) {
    let (a_row, a_step) = product.a_row_step;
    let (b_step, b_block) = product.b_step_block;
    let (out_row, out_block) = product.out_row_block;
    let (first, end) = tile.steps;
    let start = if first == 0 {
        product.start
    } else {
        Start::Out
    };
    // SAFETY: the elements of the rows, steps and lanes named are inside (promised by the
    // caller); reads and writes of a block with fewer than 16 lanes touch `width` only.
    unsafe {
        let out = product
            .out
            .as_mut_ptr()
            .add(row * out_row + tile.block * out_block);
        let mut sums = [[L::splat(0.0); W]; M];
        if !matches!(start, Start::Zero) {
            for m in 0..M {
                for w in 0..W {
                    let old = load::<L>(out.add(m * out_row + w * out_block), tile.width);
                    sums[m][w] = match start {
                        Start::Rows(factors) => old.mul(L::splat(factors[row + m])),
                        Start::Lanes(factors) => {
                            let at = (tile.block + w) * LANES;
                            old.mul(load::<L>(factors.as_ptr().add(at), tile.width))
                        }
                        Start::Zero | Start::Out => old,
                    };
                }
            }
        }
        let mut a = product
            .a
            .as_ptr()
            .wrapping_add(row * a_row + first * a_step);
        let mut b = product
            .b
            .as_ptr()
            .wrapping_add(first * b_step + tile.block * b_block);
        for _ in first..end {
            let mut lanes = [L::splat(0.0); W];
            for w in 0..W {
                lanes[w] = load::<L>(b.add(w * b_block), tile.width);
            }
            for m in 0..M {
                let element = L::splat(*a.add(m * a_row));
                for w in 0..W {
                    sums[m][w] = sums[m][w].fma(element, lanes[w]);
                }
            }
            // The last of these may lead outside; nothing is read there.
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(b_step);
        }
        for m in 0..M {
            for w in 0..W {
                let out = out.add(m * out_row + w * out_block);
                if tile.width == LANES {
                    sums[m][w].store(&mut *out.cast());
                } else {
                    let mut lanes = [0.0; LANES];
                    sums[m][w].store(&mut lanes);
                    out.copy_from_nonoverlapping(lanes.as_ptr(), tile.width);
                }
            }
        }
    }
}

/// `width` lanes from `from`, the others zero.
///
/// # Safety
/// The CPU has the instruction set of `L`, and `width` floats can be read.
#[inline(always)]
unsafe fn load<L: Lanes>(from: *const f32, width: usize) -> L {
    // SAFETY: promised by the caller.
    unsafe {
        if width == LANES {
            return L::load(&*from.cast());
        }
        let mut lanes = [0.0; LANES];
        lanes.as_mut_ptr().copy_from_nonoverlapping(from, width);
        L::load(&lanes)
    }
}

#[cfg(test)]
mod tests;
