//! Dense f64 matrices and where they come from.

use perigee_gguf::Gguf;

/// Row-major `[rows, cols]`.
pub(super) struct Matrix {
    cols: usize,
    values: Vec<f64>,
}

impl Matrix {
    pub(super) fn from_values(cols: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len() % cols, 0, "rows of {cols}");
        Self { cols, values }
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.cols..][..self.cols]
    }

    /// The values of rows `start..start + n`, row-major.
    pub(super) fn rows(&self, start: usize, n: usize) -> &[f64] {
        &self.values[start * self.cols..][..n * self.cols]
    }

    /// y[r] = Σ_c m[r, c] · x[c].
    pub(super) fn times(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.cols, "columns");
        self.values
            .chunks_exact(self.cols)
            .map(|row| dot(row, x))
            .collect()
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four partial sums: a strict left-to-right sum cannot use vector registers.
    let (a, a_tail) = a.as_chunks::<4>();
    let (b, b_tail) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        for i in 0..4 {
            sums[i] += a[i] * b[i];
        }
    }
    let tail: f64 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + tail
}

/// w[i] · x[i] / √(mean(x²) + eps).
pub(super) fn rms_norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean_square = dot(x, x) / x.len() as f64;
    let scale = 1.0 / (mean_square + eps).sqrt();
    x.iter().zip(weight).map(|(x, w)| w * x * scale).collect()
}

/// Reads a tensor as `rows` rows of `cols`; further dimensions are stacked rows.
pub(super) fn load(gguf: &Gguf, name: &str, rows: usize, cols: usize) -> Matrix {
    let tensor = gguf
        .tensor(name)
        .unwrap_or_else(|| panic!("no tensor {name}"));
    let n_rows: u64 = tensor.shape[1..].iter().product();
    assert_eq!(tensor.shape[0], cols as u64, "{name}: columns");
    assert_eq!(n_rows, rows as u64, "{name}: rows");
    let row_bytes = tensor
        .kind
        .row_bytes(cols)
        .expect("a checked file has whole blocks");
    let mut row_values = vec![0.0f32; cols];
    let mut values = Vec::with_capacity(rows * cols);
    for row in gguf.bytes(tensor).chunks_exact(row_bytes) {
        tensor.kind.dequantize_row(row, &mut row_values);
        values.extend(row_values.iter().map(|&v| f64::from(v)));
    }
    Matrix::from_values(cols, values)
}

/// Reads a one-dimensional tensor.
pub(super) fn load_vector(gguf: &Gguf, name: &str, len: usize) -> Vec<f64> {
    load(gguf, name, 1, len).values
}
