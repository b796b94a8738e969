//! Encoding 256 weights into 16 sub-blocks with integer scales and a choice of two tables.

use half::f16;

use crate::importance::column_importance;
use crate::table_fit::{Levels, SUB_BLOCK, TableFit};

/// Weights of a super-block.
pub(crate) const SUPER_BLOCK: usize = 256;
/// Sub-blocks of a super-block.
pub(crate) const N_SUB_BLOCKS: usize = SUPER_BLOCK / SUB_BLOCK;

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
        let (scales, d) = (self.round_scales)(&fits.map(|fit| fit.d));
        let mut codes = [0; SUPER_BLOCK];
        let (mut s1, mut s2) = (0.0, 0.0);
        for (k, codes) in codes.as_chunks_mut::<SUB_BLOCK>().0.iter_mut().enumerate() {
            let shifted = usize::from(fits[k].shifted);
            *codes = self.levels[shifted].codes(&x[k], d * scales[k] as f32);
            let table = &self.table[shifted];
            for j in 0..SUB_BLOCK {
                let value = (scales[k] * i32::from(table[usize::from(codes[j])])) as f32;
                s1 += w[k][j] * value * x[k][j];
                s2 += w[k][j] * value * value;
            }
        }
        let d = if s2 > 0.0 { s1 / s2 } else { 0.0 };
        let mut shifted = 0;
        for (k, fit) in fits.iter().enumerate() {
            shifted |= u16::from(fit.shifted) << k;
        }
        SuperBlock {
            d: f16::from_f32(self.stretch * d),
            scales,
            shifted,
            codes,
        }
    }
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
