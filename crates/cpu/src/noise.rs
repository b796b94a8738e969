//! Reproducible numbers for tests.

use perigee_quant::QuantKind;

/// `n` floats in −1..1.
pub(crate) fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Encoded rows of noise, and what they decode to.
pub(crate) fn quantized_noise(
    kind: QuantKind,
    n_in: usize,
    n_rows: usize,
    seed: u32,
) -> (Vec<u8>, Vec<f32>) {
    let row_bytes = kind.row_bytes(n_in).unwrap();
    let mut bytes = vec![0; row_bytes * n_rows];
    let mut values = noise(n_in * n_rows, seed);
    for (bytes, values) in bytes
        .chunks_exact_mut(row_bytes)
        .zip(values.chunks_exact_mut(n_in))
    {
        kind.quantize_row(values, None, bytes).unwrap();
        kind.dequantize_row(bytes, values);
    }
    (bytes, values)
}

/// Root of the mean square of the difference, over that of `want`.
pub(crate) fn nrmse(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let error = squares(&mut got.iter().zip(want).map(|(g, w)| f64::from(*g) - w));
    (error / squares(&mut want.iter().copied())).sqrt()
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
