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
    /// Midway between each value and the next; the last has none.
    thresholds: [f32; N],
    /// Next value minus this one.
    rises: [f32; N],
}

impl<const N: usize> Levels<N> {
    pub(crate) const fn new(table: &[i8; N]) -> Self {
        let mut thresholds = [f32::INFINITY; N];
        let mut rises = [0.0; N];
        let mut i = 0;
        while i + 1 < N {
            let (low, high) = (table[i] as f32, table[i + 1] as f32);
            thresholds[i] = 0.5 * (low + high);
            rises[i] = high - low;
            i += 1;
        }
        Self {
            first: table[0] as f32,
            thresholds,
            rises,
        }
    }

    /// The codes of the values nearest to `inverse · x`.
    pub(crate) fn codes<const M: usize>(&self, x: &[f32; M], inverse: f32) -> [u8; M] {
        let thresholds = &self.thresholds[..N - 1];
        x.map(|x| thresholds.iter().map(|&t| u8::from(x * inverse >= t)).sum())
    }

    /// The nearest values to `inverse · x`; of two equally near ones the larger.
    fn nearest<const M: usize>(&self, x: &[f32; M], inverse: f32) -> [f32; M] {
        let mut values = [0.0; M];
        // One weight's whole climb at a time: this is the order that becomes vector code.
        for (value, x) in values.iter_mut().zip(x) {
            let scaled = x * inverse;
            *value = self.first;
            for i in 0..N - 1 {
                *value += if scaled >= self.thresholds[i] {
                    self.rises[i]
                } else {
                    0.0
                };
            }
        }
        values
    }

    /// S1 and S2 of the nearest values.
    pub(crate) fn sums<const M: usize>(
        &self,
        x: &[f32; M],
        w: &[f32; M],
        inverse: f32,
    ) -> (f32, f32) {
        let values = self.nearest(x, inverse);
        let (mut s1, mut s2) = ([0.0_f32; 8], [0.0_f32; 8]);
        for j in 0..M {
            let wv = w[j] * values[j];
            s1[j % 8] += wv * x[j];
            s2[j % 8] += wv * values[j];
        }
        (s1.iter().sum(), s2.iter().sum())
    }
}

/// Both tables of a type, prepared.
pub(crate) const fn levels<const N: usize>(tables: &[[i8; N]; 2]) -> [Levels<N>; 2] {
    [Levels::new(&tables[0]), Levels::new(&tables[1])]
}

/// The scale and the table of one sub-block.
#[derive(Clone, Copy, Default)]
pub(crate) struct TableFit {
    pub(crate) d: f32,
    pub(crate) shifted: bool,
    score: f32,
}

impl TableFit {
    /// The best fit to `x` with importances `w` by `trials.0` scales on either side of the one
    /// that maps the extreme weight to the first value, `trials.1` table units apart, with both
    /// signs and the one or two tables; then codes and scale follow each other once.
    pub(crate) fn search<const N: usize, const M: usize>(
        levels: &[Levels<N>],
        x: &[f32; M],
        w: &[f32; M],
        trials: (i32, f32),
    ) -> Self {
        let extreme = extreme(x);
        let mut best = Self::default();
        if extreme == 0.0 {
            return best;
        }
        for (levels, shifted) in levels.iter().zip([false, true]) {
            for t in -trials.0..=trials.0 {
                let inverse = (trials.1 * t as f32 + levels.first) / extreme;
                best.keep_better(Self::of(levels.sums(x, w, inverse), shifted));
                best.keep_better(Self::of(levels.sums(x, w, -inverse), shifted));
            }
        }
        if best.d != 0.0 {
            let sums = levels[usize::from(best.shifted)].sums(x, w, 1.0 / best.d);
            best.keep_better(Self::of(sums, best.shifted));
        }
        best
    }

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
