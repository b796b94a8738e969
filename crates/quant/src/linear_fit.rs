//! Scale of a block whose codes are evenly spaced: x ≈ d·q with −n ≤ q < n.
//!
//! For codes q the scale of least weighted error is d = S1/S2 with S1 = Σ w·q·x and
//! S2 = Σ w·q², and the error is Σ w·x² − S1²/S2: the search maximises the score S1²/S2 over
//! codes that come from a ladder of trial scales.

/// Trial scales on either side of the one that maps the extreme weight to the last code.
const TRIALS: i32 = 9;
/// Distance of trial scales, in codes of the extreme weight.
const STEP: f32 = 0.1;
/// Sweeps over the block after which refinement stops; most blocks need two.
const MAX_SWEEPS: usize = 8;

/// Codes with their least-squares scale.
#[derive(Clone, Copy)]
pub(crate) struct LinearFit<const N: usize> {
    pub(crate) d: f32,
    pub(crate) codes: [f32; N],
    score: f32,
}

impl<const N: usize> LinearFit<N> {
    /// The best fit to `x` with importances `w`, for codes −n..n. The extreme weight may take
    /// either end of the range: the negative one is a code longer, and the best place for that
    /// code may be the other sign.
    pub(crate) fn search(x: &[f32; N], w: &[f32; N], n: f32) -> Self {
        let mut best = Self {
            d: 0.0,
            codes: [0.0; N],
            score: 0.0,
        };
        let extreme = extreme(x);
        if extreme == 0.0 {
            return best;
        }
        for t in -TRIALS..=TRIALS {
            let ladder = STEP * t as f32;
            best.keep_better(Self::at(x, w, n, -(n + ladder) / extreme));
            best.keep_better(Self::at(x, w, n, (n - 1.0 + ladder) / extreme));
        }
        best.refine(x, w, n);
        best
    }

    /// The codes for one inverse scale and the scale that fits them.
    fn at(x: &[f32; N], w: &[f32; N], n: f32, inverse: f32) -> Self {
        let codes = x.map(|x| round(x * inverse).max(-n).min(n - 1.0));
        let (mut s1, mut s2) = ([0.0_f32; 8], [0.0_f32; 8]);
        for j in 0..N {
            let wq = w[j] * codes[j];
            s1[j % 8] += wq * x[j];
            s2[j % 8] += wq * codes[j];
        }
        Self::scored(codes, s1.iter().sum(), s2.iter().sum())
    }

    fn scored(codes: [f32; N], s1: f32, s2: f32) -> Self {
        let d = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        let score = d * s1;
        Self { d, codes, score }
    }

    fn keep_better(&mut self, other: Self) {
        if other.score > self.score {
            *self = other;
        }
    }

    /// Moves single codes by one while that raises the score: the nearest code is the best one
    /// for a given scale, but not once the scale follows the codes.
    fn refine(&mut self, x: &[f32; N], w: &[f32; N], n: f32) {
        for _ in 0..MAX_SWEEPS {
            let before = self.score;
            let (mut s1, mut s2) = (0.0, 0.0);
            for j in 0..N {
                s1 += w[j] * self.codes[j] * x[j];
                s2 += w[j] * self.codes[j] * self.codes[j];
            }
            for j in 0..N {
                let old = self.codes[j];
                // Towards the weight: the other neighbour is farther for this scale.
                let new = if x[j] > self.d * old {
                    old + self.d.signum()
                } else {
                    old - self.d.signum()
                };
                if new < -n || new >= n {
                    continue;
                }
                let t1 = s1 + w[j] * (new - old) * x[j];
                let t2 = s2 + w[j] * (new * new - old * old);
                if t2 > 0.0 && t1 * t1 / t2 > self.score {
                    (s1, s2) = (t1, t2);
                    self.codes[j] = new;
                    self.score = t1 * t1 / t2;
                    self.d = t1 / t2;
                }
            }
            if self.score <= before {
                break;
            }
        }
    }
}

/// The weight of largest magnitude, the first of equals.
pub(crate) fn extreme(x: &[f32]) -> f32 {
    x.iter()
        .fold(0.0, |m: f32, &x| if x.abs() > m.abs() { x } else { m })
}

/// Nearest integer, ties to even, for |x| < 2²². `f32::round_ties_even` is a call where the
/// baseline instruction set has no rounding.
pub(crate) fn round(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 · 2²³: the sum has no fraction bits
    (x + SHIFT) - SHIFT
}
