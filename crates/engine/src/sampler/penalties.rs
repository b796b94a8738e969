//! Repetition, presence and frequency penalties.

use perigee_tokenizer::{TokenId, Tokenizer};
use rustc_hash::FxHashMap;

use crate::SamplingParams;

/// How often each token occurs in a window.
#[derive(Default)]
pub(crate) struct Counts {
    counts: FxHashMap<TokenId, u32>,
}

impl Counts {
    /// Applies all three to `logits`. Repetition looks at the last `repeat_last_n` tokens of the
    /// sequence and divides positive logits (multiplies negative ones); presence and frequency
    /// look at this reply and subtract, as OpenAI defines them. Control tokens are spared: a
    /// penalised end marker would keep the model from ending.
    pub(crate) fn apply(
        &mut self,
        params: &SamplingParams,
        logits: &mut [f32],
        tokens: &[TokenId],
        n_generated: usize,
        tokenizer: &Tokenizer,
    ) {
        if params.repeat_penalty != 1.0 && params.repeat_last_n != 0 {
            let window = usize::try_from(params.repeat_last_n).unwrap_or(usize::MAX);
            for (id, _) in self.count(last(tokens, window), tokenizer) {
                let logit = &mut logits[id.0 as usize];
                *logit = if *logit > 0.0 {
                    *logit / params.repeat_penalty
                } else {
                    *logit * params.repeat_penalty
                };
            }
        }
        if params.presence_penalty != 0.0 || params.frequency_penalty != 0.0 {
            for (id, n) in self.count(last(tokens, n_generated), tokenizer) {
                logits[id.0 as usize] -=
                    params.presence_penalty + n as f32 * params.frequency_penalty;
            }
        }
    }

    fn count(
        &mut self,
        window: &[TokenId],
        tokenizer: &Tokenizer,
    ) -> impl Iterator<Item = (TokenId, u32)> {
        self.counts.clear();
        for &id in window {
            if !tokenizer.is_control(id) {
                *self.counts.entry(id).or_default() += 1;
            }
        }
        self.counts.iter().map(|(&id, &n)| (id, n))
    }
}

fn last(tokens: &[TokenId], n: usize) -> &[TokenId] {
    &tokens[tokens.len() - n.min(tokens.len())..]
}
