//! Scale and offset of a block whose codes are evenly spaced: x ≈ scale·q + offset, 0 ≤ q ≤ n.
//!
//! For given codes both follow by weighted least squares. With u = x − x̄, x̄ the weighted mean,
//! the error is Σ w·u² less a score of S1²/S2, where S1 = Σ w·q·u and S2 = Σ w·q² − (Σ w·q)²/Σ w:
//! the search maximises that score over codes that come from a ladder of trial scales.

use crate::linear_fit::round;

/// Trial scales: from the one that maps the range of the weights to this many codes less than
/// there are ...
const FIRST_TRIAL: f32 = -0.9;
/// ... in steps of this many codes ...
const STEP: f32 = 0.1;
/// ... so many of them.
const TRIALS: usize = 24;
/// Times that codes and scale follow each other from the best trial; most blocks need two.
const MAX_SWEEPS: usize = 6;

/// Codes with their least-squares scale and offset.
#[derive(Clone, Copy)]
pub(crate) struct AffineFit<const N: usize> {
    /// Never negative.
    pub(crate) scale: f32,
    pub(crate) offset: f32,
    /// Whole numbers 0..=n.
    pub(crate) codes: [f32; N],
    score: f32,
}

impl<const N: usize> AffineFit<N> {
    /// The best fit to `x` with importances `w` for codes 0..=`n` and an offset of at most
    /// `largest_offset`, which is zero or infinite.
    pub(crate) fn search(x: &[f32; N], w: &[f32; N], n: f32, largest_offset: f32) -> Self {
        let task = Task::new(x, w, n, largest_offset);
        let (low, high) = x
            .iter()
            .fold((x[0], x[0]), |(low, high), &x| (low.min(x), high.max(x)));
        let low = low.min(largest_offset);
        let mut best = task.flat();
        if high <= low {
            return best;
        }
        for t in 0..TRIALS {
            let trial = n + FIRST_TRIAL + STEP * t as f32;
            best.keep_better(task.fit(task.codes(trial / (high - low), low)));
        }
        for _ in 0..MAX_SWEEPS {
            if best.scale == 0.0 {
                break;
            }
            let codes = task.codes(1.0 / best.scale, best.offset);
            if !best.keep_better(task.fit(codes)) {
                break;
            }
        }
        best
    }

    fn keep_better(&mut self, other: Self) -> bool {
        let better = other.score > self.score;
        if better {
            *self = other;
        }
        better
    }
}

/// A block with what does not depend on codes.
struct Task<'a, const N: usize> {
    x: &'a [f32; N],
    w: &'a [f32; N],
    n: f32,
    largest_offset: f32,
    /// Σ w.
    weight: f32,
    /// Σ w·x / Σ w.
    mean: f32,
    /// w·(x − mean).
    pull: [f32; N],
}

impl<'a, const N: usize> Task<'a, N> {
    fn new(x: &'a [f32; N], w: &'a [f32; N], n: f32, largest_offset: f32) -> Self {
        let weight: f32 = w.iter().sum();
        let mean = x.iter().zip(w).map(|(x, w)| w * x).sum::<f32>() / weight;
        Self {
            x,
            w,
            n,
            largest_offset,
            weight,
            mean,
            pull: std::array::from_fn(|j| w[j] * (x[j] - mean)),
        }
    }

    /// All codes zero.
    fn flat(&self) -> AffineFit<N> {
        let offset = self.mean.min(self.largest_offset);
        AffineFit {
            scale: 0.0,
            offset,
            codes: [0.0; N],
            score: -self.weight * (self.mean - offset) * (self.mean - offset),
        }
    }

    fn codes(&self, inverse: f32, offset: f32) -> [f32; N] {
        self.x
            .map(|x| round((x - offset) * inverse).max(0.0).min(self.n))
    }

    fn fit(&self, codes: [f32; N]) -> AffineFit<N> {
        let (mut q1, mut q2, mut s1) = ([0.0_f32; 8], [0.0_f32; 8], [0.0_f32; 8]);
        for j in 0..N {
            let wq = self.w[j] * codes[j];
            q1[j % 8] += wq;
            q2[j % 8] += wq * codes[j];
            s1[j % 8] += self.pull[j] * codes[j];
        }
        let (q1, q2, s1): (f32, f32, f32) = (q1.iter().sum(), q2.iter().sum(), s1.iter().sum());
        let s2 = q2 - q1 * q1 / self.weight;
        let scale = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        let offset = self.mean - scale * q1 / self.weight;
        if offset <= self.largest_offset {
            let score = scale * s1;
            return AffineFit {
                scale,
                offset,
                codes,
                score,
            };
        }
        // No offset: the scale is that of Σ w·(x − scale·q)².
        let s1 = s1 + self.mean * q1;
        let scale = if q2 > 0.0 { s1 / q2 } else { 0.0 };
        AffineFit {
            scale,
            offset: 0.0,
            codes,
            score: scale * s1 - self.weight * self.mean * self.mean,
        }
    }
}
