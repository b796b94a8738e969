//! The rows of `testdata/make_golden.py` and what encoders lose on them.

use perigee_quant::QuantKind;

/// Weights of a row.
pub(crate) const N: usize = 2048;
const N_ROWS: usize = 8;

/// The generator of `testdata/make_golden.py`.
pub(crate) struct Lcg(pub(crate) u32);

impl Lcg {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }

    fn gauss(&mut self) -> f64 {
        let sum: i64 = (0..12).map(|_| i64::from(self.next() >> 8)).sum();
        (sum - (6 << 24)) as f64 / f64::from(1 << 24)
    }
}

/// `(x: [N_ROWS, N], importance: [N])`.
pub(crate) fn rows(distribution: &str) -> (Vec<f32>, Vec<f32>) {
    let mut lcg = Lcg(2026);
    let mut weight = || {
        let g = lcg.gauss();
        let factor = match distribution {
            "product" => lcg.gauss(),
            "outliers" if lcg.next() >> 24 == 0 => 16.0,
            _ => 1.0,
        };
        (0.25 * (g * factor)) as f32
    };
    let x = (0..N_ROWS * N).map(|_| weight()).collect();
    let importance = (0..N)
        .map(|_| (0.05 + lcg.gauss().powi(2)) as f32)
        .collect();
    (x, importance)
}

fn relative_rmse(y: &[f32], x: &[f32], weight: impl Fn(usize) -> f64) -> f64 {
    let (mut error, mut square) = (0.0, 0.0);
    for (i, (&y, &x)) in y.iter().zip(x).enumerate() {
        error += (f64::from(y) - f64::from(x)).powi(2) * weight(i % N);
        square += f64::from(x).powi(2) * weight(i % N);
    }
    (error / square).sqrt()
}

/// Plain and importance-weighted relative RMSE of encoding and decoding.
pub(crate) fn losses(kind: QuantKind, x: &[f32], importance: &[f32], given: bool) -> (f64, f64) {
    let mut y = vec![0.0; x.len()];
    let mut bytes = vec![0; kind.row_bytes(N).unwrap()];
    for (x, y) in x.chunks_exact(N).zip(y.chunks_exact_mut(N)) {
        kind.quantize_row(x, given.then_some(importance), &mut bytes)
            .unwrap();
        kind.dequantize_row(&bytes, y);
    }
    let weighted = relative_rmse(&y, x, |column| f64::from(importance[column]));
    (relative_rmse(&y, x, |_| 1.0), weighted)
}

/// Checks every line of a table of ik_llama.cpp's losses; the number of lines.
pub(crate) fn check_losses(table: &str) -> usize {
    let mut n_checked = 0;
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let kind = QuantKind::from_name(fields[0]).unwrap();
        let (x, importance) = rows(fields[1]);
        let (plain, weighted) = losses(kind, &x, &importance, fields[2] == "given");
        let theirs: Vec<f64> = fields[3..]
            .iter()
            .map(|field| field.parse().unwrap())
            .collect();
        assert!(plain <= 1.02 * theirs[0], "{line}: ours {plain:.7}");
        assert!(weighted <= 1.02 * theirs[1], "{line}: ours {weighted:.7}");
        n_checked += 1;
    }
    n_checked
}
