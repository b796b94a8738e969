//! The rows of `testdata/make_golden.py`.

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
