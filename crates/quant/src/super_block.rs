//! Encoding weights into sub-blocks with integer scales and a choice of two tables.

use half::f16;

use crate::importance::{column_importance, fill_importance, mean_square};
use crate::linear_fit::extreme;
use crate::table_fit::{Alphabet, TableFit};

/// Weights of a super-block.
pub(crate) const SUPER_BLOCK: usize = 256;

/// Times that integer scales and `d` follow each other. ik_llama.cpp rounds the scales once and
/// keeps them; where one weight stretches the range of all scales, two passes lose up to six
/// percent less, on gaussian rows a few thousandths; four are hardly better.
const PASSES: usize = 2;

/// The integers a format has for scales of sub-blocks.
#[derive(Clone, Copy)]
pub(crate) enum ScaleGrid {
    /// All from the least, which is negative, to the largest.
    Signed(i32, i32),
    /// Odd ones from minus to plus the largest: there is no zero.
    Odd(i32),
}

impl ScaleGrid {
    /// The distance of neighbours.
    fn step(self) -> i32 {
        match self {
            Self::Signed(..) => 1,
            Self::Odd(_) => 2,
        }
    }

    fn contains(self, scale: i32) -> bool {
        match self {
            Self::Signed(least, largest) => (least..=largest).contains(&scale),
            Self::Odd(largest) => scale.abs() <= largest,
        }
    }

    /// The factor d with which the fitted scale of largest magnitude gets the integer of
    /// largest magnitude.
    pub(crate) fn unit(self, fitted: &[f32]) -> f32 {
        match self {
            Self::Signed(least, _) => extreme(fitted) / least as f32,
            Self::Odd(largest) => extreme(fitted).abs() / largest as f32,
        }
    }

    /// The integer nearest to a fitted scale in units of d.
    pub(crate) fn nearest(self, fitted: f32, d: f32) -> i32 {
        let inverse = inverse(d);
        match self {
            Self::Signed(least, largest) => {
                ((fitted * inverse).round() as i32).clamp(least, largest)
            }
            Self::Odd(largest) => {
                let half = (0.5 * (fitted.abs() * inverse - 1.0)).round();
                let magnitude = 2 * (half as i32).clamp(0, largest / 2) + 1;
                if fitted < 0.0 { -magnitude } else { magnitude }
            }
        }
    }

    /// A scale and its neighbours within the grid.
    pub(crate) fn around(self, scale: i32) -> impl Iterator<Item = i32> {
        let near = [scale, scale - self.step(), scale + self.step()];
        near.into_iter().filter(move |&scale| self.contains(scale))
    }
}

/// What a format of this family adds to the common search.
pub(crate) struct Scheme<A, const TABLES: usize> {
    /// The base table and, where there is a choice, the shifted one.
    pub(crate) tables: [A; TABLES],
    /// Trial scales on either side of the start, and their distance in table units.
    pub(crate) trials: (i32, f32),
    /// Integer scales.
    pub(crate) scales: ScaleGrid,
    /// Factor on the fitted `d`.
    pub(crate) stretch: f32,
}

/// Encoded weights before their bits are packed, in sub-blocks of `S`.
pub(crate) struct Encoded<const S: usize> {
    pub(crate) d: f32,
    /// Integer scales.
    pub(crate) scales: Vec<i32>,
    /// Whether a sub-block uses the shifted table.
    pub(crate) shifted: Vec<bool>,
    pub(crate) codes: Vec<[u8; S]>,
}

impl<const S: usize> Encoded<S> {
    /// Bit k: sub-block k uses the shifted table.
    pub(crate) fn shifted_bits(&self) -> u16 {
        let bits = self.shifted.iter().enumerate();
        bits.fold(0, |bits, (k, &shifted)| bits | u16::from(shifted) << k)
    }

    /// `d` as the two bytes of an f16.
    pub(crate) fn d_f16(&self) -> [u8; 2] {
        f16::from_f32(self.d).to_le_bytes()
    }
}

impl<A: Alphabet, const TABLES: usize> Scheme<A, TABLES> {
    /// Encodes `x` with the importances `w`; all sub-blocks share one `d`.
    pub(crate) fn encode<const S: usize>(&self, x: &[f32], w: &[f32]) -> Encoded<S> {
        let (x, _) = x.as_chunks::<S>();
        let (w, _) = w.as_chunks::<S>();
        let search = |(x, w)| TableFit::search(&self.tables, x, w, self.trials);
        let fits: Vec<TableFit> = x.iter().zip(w).map(search).collect();
        let fitted: Vec<f32> = fits.iter().map(|fit| fit.d).collect();
        let mut d = self.scales.unit(&fitted);
        let start = |fit: &TableFit| Choice::new(self.scales.nearest(fit.d, d), fit.shifted);
        let mut choices: Vec<Choice> = fits.iter().map(start).collect();
        for _ in 0..PASSES {
            let (mut s1, mut s2) = (0.0, 0.0);
            for ((choice, x), w) in choices.iter_mut().zip(x).zip(w) {
                *choice = self.settle(*choice, d, x, w);
                s1 += choice.s1;
                s2 += choice.s2;
            }
            d = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        }
        self.assign(&choices, d, x, w)
    }

