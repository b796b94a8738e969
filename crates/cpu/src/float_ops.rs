//! The float operations between the matrix products.

use crate::simd::{Isa, Kernel, LANES, Lanes, exp, exp_lanes, sum_tree};

/// `out[i] = w[i] · x[i] / sqrt(mean(x²) + eps)`; the sum of squares in f64.
///
/// # Panics
/// When the lengths differ.
pub fn rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!((x.len(), x.len()), (w.len(), out.len()));
    out.copy_from_slice(x);
    rms_norm_in_place(out, w, eps);
}

/// [`rms_norm`] in place.
///
/// # Panics
/// When the lengths differ.
pub fn rms_norm_in_place(x: &mut [f32], w: &[f32], eps: f32) {
    assert_eq!(x.len(), w.len());
    Isa::best().run(RmsNorm { x, w, eps });
}

struct RmsNorm<'a> {
    x: &'a mut [f32],
    w: &'a [f32],
    eps: f32,
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let mean = sum_of_squares(self.x) / self.x.len() as f64;
        let scale = (1.0 / (mean + f64::from(self.eps)).sqrt()) as f32;
        for (x, w) in self.x.iter_mut().zip(self.w) {
            *x = w * (*x * scale);
        }
    }
}

/// Sixteen lanes in ascending order, then the lanes from first to last.
#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f64 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut lanes = [0.0f64; LANES];
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] += f64::from(chunk[l]) * f64::from(chunk[l]);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane += f64::from(*x) * f64::from(*x);
    }
    lanes.iter().sum()
}

/// Fills `table` with `(cos θ, sin θ)` of each pair at a position, `θ = position · frequency`
/// reduced in f64: an f32 phase is off by 0.01 rad at position 250,000.
///
/// # Panics
/// When `table` does not hold two floats per frequency.
pub fn rope_table(position: usize, frequencies: &[f32], table: &mut [f32]) {
    assert_eq!(table.len(), 2 * frequencies.len());
    for (pair, frequency) in table.as_chunks_mut::<2>().0.iter_mut().zip(frequencies) {
        let (sin, cos) = (position as f64 * f64::from(*frequency)).sin_cos();
        *pair = [cos as f32, sin as f32];
    }
}

/// Rotates the adjacent pairs of `x` (the interleaved form) by a table of
/// [`rope_table`].
///
/// # Panics
/// When the lengths differ.
pub fn apply_rope(x: &mut [f32], table: &[f32]) {
    assert_eq!(x.len(), table.len());
    let pairs = x.as_chunks_mut::<2>().0.iter_mut();
    for ([a, b], [cos, sin]) in pairs.zip(table.as_chunks::<2>().0) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

/// `x[i] ← exp(x[i]) / Σ exp(x[j])`, shifted by the maximum. Lane `l` of 16 sums the terms at
/// `i ≡ l (mod 16)`, then a fixed tree adds the lanes.
pub fn softmax(x: &mut [f32]) {
    Isa::best().run(Softmax(x));
}

struct Softmax<'a>(&'a mut [f32]);

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let mut max = f32::NEG_INFINITY;
        for x in &*self.0 {
            max = if *x > max { *x } else { max };
        }
        let (chunks, tail) = self.0.as_chunks_mut::<LANES>();
        let mut sums = [0.0; LANES];
        // SAFETY: passed on from the caller.
        unsafe {
            let mut lanes = L::splat(0.0);
            for chunk in chunks {
                let weights = exp_lanes(L::load(chunk).add(L::splat(-max)));
                weights.store(chunk);
                lanes = lanes.add(weights);
            }
            lanes.store(&mut sums);
        }
        for (x, sum) in tail.iter_mut().zip(&mut sums) {
            *x = exp(*x - max);
            *sum += *x;
        }
        let sum = sum_tree(sums);
        for x in self.0 {
            *x /= sum;
        }
    }
}

/// `1 / (1 + e^−x)`.
pub fn sigmoid(x: f32) -> f32 {
    Isa::best().run(Sigmoid(x))
}

struct Sigmoid(f32);

impl Kernel for Sigmoid {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> f32 {
        1.0 / (1.0 + exp(-self.0))
    }
}

/// `gate[i] ← silu(gate[i]) · up[i]` with `silu(x) = x / (1 + e^−x)`.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len());
    Isa::best().run(SiluMul { gate, up });
}

struct SiluMul<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (gates, gate_tail) = self.gate.as_chunks_mut::<LANES>();
        let (ups, up_tail) = self.up.as_chunks::<LANES>();
        for (gate, up) in gates.iter_mut().zip(ups) {
            // SAFETY: passed on from the caller.
            unsafe {
                let x = L::load(gate);
                let divisor = exp_lanes(x.mul(L::splat(-1.0))).add(L::splat(1.0));
                x.div(divisor).mul(L::load(up)).store(gate);
            }
        }
        for (gate, up) in gate_tail.iter_mut().zip(up_tail) {
            *gate = *gate / (exp(-*gate) + 1.0) * up;
        }
    }
}

/// `x[i] ← x[i] + y[i]`.
///
/// # Panics
/// When the lengths differ.
pub fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len());
    Isa::best().run(Add { x, y });
}

struct Add<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (x, y) in self.x.iter_mut().zip(self.y) {
            *x += y;
        }
    }
}

#[cfg(test)]
mod tests;
