//! Negative log-likelihoods and their statistics.

use perigee_tokenizer::TokenId;

/// A running score over tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Score {
    n: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl Score {
    /// Adds −ln p(next) under softmax(logits), in f64. Logits are finite: the model checks them.
    pub(super) fn add(&mut self, logits: &[f32], next: TokenId) {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits
            .iter()
            .map(|&logit| f64::from(logit - max).exp())
            .sum();
        let nll = sum.ln() - f64::from(logits[next.0 as usize] - max);
        self.n += 1;
        self.sum += nll;
        self.sum_of_squares += nll * nll;
    }

    /// Tokens scored.
    pub(super) fn n_tokens(&self) -> usize {
        self.n
    }

    /// exp(mean) and its standard error, the deviation of the mean times the value, as llama-perplexity prints it.
    pub(super) fn perplexity(&self) -> Option<(f64, f64)> {
        if self.n == 0 {
            return None;
        }
        let mean = self.sum / self.n as f64;
        let variance = self.sum_of_squares / self.n as f64 - mean * mean;
        let perplexity = mean.exp();
        let error = if self.n > 1 && variance > 0.0 {
            (variance / (self.n - 1) as f64).sqrt() * perplexity
        } else {
            0.0
        };
        Some((perplexity, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_logits_have_the_perplexity_of_the_vocabulary() {
        let mut score = Score::default();
        for next in 0..5 {
            score.add(&[0.5; 8], TokenId(next));
        }
        let (perplexity, error) = score.perplexity().unwrap();
        assert!((perplexity - 8.0).abs() < 1e-9, "{perplexity}");
        assert!(error < 1e-6, "{error}");
    }

    #[test]
    fn a_certain_token_costs_nothing_and_a_doubtful_one_its_logarithm() {
        let mut score = Score::default();
        score.add(&[100.0, 0.0], TokenId(0));
        score.add(&[0.0, 0.0], TokenId(1));
        let (perplexity, error) = score.perplexity().unwrap();
        assert!((perplexity - 2.0_f64.sqrt()).abs() < 1e-9, "{perplexity}");
        // mean ln2/2, variance (ln2/2)², n − 1 = 1
        assert!(
            (error - perplexity * 2.0_f64.ln() / 2.0).abs() < 1e-9,
            "{error}"
        );
    }
}