    /// The integer scale next to the one chosen, and the table, of least error with `d`.
    fn settle<const S: usize>(&self, chosen: Choice, d: f32, x: &[f32; S], w: &[f32; S]) -> Choice {
        let (mut best, mut best_gain) = (chosen, f32::NEG_INFINITY);
        for scale in self.scales.around(chosen.scale) {
            for (table, shifted) in self.tables.iter().zip([false, true]) {
                let (s1, s2) = table.sums(x, w, inverse(d * scale as f32));
                let (s1, s2) = (s1 * scale as f32, s2 * (scale * scale) as f32);
                // By how much Σ w·(x − d·v)² is below Σ w·x².
                let gain = d * (2.0 * s1 - d * s2);
                if gain > best_gain {
                    (best, best_gain) = (
                        Choice {
                            scale,
                            shifted,
                            s1,
                            s2,
                        },
                        gain,
                    );
                }
            }
        }
        best
    }

    /// The nearest codes for the choices and the `d` that then fits best.
    fn assign<const S: usize>(
        &self,
        choices: &[Choice],
        d: f32,
        x: &[[f32; S]],
        w: &[[f32; S]],
    ) -> Encoded<S> {
        let (mut s1, mut s2) = (0.0, 0.0);
        let mut codes = Vec::with_capacity(choices.len());
        for ((choice, x), w) in choices.iter().zip(x).zip(w) {
            let table = &self.tables[usize::from(choice.shifted)];
            let found = table.codes(x, w, inverse(d * choice.scale as f32));
            for j in 0..S {
                let value = (choice.scale * table.value(found[j], j)) as f32;
                s1 += w[j] * value * x[j];
                s2 += w[j] * value * value;
            }
            codes.push(found);
        }
        let d = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        Encoded {
            d: self.stretch * d,
            scales: choices.iter().map(|choice| choice.scale).collect(),
            shifted: choices.iter().map(|choice| choice.shifted).collect(),
            codes,
        }
    }
}

/// What a sub-block has got so far, and its share in S1 and S2 of all.
#[derive(Clone, Copy)]
struct Choice {
    scale: i32,
    shifted: bool,
    s1: f32,
    s2: f32,
}

impl Choice {
    fn new(scale: i32, shifted: bool) -> Self {
        let (s1, s2) = (0.0, 0.0);
        Self {
            scale,
            shifted,
            s1,
            s2,
        }
    }
}

/// 1/`scale`; zero for zero, so that all weights get the code nearest to zero.
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Importances of the weights of a super-block: those of an imatrix damped towards equal ones
/// by the block's own spread, or what `alone` says of a weight when there is no imatrix.
pub(crate) fn weights(
    x: &[f32; SUPER_BLOCK],
    importance: Option<&[f32]>,
    sigma2: f32,
    alone: impl Fn(f32) -> f32,
) -> [f32; SUPER_BLOCK] {
    let Some(importance) = importance else {
        return x.map(alone);
    };
    let mut w = column_importance::<SUPER_BLOCK>(importance);
    for (w, x) in w.iter_mut().zip(x) {
        *w *= (sigma2 + x * x).sqrt();
    }
    w
}

/// The same of a row whose sub-blocks share one scale: importances are relative to the largest
/// of the row, and σ² is `spread` times the mean square of each super-block.
pub(crate) fn row_weights(
    x: &[f32],
    importance: Option<&[f32]>,
    spread: f32,
    alone: impl Fn(f32, f32) -> f32,
) -> Vec<f32> {
    let mut w = vec![1.0; x.len()];
    if let Some(importance) = importance {
        fill_importance(importance, &mut w);
    }
    for (x, w) in x.chunks(SUPER_BLOCK).zip(w.chunks_mut(SUPER_BLOCK)) {
        let sigma2 = spread * mean_square(x);
        for (w, &x) in w.iter_mut().zip(x) {
            *w *= match importance {
                Some(_) => (sigma2 + x * x).sqrt(),
                None => alone(sigma2, x),
            };
        }
    }
    w
}
