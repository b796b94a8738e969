//! The float operations between the matrix products.

/// `out[i] = w[i] · x[i] / sqrt(mean(x²) + eps)`; the sum of squares in f64.
///
/// # Panics
/// When the lengths differ.
pub fn rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!((x.len(), x.len()), (w.len(), out.len()));
    let scale = rms_scale(x, eps);
    for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
        *out = w * (x * scale);
    }
}

/// [`rms_norm`] in place.
///
/// # Panics
/// When the lengths differ.
pub fn rms_norm_in_place(x: &mut [f32], w: &[f32], eps: f32) {
    assert_eq!(x.len(), w.len());
    let scale = rms_scale(x, eps);
    for (x, w) in x.iter_mut().zip(w) {
        *x = w * (*x * scale);
    }
}

fn rms_scale(x: &[f32], eps: f32) -> f32 {
    (1.0 / (sum_of_squares(x) / x.len() as f64 + f64::from(eps)).sqrt()) as f32
}

/// Eight lanes in ascending order, then the lanes from first to last.
fn sum_of_squares(x: &[f32]) -> f64 {
    let (chunks, tail) = x.as_chunks::<8>();
    let mut lanes = [0.0f64; 8];
    for chunk in chunks {
        for l in 0..8 {
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

/// `x[i] ← exp(x[i]) / Σ exp(x[j])`, shifted by the maximum; sums from first to last.
pub fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    for x in x.iter_mut() {
        *x /= sum;
    }
}

/// `1 / (1 + e^−x)`.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `gate[i] ← silu(gate[i]) · up[i]` with `silu(x) = x / (1 + e^−x)`.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len());
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + (-*gate).exp()) * up;
    }
}

/// `x[i] ← x[i] + y[i]`.
///
/// # Panics
/// When the lengths differ.
pub fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len());
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: &[f32], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let error = (f64::from(*got) - expected).abs();
            assert!(
                error <= 1e-6 * expected.abs().max(1.0),
                "{i}: {got} for {expected}"
            );
        }
    }

    #[test]
    fn rms_norm_divides_by_the_root_of_the_mean_square() {
        for n in [1, 7, 8, 19] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 - 3.5).collect();
            let w: Vec<f32> = (0..n).map(|i| 1.0 + i as f32 / 8.0).collect();
            let mean = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / n as f64;
            let expected: Vec<f64> = (0..n)
                .map(|i| f64::from(w[i]) * f64::from(x[i]) / (mean + 1e-5).sqrt())
                .collect();
            let mut out = vec![0.0; n];
            rms_norm(&x, &w, 1e-5, &mut out);
            assert_close(&out, &expected);
        }
    }

    #[test]
    fn rope_turns_adjacent_pairs_also_far_out() {
        for position in [0, 1, 5_000, 250_000] {
            let frequencies = [1.0f32, 0.713_111_1, 4.382_206_6e-7];
            let mut table = [0.0; 6];
            rope_table(position, &frequencies, &mut table);
            let mut x = [1.0, 0.0, 0.0, 1.0, 2.0, 0.0];
            apply_rope(&mut x, &table);
            let angle = frequencies.map(|frequency| position as f64 * f64::from(frequency));
            let expected = [
                angle[0].cos(),
                angle[0].sin(),
                -angle[1].sin(),
                angle[1].cos(),
                2.0 * angle[2].cos(),
                2.0 * angle[2].sin(),
            ];
            assert_close(&x, &expected);
        }
    }

    #[test]
    fn softmax_survives_large_logits() {
        let mut x = [1000.0, 1000.0, 999.0, -1000.0];
        softmax(&mut x);
        let rest = (-1.0f64).exp();
        assert_close(
            &x,
            &[1.0, 1.0, rest, 0.0].map(|weight| weight / (2.0 + rest)),
        );
    }

    #[test]
    fn silu_mul_gates_and_saturates() {
        let mut gate = [0.0, 1.0, -100.0, 100.0];
        silu_mul(&mut gate, &[5.0, 2.0, 3.0, 1.0]);
        let one = 2.0 / (1.0 + (-1.0f64).exp());
        assert_close(&gate, &[0.0, one, 0.0, 100.0]);
    }
}
