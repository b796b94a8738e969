//! Reproducible random weights.

use crate::splitmix::{SplitMix, stream};

/// A stream of pseudo-gaussian values that depends on nothing but its seed: integer
/// arithmetic and one multiplication, so every machine draws the same bits.
pub struct Gaussian {
    random: SplitMix,
}

impl Gaussian {
    /// A stream of its own for each (model seed, tensor name), so that the values of
    /// a tensor do not depend on which other tensors the file has.
    pub fn new(seed: u64, name: &str) -> Self {
        Self::of(SplitMix::new(stream(seed, name)))
    }

    /// The values that these bits make.
    pub fn of(random: SplitMix) -> Self {
        Self { random }
    }

    /// Mean 0, variance 1, bounded by ±3.47: the sum of four 16-bit uniform values.
    fn sample(&mut self) -> f32 {
        let bits = self.random.bits();
        let sum: i32 = (0..4).map(|i| i32::from((bits >> (16 * i)) as u16)).sum();
        // Each uniform has variance (2^32 - 1) / 12, four of them a third of 2^32.
        const INVERSE_DEVIATION: f32 = 1.0 / 37_837.227;
        (sum - 2 * 65_535) as f32 * INVERSE_DEVIATION
    }

    /// `n` values around `mean` with standard deviation `deviation`.
    pub fn values(&mut self, n: usize, mean: f32, deviation: f32) -> Vec<f32> {
        (0..n).map(|_| self.value(mean, deviation)).collect()
    }

    /// The next value around `mean` with standard deviation `deviation`.
    pub fn value(&mut self, mean: f32, deviation: f32) -> f32 {
        mean + deviation * self.sample()
    }
}

#[cfg(test)]
mod tests {
    use super::Gaussian;

    #[test]
    fn values_have_the_mean_and_deviation_asked_for() {
        let values = Gaussian::new(7, "blk.0.attn_q_a.weight").values(100_000, 1.0, 0.5);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        let variance = values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance.sqrt() - 0.5).abs() < 0.005, "{variance}");
    }

    #[test]
    fn name_and_seed_select_the_stream() {
        let draw = |seed, name| Gaussian::new(seed, name).values(4, 0.0, 1.0);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }
}
