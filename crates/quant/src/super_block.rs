//! Encoding 256 weights into 16 sub-blocks with integer scales and a choice of two tables.

use half::f16;

use crate::importance::column_importance;
use crate::table_fit::{Levels, SUB_BLOCK, TableFit};

/// Weights of a super-block.
pub(crate) const SUPER_BLOCK: usize = 256;
/// Sub-blocks of a super-block.
pub(crate) const N_SUB_BLOCKS: usize = SUPER_BLOCK / SUB_BLOCK;

/// Times that integer scales and `d` follow each other. ik_llama.cpp rounds the scales once and
/// keeps them; where one weight stretches the range of all scales, two passes lose up to six
/// percent less, on gaussian rows a few thousandths; four are hardly better.
const PASSES: usize = 2;

/// What a format of this family adds to the common search.
pub(crate) struct Scheme<const N: usize> {
    /// The base table and the shifted one.
    pub(crate) table: &'static [[i8; N]; 2],
    /// The same, prepared for search.
    pub(crate) levels: [Levels<N>; 2],
    /// Trial scales on either side of the start, and their distance in table units.
    pub(crate) trials: (i32, f32),
    /// Integer scales for sub-block scales, and the factor that turns them back.
    pub(crate) round_scales: fn(&[f32; N_SUB_BLOCKS]) -> ([i32; N_SUB_BLOCKS], f32),
    /// The least and the largest integer scale, and their distance.
    pub(crate) scales: (i32, i32, i32),
    /// Factor on the fitted `d`.
    pub(crate) stretch: f32,
}

/// An encoded super-block before its bits are packed.
pub(crate) struct SuperBlock {
    pub(crate) d: f16,
    /// Integer scales.
    pub(crate) scales: [i32; N_SUB_BLOCKS],
    /// Bit k: sub-block k uses the shifted table.
    pub(crate) shifted: u16,
    pub(crate) codes: [u8; SUPER_BLOCK],
}

impl<const N: usize> Scheme<N> {
    /// Encodes `x` with the importances `w`.
    pub(crate) fn encode(&self, x: &[f32; SUPER_BLOCK], w: &[f32; SUPER_BLOCK]) -> SuperBlock {
        let (x, _) = x.as_chunks::<SUB_BLOCK>();
        let (w, _) = w.as_chunks::<SUB_BLOCK>();
        let mut fits = [TableFit::default(); N_SUB_BLOCKS];
        for ((fit, x), w) in fits.iter_mut().zip(x).zip(w) {
            *fit = TableFit::search(&self.levels, x, w, self.trials);
        }
        let (scales, mut d) = (self.round_scales)(&fits.map(|fit| fit.d));
        let mut choices: [Choice; N_SUB_BLOCKS] =
            std::array::from_fn(|k| Choice::new(scales[k], fits[k].shifted));
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
    fn settle(&self, chosen: Choice, d: f32, x: &[f32; SUB_BLOCK], w: &[f32; SUB_BLOCK]) -> Choice {
        let (least, largest, step) = self.scales;
        let (mut best, mut best_gain) = (chosen, f32::NEG_INFINITY);
        for scale in [chosen.scale, chosen.scale - step, chosen.scale + step] {
            if scale < least || scale > largest {
                continue;
            }
            for (levels, shifted) in self.levels.iter().zip([false, true]) {
                let (s1, s2) = levels.sums(x, w, inverse(d * scale as f32));
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
    fn assign(
        &self,
        choices: &[Choice; N_SUB_BLOCKS],
        d: f32,
        x: &[[f32; SUB_BLOCK]],
        w: &[[f32; SUB_BLOCK]],
    ) -> SuperBlock {
        let mut codes = [0; SUPER_BLOCK];
        let mut shifted = 0;
        let (mut s1, mut s2) = (0.0, 0.0);
        for (k, codes) in codes.as_chunks_mut::<SUB_BLOCK>().0.iter_mut().enumerate() {
            let choice = choices[k];
            let half = usize::from(choice.shifted);
            *codes = self.levels[half].codes(&x[k], inverse(d * choice.scale as f32));
            shifted |= u16::from(choice.shifted) << k;
            for j in 0..SUB_BLOCK {
                let value = i32::from(self.table[half][usize::from(codes[j])]);
                let value = (choice.scale * value) as f32;
                s1 += w[k][j] * value * x[k][j];
                s2 += w[k][j] * value * value;
            }
        }
        let d = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        SuperBlock {
            d: f16::from_f32(self.stretch * d),
            scales: choices.map(|choice| choice.scale),
            shifted,
            codes,
        }
    }
}

/// What a sub-block has got so far, and its share in S1 and S2 of the super-block.
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
fn inverse(scale: f32) -> f32 {
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
