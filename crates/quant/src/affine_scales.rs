//! Encoding 256 weights into sub-blocks with an unsigned scale and an unsigned minimum each:
//! x ≈ d·S·q − dmin·M.

use half::f16;

use crate::affine_fit::AffineFit;
use crate::linear_fit::round;
use crate::super_block::SUPER_BLOCK;

/// What a format of this family adds to the common search.
pub(crate) struct AffineScales {
    /// Largest code.
    pub(crate) last_code: f32,
    /// Largest scale and largest minimum.
    pub(crate) last_scale: u8,
    /// Times that integer scales and the scales of the super-block follow each other.
    pub(crate) passes: usize,
}

/// An encoded super-block of `K` sub-blocks.
pub(crate) struct AffineBlock<const K: usize> {
    pub(crate) d: f16,
    pub(crate) dmin: f16,
    pub(crate) scales: [u8; K],
    pub(crate) mins: [u8; K],
    pub(crate) codes: [u8; SUPER_BLOCK],
}

impl AffineScales {
    /// The encoding of `x` (`K` sub-blocks of `L`) with importances `w`.
    pub(crate) fn encode<const L: usize, const K: usize>(
        &self,
        x: &[[f32; L]],
        w: &[[f32; L]],
    ) -> AffineBlock<K> {
        let fits: [AffineFit<L>; K] =
            std::array::from_fn(|k| AffineFit::search(&x[k], &w[k], self.last_code, 0.0));
        let last = f32::from(self.last_scale);
        let largest = |of: fn(&AffineFit<L>) -> f32| fits.iter().map(of).fold(0.0, f32::max);
        let mut d = rounded(largest(|fit| fit.scale) / last);
        let mut dmin = rounded(largest(|fit| -fit.offset) / last);
        let integer = |value: f32, unit: f32| (round(value * inverse(unit)).clamp(0.0, last)) as u8;
        let mut scales = fits.map(|fit| integer(fit.scale, d));
        let mut mins = fits.map(|fit| integer(-fit.offset, dmin));
        for pass in 0..self.passes {
            let mut normal = Normal::default();
            for k in 0..K {
                let sub_block = SubBlock {
                    x: &x[k],
                    w: &w[k],
                    n: self.last_code,
                };
                (scales[k], mins[k]) =
                    sub_block.choose((d, dmin), (scales[k], mins[k]), self.last_scale);
                if pass + 1 < self.passes {
                    sub_block.add_to(&mut normal, (d, dmin), (scales[k], mins[k]));
                }
            }
            if pass + 1 < self.passes {
                (d, dmin) = normal.solved((d, dmin));
            }
        }
        let mut codes = [0; SUPER_BLOCK];
        for (k, codes) in codes.as_chunks_mut::<L>().0.iter_mut().enumerate() {
            let (scale, min) = (d * f32::from(scales[k]), dmin * f32::from(mins[k]));
            *codes = nearest(&x[k], self.last_code, scale, min).map(|q| q as u8);
        }
        AffineBlock {
            d: f16::from_f32(d),
            dmin: f16::from_f32(dmin),
            scales,
            mins,
            codes,
        }
    }
}

/// What a decoder will read.
fn rounded(scale: f32) -> f32 {
    f16::from_f32(scale).to_f32()
}

/// 1/`scale`; zero for zero, so that all weights get code zero.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

fn nearest<const L: usize>(x: &[f32; L], n: f32, scale: f32, min: f32) -> [f32; L] {
    let inverse = inverse(scale);
    x.map(|x| round((x + min) * inverse).max(0.0).min(n))
}

struct SubBlock<'a, const L: usize> {
    x: &'a [f32; L],
    w: &'a [f32; L],
    n: f32,
}

impl<const L: usize> SubBlock<'_, L> {
    /// Σ w·(x − y)² with the nearest codes.
    fn error(&self, scale: f32, min: f32) -> f32 {
        let inverse = inverse(scale);
        let mut sums = [0.0_f32; 8];
        for j in 0..L {
            let x = self.x[j] + min;
            let e = x - scale * round(x * inverse).max(0.0).min(self.n);
            sums[j % 8] += self.w[j] * e * e;
        }
        sums.iter().sum()
    }

    /// The scale and minimum of least error among `chosen` and its eight neighbours.
    fn choose(&self, (d, dmin): (f32, f32), chosen: (u8, u8), last: u8) -> (u8, u8) {
        let error =
            |(scale, min): (u8, u8)| self.error(d * f32::from(scale), dmin * f32::from(min));
        let (mut best, mut least) = (chosen, error(chosen));
        for scale in chosen.0.saturating_sub(1)..=(chosen.0 + 1).min(last) {
            for min in chosen.1.saturating_sub(1)..=(chosen.1 + 1).min(last) {
                let error = error((scale, min));
                if error < least {
                    (best, least) = ((scale, min), error);
                }
            }
        }
        best
    }

    /// Adds the nearest codes' share in the equations for the scales of the super-block.
    fn add_to(&self, normal: &mut Normal, (d, dmin): (f32, f32), (scale, min): (u8, u8)) {
        let (scale, min) = (f32::from(scale), f32::from(min));
        let codes = nearest(self.x, self.n, d * scale, dmin * min);
        let (mut w1, mut q1, mut q2) = ([0.0_f32; 8], [0.0_f32; 8], [0.0_f32; 8]);
        let (mut x1, mut qx) = ([0.0_f32; 8], [0.0_f32; 8]);
        for j in 0..L {
            let (w, q, x) = (self.w[j], codes[j], self.x[j]);
            w1[j % 8] += w;
            q1[j % 8] += w * q;
            q2[j % 8] += w * q * q;
            x1[j % 8] += w * x;
            qx[j % 8] += w * q * x;
        }
        let sum = |sums: [f32; 8]| f64::from(sums.iter().sum::<f32>());
        let (scale, min) = (f64::from(scale), f64::from(min));
        normal.scale_scale += scale * scale * sum(q2);
        normal.scale_min += scale * min * sum(q1);
        normal.min_min += min * min * sum(w1);
        normal.scale_x += scale * sum(qx);
        normal.min_x += min * sum(x1);
    }
}

/// Sums of the equations for d and dmin that minimise Σ w·(x − d·S·q + dmin·M)².
#[derive(Default)]
struct Normal {
    scale_scale: f64,
    scale_min: f64,
    min_min: f64,
    scale_x: f64,
    min_x: f64,
}

impl Normal {
    /// The solution as f16s have it; `before` where there is none.
    fn solved(&self, before: (f32, f32)) -> (f32, f32) {
        let determinant = self.scale_scale * self.min_min - self.scale_min * self.scale_min;
        let solution = if determinant > 1e-9 * self.scale_scale * self.min_min {
            (
                (self.scale_x * self.min_min - self.min_x * self.scale_min) / determinant,
                (self.scale_x * self.scale_min - self.min_x * self.scale_scale) / determinant,
            )
        } else if self.scale_scale > 0.0 {
            let dmin = f64::from(before.1);
            (
                (self.scale_x + dmin * self.scale_min) / self.scale_scale,
                dmin,
            )
        } else {
            return before;
        };
        let solution = (rounded(solution.0 as f32), rounded(solution.1 as f32));
        if solution.0 > 0.0 && solution.1 >= 0.0 {
            solution
        } else {
            before
        }
    }
}
