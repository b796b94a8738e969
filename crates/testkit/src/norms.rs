//! How far two sets of logits are apart. Rows are positions, columns the vocabulary.

/// Root mean square of the difference over the standard deviation of `want`, over all
/// entries of all rows. 0 when equal. NaN propagates, so a bound on it fails.
///
/// # Panics
/// When the shapes differ.
pub fn nrmse(got: &[Vec<f64>], want: &[Vec<f64>]) -> f64 {
    assert_same_shape(got, want);
    let n = want.iter().map(Vec::len).sum::<usize>() as f64;
    let mean = want.iter().flatten().sum::<f64>() / n;
    let variance = want
        .iter()
        .flatten()
        .map(|w| (w - mean).powi(2))
        .sum::<f64>()
        / n;
    let squares = pairs(got, want).map(|(g, w)| (g - w).powi(2)).sum::<f64>();
    (squares / n / variance).sqrt()
}

/// Mean over rows of KL(softmax(want) ‖ softmax(got)), in nats.
///
/// # Panics
/// When the shapes differ.
pub fn mean_kl(got: &[Vec<f64>], want: &[Vec<f64>]) -> f64 {
    assert_same_shape(got, want);
    let kl = |g: &Vec<f64>, w: &Vec<f64>| -> f64 {
        let (q, p) = (log_softmax(g), log_softmax(w));
        p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum()
    };
    got.iter().zip(want).map(|(g, w)| kl(g, w)).sum::<f64>() / want.len() as f64
}

/// Largest absolute difference of any two entries; NaN counts as infinite.
///
/// # Panics
/// When the shapes differ.
pub fn max_abs(got: &[Vec<f64>], want: &[Vec<f64>]) -> f64 {
    assert_same_shape(got, want);
    pairs(got, want)
        .map(|(g, w)| (g - w).abs())
        .map(|d| if d.is_nan() { f64::INFINITY } else { d })
        .fold(0.0, f64::max)
}

/// Share of rows whose largest entry is at the same index.
///
/// # Panics
/// When the shapes differ.
pub fn top1(got: &[Vec<f64>], want: &[Vec<f64>]) -> f64 {
    assert_same_shape(got, want);
    let agree = got.iter().zip(want).filter(|(g, w)| argmax(g) == argmax(w));
    agree.count() as f64 / want.len() as f64
}

/// Splits flat logits `[n, n_vocab]` f32 row-major into rows of f64.
///
/// # Panics
/// When the length is not a multiple of `n_vocab`.
pub fn rows(logits: &[f32], n_vocab: usize) -> Vec<Vec<f64>> {
    assert_eq!(
        logits.len() % n_vocab,
        0,
        "{} logits in rows of {n_vocab}",
        logits.len()
    );
    logits
        .chunks_exact(n_vocab)
        .map(|row| row.iter().map(|&l| f64::from(l)).collect())
        .collect()
}

fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = logits.iter().map(|l| (l - max).exp()).sum::<f64>().ln();
    logits.iter().map(|l| l - max - log_sum).collect()
}

/// The first index of the largest entry.
fn argmax(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

fn pairs<'a>(got: &'a [Vec<f64>], want: &'a [Vec<f64>]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let (got, want) = (got.iter().flatten(), want.iter().flatten());
    got.copied().zip(want.copied())
}

fn assert_same_shape(got: &[Vec<f64>], want: &[Vec<f64>]) {
    assert_eq!(got.len(), want.len(), "rows");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert_eq!(g.len(), w.len(), "columns of row {i}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_have_no_distance() {
        let logits = rows(&[1.0, 2.0, 3.0, -1.0, 0.5, 0.25], 3);
        assert_eq!(nrmse(&logits, &logits), 0.0);
        assert_eq!(mean_kl(&logits, &logits), 0.0);
        assert_eq!(top1(&logits, &logits), 1.0);
    }

    #[test]
    fn kl_ignores_a_shift_and_nrmse_does_not() {
        let want = vec![vec![0.0, 1.0]];
        let shifted = vec![vec![5.0, 6.0]];
        assert!(mean_kl(&shifted, &want).abs() < 1e-15);
        assert!((nrmse(&shifted, &want) - 10.0).abs() < 1e-12);
    }

    #[test]
    fn kl_is_that_of_the_two_point_distribution() {
        // p = (1/2, 1/2), q = (1/4, 3/4): ln 2 - ln(3)/2.
        let kl = mean_kl(&[vec![0.0, 3f64.ln()]], &[vec![0.0, 0.0]]);
        assert!((kl - (2f64.ln() - 3f64.ln() / 2.0)).abs() < 1e-15, "{kl}");
    }

    #[test]
    fn nan_fails_every_bound() {
        let (got, want) = (vec![vec![f64::NAN, 1.0]], vec![vec![0.0, 1.0]]);
        assert!(nrmse(&got, &want).is_nan());
        assert_eq!(max_abs(&got, &want), f64::INFINITY);
    }
}
