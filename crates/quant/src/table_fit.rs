//! Scale of a sub-block of 16 weights whose codes index a table: x ≈ d·table\[q\], with a
//! second table, the first plus a constant, to choose per sub-block.
//!
//! As in [`linear_fit`](crate::linear_fit) the search maximises S1²/S2 with S1 = Σ w·v·x and
//! S2 = Σ w·v², where v are the table values nearest to x times a trial inverse scale.

use crate::linear_fit::extreme;

/// Weights of one sub-block.
pub(crate) const SUB_BLOCK: usize = 16;

/// A sorted table prepared for finding the nearest value without branches.
pub(crate) struct Levels<const N: usize> {
    first: f32,
    /// Where the nearest value changes from `N−1` entries to the next; the last is never reached.
    thresholds: [f32; N],
    /// Next value minus this one.
    rises: [f32; N],
}

impl<const N: usize> Levels<N> {
    /// The `N` values of `table` from `start`.
    pub(crate) const fn new(table: &[i8], start: usize) -> Self {
        let mut thresholds = [f32::INFINITY; N];
        let mut rises = [0.0; N];
        let mut i = 0;
        while i + 1 < N {
            let (low, high) = (table[start + i] as f32, table[start + i + 1] as f32);
            thresholds[i] = 0.5 * (low + high);
            rises[i] = high - low;
            i += 1;
        }
        Self {
            first: table[start] as f32,
            thresholds,
            rises,
        }
    }

    /// The nearest values to `inverse · x`; of two equally near ones the larger.
    fn nearest(&self, x: &[f32; SUB_BLOCK], inverse: f32) -> [f32; SUB_BLOCK] {
        let scaled = x.map(|x| x * inverse);
        let mut values = [self.first; SUB_BLOCK];
        for i in 0..N - 1 {
            for j in 0..SUB_BLOCK {
                values[j] += if scaled[j] >= self.thresholds[i] {
                    self.rises[i]
                } else {
                    0.0
                };
            }
        }
        values
    }

    /// S1 and S2 of the nearest values.
    fn sums(&self, x: &[f32; SUB_BLOCK], w: &[f32; SUB_BLOCK], inverse: f32) -> (f32, f32) {
        let values = self.nearest(x, inverse);
        let (mut s1, mut s2) = ([0.0_f32; 8], [0.0_f32; 8]);
        for j in 0..SUB_BLOCK {
            let wv = w[j] * values[j];
            s1[j % 8] += wv * x[j];
            s2[j % 8] += wv * values[j];
        }
        (s1.iter().sum(), s2.iter().sum())
    }
}

/// The two tables of a type.
pub(crate) struct Tables<const N: usize> {
    pub(crate) base: Levels<N>,
    pub(crate) shifted: Levels<N>,
}

/// The scale and the table of one sub-block.
#[derive(Clone, Copy, Default)]
pub(crate) struct TableFit {
    pub(crate) d: f32,
    pub(crate) shifted: bool,
    score: f32,
}

impl<const N: usize> Tables<N> {
    /// The tables in the two halves of `table`.
    pub(crate) const fn new(table: &[i8]) -> Self {
        Self {
            base: Levels::new(table, 0),
            shifted: Levels::new(table, N),
        }
    }

    fn levels(&self, shifted: bool) -> &Levels<N> {
        if shifted { &self.shifted } else { &self.base }
    }

    /// Tries the scales that map the extreme weight to within `trials` steps of `step` table
    /// units of the table's end, with both signs and both tables, then lets codes and scale
    /// follow each other once.
    pub(crate) fn search(
        &self,
        x: &[f32; SUB_BLOCK],
        w: &[f32; SUB_BLOCK],
        trials: i32,
        step: f32,
    ) -> TableFit {
        let extreme = extreme(x);
        let mut best = TableFit::default();
        if extreme == 0.0 {
            return best;
        }
        for shifted in [false, true] {
            let levels = self.levels(shifted);
            for t in -trials..=trials {
                let inverse = (step * t as f32 + levels.first) / extreme;
                best.keep_better(TableFit::of(levels.sums(x, w, inverse), shifted));
                best.keep_better(TableFit::of(levels.sums(x, w, -inverse), shifted));
            }
        }
        if best.d != 0.0 {
            let sums = self.levels(best.shifted).sums(x, w, 1.0 / best.d);
            best.keep_better(TableFit::of(sums, best.shifted));
        }
        best
    }

    /// The codes of the values nearest to `x / scale`; nearest to zero where the scale is zero.
    pub(crate) fn codes(&self, x: &[f32; SUB_BLOCK], scale: f32, shifted: bool) -> [u8; SUB_BLOCK] {
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let thresholds = &self.levels(shifted).thresholds[..N - 1];
        x.map(|x| thresholds.iter().map(|&t| u8::from(x * inverse >= t)).sum())
    }
}

impl TableFit {
    fn of((s1, s2): (f32, f32), shifted: bool) -> Self {
        let d = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        let score = d * s1;
        Self { d, shifted, score }
    }

    fn keep_better(&mut self, other: Self) {
        if other.score > self.score {
            *self = other;
        }
    }
}
