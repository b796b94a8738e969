//! What our encoders lose against what those of ik_llama.cpp lose on the same rows.

mod golden_rows;

use golden_rows::{N, rows};
use perigee_quant::QuantKind;

#[test]
fn no_encoder_loses_two_percent_more_than_that_of_ik_llama_cpp() {
    let n_checked = check_losses(include_str!("../testdata/rmse.tsv"));
    assert_eq!(n_checked, 138);
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
fn losses(kind: QuantKind, x: &[f32], importance: &[f32], given: bool) -> (f64, f64) {
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
fn check_losses(table: &str) -> usize {
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
