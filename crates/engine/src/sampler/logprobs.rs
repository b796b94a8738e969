//! Log-probabilities under softmax of the unmodified logits.

use perigee_tokenizer::TokenId;

use super::Candidates;
use crate::TokenLogprobs;

/// The best tokens of a row, and the row itself: the chain overwrites the original before the
/// sampled token is known. Only requests that ask for log-probabilities pay for the copy.
pub(super) struct Table {
    top: Vec<(TokenId, f32)>,
    row: Vec<f32>,
    /// ln Σ exp(logit).
    log_sum: f64,
}

impl Table {
    /// Of the `n` best tokens of the row.
    pub(super) fn new(logits: &[f32], n: usize, candidates: &mut Candidates) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits
            .iter()
            .map(|&logit| f64::from(logit - max).exp())
            .sum();
        let log_sum = sum.ln() + f64::from(max);
        let mut top = Vec::new();
        if n > 0 {
            candidates.load(logits);
            candidates.keep_best(n);
            top.extend(
                candidates
                    .items()
                    .iter()
                    .map(|c| (TokenId(c.id), (f64::from(c.logit) - log_sum) as f32)),
            );
        }
        Self {
            top,
            row: logits.to_vec(),
            log_sum,
        }
    }

    /// With the sampled token.
    pub(super) fn report(self, id: TokenId) -> TokenLogprobs {
        let logprob = (f64::from(self.row[id.0 as usize]) - self.log_sum) as f32;
        TokenLogprobs {
            logprob,
            top: self.top,
        }
    }
}
